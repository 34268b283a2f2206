//! What the scheduler sends on a worker's stream.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::fields::{Fields, decode_batch};
use crate::decode::Decoder;
use crate::error::DecodeError;
use crate::frames::Frames;
use crate::key::Key;
use crate::msgpack::Kind;
use crate::payload::Payload;
use crate::text::Text;
use crate::value::Value;

/// One message to a worker.
#[derive(Clone, Debug, PartialEq)]
pub enum FromScheduler {
    /// Shared, because whoever runs it and whoever may have to run it again both hold it.
    ComputeTask(Arc<ComputeTask>),
    FreeKeys(KeysOrder),
    RemoveReplicas(KeysOrder),
    AcquireReplicas(Replicas),
    RefreshWhoHas(Replicas),
    StealRequest(KeyOrder),
    CancelCompute(KeyOrder),
    StatusChange(StatusOrder),
    /// Another worker left.
    RemoveWorker(WorkerGone),
    /// Close, together with the nanny.
    Close {
        reason: Text,
    },
    CloseStream,
    /// An op without a struct of its own: the whole message.
    Other {
        op: Text,
        message: Value,
    },
}

/// The order to run a task.
#[derive(Clone, Debug, PartialEq)]
pub struct ComputeTask {
    pub key: Key,
    pub run_id: i64,
    pub priority: Priority,
    pub dependencies: Vec<Replica>,
    /// The pickled task; opaque.
    pub run_spec: Option<Payload>,
    /// Amounts of abstract resources, sorted by name; nearly always empty.
    pub resource_restrictions: Vec<(Text, f64)>,
    pub actor: bool,
    /// A map; nil when it is empty.
    pub annotations: Value,
    pub span_id: Option<Text>,
    pub stimulus_id: Text,
}

/// The numbers a task is ordered by, smaller first. What is missing is negative infinity: a shorter tuple comes first.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Priority(pub [f64; 3]);

/// A key with its size, where known, and the addresses of its holders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    pub key: Key,
    pub nbytes: Option<u64>,
    pub holders: SmallVec<[Text; 1]>,
}

/// `free-keys` and `remove-replicas`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysOrder {
    pub keys: Vec<Key>,
    pub stimulus_id: Text,
}

/// `steal-request` and `cancel-compute`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyOrder {
    pub key: Key,
    pub stimulus_id: Text,
}

/// `acquire-replicas` and, without sizes, `refresh-who-has`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replicas {
    pub replicas: Vec<Replica>,
    pub stimulus_id: Text,
}

/// `worker-status-change` from above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatusOrder {
    pub status: Text,
    pub stimulus_id: Text,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerGone {
    pub worker: Text,
    pub stimulus_id: Text,
}

/// Decodes one message of a worker's stream, which holds any number of [`FromScheduler`].
pub fn decode_scheduler_batch(frames: &Frames) -> Result<Vec<FromScheduler>, DecodeError> {
    decode_batch(frames, decode)
}

fn decode(fields: &mut Fields<'_, '_>) -> Result<FromScheduler, DecodeError> {
    Ok(match fields.op() {
        b"compute-task" => {
            FromScheduler::ComputeTask(Arc::new(compute_task(fields.named("compute-task"))?))
        }
        b"free-keys" => FromScheduler::FreeKeys(keys_order(fields.named("free-keys"))?),
        b"remove-replicas" => {
            FromScheduler::RemoveReplicas(keys_order(fields.named("remove-replicas"))?)
        }
        b"acquire-replicas" => {
            FromScheduler::AcquireReplicas(replicas(fields.named("acquire-replicas"))?)
        }
        b"refresh-who-has" => {
            FromScheduler::RefreshWhoHas(replicas(fields.named("refresh-who-has"))?)
        }
        b"steal-request" => FromScheduler::StealRequest(key_order(fields.named("steal-request"))?),
        b"cancel-compute" => {
            FromScheduler::CancelCompute(key_order(fields.named("cancel-compute"))?)
        }
        b"worker-status-change" => {
            let fields = fields.named("worker-status-change");
            FromScheduler::StatusChange(StatusOrder {
                status: fields.required("status", |decoder| decoder.reader.read_text())?,
                stimulus_id: fields.text("stimulus_id")?,
            })
        }
        b"remove-worker" => {
            let fields = fields.named("remove-worker");
            FromScheduler::RemoveWorker(WorkerGone {
                worker: fields.required("worker", |decoder| decoder.reader.read_text())?,
                stimulus_id: fields.text("stimulus_id")?,
            })
        }
        b"close" => FromScheduler::Close {
            reason: fields.named("close").text("reason")?,
        },
        b"close-stream" => FromScheduler::CloseStream,
        op => FromScheduler::Other {
            op: Text::from_bytes(Bytes::copy_from_slice(op)),
            message: fields.named("stream message").whole()?,
        },
    })
}

