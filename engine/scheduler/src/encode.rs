//! Turns what the core says into stream messages, on the task of the connection they leave by.
//!
//! A batch becomes one message: an array of maps, as Dask's batched streams have it. Field names and their order are
//! stock Dask's.

use protocol::{Frames, Key, MessageWriter, Text, Value};
use scheduler_core::{ComputeTask, Replicas, RunSpec, ToClient, ToWorker};
use std::sync::Arc;

/// What a queued message costs while it waits, in bytes; an estimate is enough for the bound on an outbox.
pub trait Weight {
    fn weight(&self) -> usize;
}

/// Rough size of a message beside what it shares with the core.
const MESSAGE_BYTES: usize = 200;
const KEY_BYTES: usize = 64;

impl Weight for ToWorker {
    fn weight(&self) -> usize {
        match self {
            Self::ComputeTask(task) => MESSAGE_BYTES * 2 + task.dependencies.len() * KEY_BYTES * 2,
            Self::FreeKeys { keys, .. } | Self::RemoveReplicas { keys, .. } => {
                MESSAGE_BYTES + keys.len() * KEY_BYTES
            }
            Self::AcquireReplicas { who_has, .. } | Self::RefreshWhoHas { who_has, .. } => {
                MESSAGE_BYTES + who_has.len() * KEY_BYTES * 2
            }
            Self::StatusChange { .. }
            | Self::RemoveWorker { .. }
            | Self::Close { .. }
            | Self::CloseStream => MESSAGE_BYTES,
        }
    }
}

impl Weight for ToClient {
    fn weight(&self) -> usize {
        match self {
            Self::CancelledKeys { keys, .. } => MESSAGE_BYTES + keys.len() * KEY_BYTES,
            Self::KeyInMemory { .. }
            | Self::TaskErred { .. }
            | Self::LostData { .. }
            | Self::TaskRetried { .. }
            | Self::Restart
            | Self::Event { .. }
            | Self::AdjustHeartbeatInterval { .. } => MESSAGE_BYTES,
        }
    }
}

/// A message that can be part of a batch.
pub trait Encode {
    fn encode(&self, out: &mut MessageWriter);
}

/// One wire message with the whole batch.
pub fn batch<M: Encode>(messages: &[M]) -> Frames {
    let mut out = MessageWriter::new();
    out.write_array_len(messages.len());
    for message in messages {
        message.encode(&mut out);
    }
    out.finish()
}

impl Encode for ToWorker {
    fn encode(&self, out: &mut MessageWriter) {
        match self {
            Self::ComputeTask(task) => compute_task(task, out),
            Self::FreeKeys { keys, stimulus_id } => about_keys("free-keys", keys, stimulus_id, out),
            Self::RemoveReplicas { keys, stimulus_id } => {
                about_keys("remove-replicas", keys, stimulus_id, out);
            }
            Self::AcquireReplicas {
                who_has,
                nbytes,
                stimulus_id,
            } => acquire_replicas(who_has, nbytes, stimulus_id, out),
            Self::RefreshWhoHas {
                who_has,
                stimulus_id,
            } => {
                operation(out, "refresh-who-has", 2);
                write_who_has(who_has, out);
                write_stimulus(stimulus_id, out);
            }
            Self::StatusChange {
                status,
                stimulus_id,
            } => {
                operation(out, "worker-status-change", 2);
                out.write_str("status");
                out.write_str(status.name());
                write_stimulus(stimulus_id, out);
            }
            Self::RemoveWorker {
                address,
                stimulus_id,
            } => {
                operation(out, "remove-worker", 2);
                out.write_str("worker");
                out.write_str(address);
                write_stimulus(stimulus_id, out);
            }
            Self::Close { reason } => {
                operation(out, "close", 1);
                out.write_str("reason");
                out.write_str(reason);
            }
            Self::CloseStream => operation(out, "close-stream", 0),
        }
    }
}

impl Encode for ToClient {
    fn encode(&self, out: &mut MessageWriter) {
        match self {
            Self::KeyInMemory {
                key,
                type_pickle,
                workers,
            } => {
                let optional = usize::from(type_pickle.is_some()) + usize::from(workers.is_some());
                operation(out, "key-in-memory", 1 + optional);
                write_key_field(key, out);
                if let Some(pickle) = type_pickle {
                    out.write_str("type");
                    out.write_bin(pickle);
                }
                if let Some(workers) = workers {
                    out.write_str("workers");
                    write_addresses(workers, out);
                }
            }
            Self::TaskErred {
                key,
                exception,
                traceback,
            } => {
                operation(out, "task-erred", 3);
                write_key_field(key, out);
                write_field("exception", exception, out);
                write_field("traceback", traceback, out);
            }
            Self::LostData { key } => key_message("lost-data", key, out),
            Self::CancelledKeys {
                keys,
                reason,
                message,
            } => cancelled_keys(keys, reason, message, out),
            Self::TaskRetried { key } => key_message("task-retried", key, out),
            Self::Restart => operation(out, "restart", 0),
            Self::Event { topic, at, message } => {
                operation(out, "event", 2);
                out.write_str("topic");
                out.write_str(topic);
                out.write_str("event");
                out.write_array_len(2);
                out.write_f64(at.seconds());
                out.write_value(message);
            }
            Self::AdjustHeartbeatInterval { seconds } => {
                operation(out, "adjust-heartbeat-interval", 1);
                out.write_str("interval");
                out.write_f64(*seconds);
            }
        }
    }
}