/// Fields in the order schedulers send them.
fn compute_task(fields: &mut Fields<'_, '_>) -> Result<ComputeTask, DecodeError> {
    let key = fields.key()?;
    let run_id = fields.required("run_id", |decoder| decoder.reader.read_i64())?;
    let priority = fields.required("priority", read_priority)?;
    let stimulus_id = fields.text("stimulus_id")?;
    let mut dependencies = fields
        .optional("who_has", read_who_has)?
        .unwrap_or_default();
    fields.optional("nbytes", |decoder| read_nbytes(decoder, &mut dependencies))?;
    Ok(ComputeTask {
        key,
        run_id,
        priority,
        dependencies,
        run_spec: fields.optional("run_spec", Decoder::read_payload)?,
        resource_restrictions: fields
            .optional("resource_restrictions", read_amounts)?
            .unwrap_or_default(),
        actor: fields.value("actor")?.is_truthy(),
        annotations: fields
            .optional("annotations", read_map_or_nil)?
            .unwrap_or_default(),
        span_id: fields.optional("span_id", |decoder| decoder.reader.read_text())?,
        stimulus_id,
    })
}

fn keys_order(fields: &mut Fields<'_, '_>) -> Result<KeysOrder, DecodeError> {
    Ok(KeysOrder {
        keys: fields.keys()?,
        stimulus_id: fields.text("stimulus_id")?,
    })
}

fn key_order(fields: &mut Fields<'_, '_>) -> Result<KeyOrder, DecodeError> {
    Ok(KeyOrder {
        key: fields.key()?,
        stimulus_id: fields.text("stimulus_id")?,
    })
}

fn replicas(fields: &mut Fields<'_, '_>) -> Result<Replicas, DecodeError> {
    let mut replicas = fields.required("who_has", read_who_has)?;
    fields.optional("nbytes", |decoder| read_nbytes(decoder, &mut replicas))?;
    Ok(Replicas {
        replicas,
        stimulus_id: fields.text("stimulus_id")?,
    })
}

fn read_priority(decoder: &mut Decoder<'_>) -> Result<Priority, DecodeError> {
    let mut parts = [f64::NEG_INFINITY; 3];
    let len = decoder.reader.read_array_len()?;
    for at in 0..len {
        match parts.get_mut(at) {
            Some(part) => *part = decoder.reader.read_f64()?,
            None => decoder.reader.skip()?,
        }
    }
    Ok(Priority(parts))
}

fn read_who_has(decoder: &mut Decoder<'_>) -> Result<Vec<Replica>, DecodeError> {
    let len = decoder.reader.read_map_len()?;
    let mut replicas = Vec::with_capacity(len.min(4096));
    for _ in 0..len {
        let key = Key::read(&mut decoder.reader)?;
        let count = decoder.reader.read_array_len()?;
        let mut holders = SmallVec::new();
        for _ in 0..count {
            holders.push(decoder.reader.read_text()?);
        }
        replicas.push(Replica {
            key,
            nbytes: None,
            holders,
        });
    }
    Ok(replicas)
}

/// Adds sizes to replicas; nearly always both maps have the same keys in the same order.
fn read_nbytes(decoder: &mut Decoder<'_>, replicas: &mut Vec<Replica>) -> Result<(), DecodeError> {
    let reader = &mut decoder.reader;
    for at in 0..reader.read_map_len()? {
        let start = reader.position();
        reader.skip()?;
        let encoded = reader.since(start);
        let known = match replicas.get(at) {
            Some(replica) if replica.key.as_msgpack() == encoded => at,
            _ => {
                reader.seek(start);
                let key = Key::read(reader)?;
                let found = replicas.iter().position(|replica| replica.key == key);
                found.unwrap_or_else(|| {
                    replicas.push(Replica {
                        key,
                        nbytes: None,
                        holders: SmallVec::new(),
                    });
                    replicas.len() - 1
                })
            }
        };
        // A size that is not known travels as -1.
        replicas[known].nbytes = u64::try_from(reader.read_i64()?).ok();
    }
    Ok(())
}

fn read_amounts(decoder: &mut Decoder<'_>) -> Result<Vec<(Text, f64)>, DecodeError> {
    let len = decoder.reader.read_map_len()?;
    let mut amounts = Vec::with_capacity(len.min(64));
    for _ in 0..len {
        let name = decoder.reader.read_text()?;
        amounts.push((name, decoder.reader.read_f64()?));
    }
    amounts.sort_by(|(left, _), (right, _)| left.cmp(right));
    Ok(amounts)
}

/// An empty map is nil.
pub(super) fn read_map_or_nil(decoder: &mut Decoder<'_>) -> Result<Value, DecodeError> {
    let mut ahead = decoder.reader.clone();
    if ahead.kind()? == Kind::Map && ahead.read_map_len()? == 0 {
        return Ok(Value::Nil);
    }
    decoder.read_value()
}