fn compute_task(task: &ComputeTask, out: &mut MessageWriter) {
    operation(out, "compute-task", 11);
    write_key_field(&task.key, out);
    out.write_str("run_id");
    out.write_i64(task.run_id as i64);
    out.write_str("priority");
    out.write_array_len(3);
    write_number(task.priority.user, out);
    write_number(task.priority.generation, out);
    out.write_i64(i64::from(task.priority.internal));
    write_stimulus(&task.stimulus_id, out);
    write_dependencies(task, out);
    out.write_str("run_spec");
    write_run_spec(task.run_spec.as_ref(), out);
    out.write_str("resource_restrictions");
    write_resources(task.resource_restrictions.as_deref(), out);
    out.write_str("actor");
    out.write_bool(task.actor);
    out.write_str("annotations");
    match &task.annotations {
        Some(annotations) => out.write_value(&annotations.wire),
        None => out.write_map_len(0),
    }
    out.write_str("span_id");
    match &task.span_id {
        Some(span) => out.write_str(span),
        None => out.write_nil(),
    }
}

fn write_dependencies(task: &ComputeTask, out: &mut MessageWriter) {
    out.write_str("who_has");
    out.write_map_len(task.dependencies.len());
    for dependency in &task.dependencies {
        out.write_key(&dependency.key);
        write_addresses(&dependency.holders, out);
    }
    out.write_str("nbytes");
    out.write_map_len(task.dependencies.len());
    for dependency in &task.dependencies {
        out.write_key(&dependency.key);
        write_nbytes(dependency.nbytes, out);
    }
}

/// A size that is not known travels as -1.
fn write_nbytes(nbytes: Option<u64>, out: &mut MessageWriter) {
    out.write_i64(nbytes.map_or(-1, |nbytes| nbytes as i64));
}

fn write_run_spec(run_spec: Option<&RunSpec>, out: &mut MessageWriter) {
    match run_spec {
        Some(spec) => out.write_pickle_parts(&spec.parts(), spec.buffers()),
        None => out.write_nil(),
    }
}

fn write_resources(resources: Option<&[(Arc<str>, f64)]>, out: &mut MessageWriter) {
    let Some(resources) = resources else {
        return out.write_nil();
    };
    out.write_map_len(resources.len());
    for (name, amount) in resources {
        out.write_str(name);
        write_number(*amount, out);
    }
}

fn acquire_replicas(who_has: &Replicas, nbytes: &[u64], stimulus: &Text, out: &mut MessageWriter) {
    operation(out, "acquire-replicas", 3);
    write_who_has(who_has, out);
    out.write_str("nbytes");
    out.write_map_len(who_has.len());
    for ((key, _), nbytes) in who_has.iter().zip(nbytes) {
        out.write_key(key);
        out.write_i64(*nbytes as i64);
    }
    write_stimulus(stimulus, out);
}

fn cancelled_keys(keys: &[Key], reason: &Value, message: &Value, out: &mut MessageWriter) {
    operation(out, "cancelled-keys", 3);
    write_keys(keys, out);
    write_field("reason", reason, out);
    write_field("msg", message, out);
}

/// Opens a message of `fields` fields beside `op`.
fn operation(out: &mut MessageWriter, name: &str, fields: usize) {
    out.write_map_len(fields + 1);
    out.write_str("op");
    out.write_str(name);
}

fn about_keys(name: &str, keys: &[Key], stimulus_id: &Text, out: &mut MessageWriter) {
    operation(out, name, 2);
    write_keys(keys, out);
    write_stimulus(stimulus_id, out);
}

fn key_message(name: &str, key: &Key, out: &mut MessageWriter) {
    operation(out, name, 1);
    write_key_field(key, out);
}

fn write_key_field(key: &Key, out: &mut MessageWriter) {
    out.write_str("key");
    out.write_key(key);
}

fn write_keys(keys: &[Key], out: &mut MessageWriter) {
    out.write_str("keys");
    out.write_array_len(keys.len());
    for key in keys {
        out.write_key(key);
    }
}

fn write_field(name: &str, value: &Value, out: &mut MessageWriter) {
    out.write_str(name);
    out.write_value(value);
}

fn write_stimulus(stimulus_id: &Text, out: &mut MessageWriter) {
    out.write_str("stimulus_id");
    out.write_str_bytes(stimulus_id.as_bytes());
}

fn write_who_has(who_has: &Replicas, out: &mut MessageWriter) {
    out.write_str("who_has");
    out.write_map_len(who_has.len());
    for (key, holders) in who_has {
        out.write_key(key);
        write_addresses(holders, out);
    }
}

fn write_addresses(addresses: &[Arc<str>], out: &mut MessageWriter) {
    out.write_array_len(addresses.len());
    for address in addresses {
        out.write_str(address);
    }
}

/// Whole numbers travel as integers: that is what Python sends, and it is shorter.
fn write_number(number: f64, out: &mut MessageWriter) {
    if number.fract() == 0.0 && number.abs() < 9e15 {
        out.write_i64(number as i64);
    } else {
        out.write_f64(number);
    }
}
