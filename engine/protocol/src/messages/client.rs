//! What a client sends on its stream.

use bytes::Bytes;

use super::fields::{Fields, decode_batch};
use crate::decode::Decoder;
use crate::error::DecodeError;
use crate::frames::Frames;
use crate::key::Key;
use crate::msgpack::Kind;
use crate::payload::Payload;
use crate::text::Text;
use crate::value::Value;

/// One message of a client.
#[derive(Clone, Debug, PartialEq)]
pub enum FromClient {
    UpdateGraph(Box<UpdateGraph>),
    ClientDesiresKeys(ClientKeys),
    ClientReleasesKeys(ClientKeys),
    CancelKeys(CancelKeys),
    UpdateData(UpdateData),
    ReportKey(ReportKey),
    SubscribeTopic(Topic),
    UnsubscribeTopic(Topic),
    HeartbeatClient,
    CloseClient,
    CloseStream,
    /// An op without a struct of its own: the whole message.
    Other {
        op: Text,
        message: Value,
    },
}

/// A graph to compute. What is pickled stays opaque.
#[derive(Clone, Debug, PartialEq)]
pub struct UpdateGraph {
    /// The pickled expression that becomes the graph.
    pub expr: Payload,
    /// The keys the client wants.
    pub keys: Vec<Key>,
    /// None or empty: the scheduler orders the graph.
    pub internal_priority: Option<Vec<(Key, i64)>>,
    /// The task that submits, when a task does.
    pub submitting_task: Option<Key>,
    /// A time such as "100 ms", or seconds.
    pub fifo_timeout: Value,
    pub actors: Actors,
    pub code: Value,
    pub annotations: Value,
    pub span_metadata: Value,
    /// A number; nil when it travels inside the annotations.
    pub user_priority: Value,
    pub stimulus_id: Option<Text>,
}

/// Which of the wanted keys are actors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Actors {
    #[default]
    None,
    All,
    Keys(Vec<Key>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientKeys {
    pub keys: Vec<Key>,
    /// Not always the client that sends: "fire-and-forget" is another.
    pub client: Option<Text>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct CancelKeys {
    pub keys: Vec<Key>,
    pub force: bool,
    pub reason: Value,
    pub msg: Value,
}

#[derive(Clone, Debug, PartialEq)]
pub struct UpdateData {
    pub who_has: Vec<(Key, Vec<Text>)>,
    pub nbytes: Vec<(Key, u64)>,
    pub client: Option<Text>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportKey {
    pub key: Key,
    pub client: Option<Text>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    pub topic: Text,
    pub client: Option<Text>,
}

/// Decodes one message of a client's stream, which holds any number of [`FromClient`].
pub fn decode_client_batch(frames: &Frames) -> Result<Vec<FromClient>, DecodeError> {
    decode_batch(frames, decode)
}

fn decode(fields: &mut Fields<'_, '_>) -> Result<FromClient, DecodeError> {
    Ok(match fields.op() {
        b"client-releases-keys" => {
            FromClient::ClientReleasesKeys(client_keys(fields.named("client-releases-keys"))?)
        }
        b"client-desires-keys" => {
            FromClient::ClientDesiresKeys(client_keys(fields.named("client-desires-keys"))?)
        }
        b"update-graph" => {
            FromClient::UpdateGraph(Box::new(update_graph(fields.named("update-graph"))?))
        }
        b"cancel-keys" => FromClient::CancelKeys(cancel_keys(fields.named("cancel-keys"))?),
        b"update-data" => FromClient::UpdateData(update_data(fields.named("update-data"))?),
        b"report-key" => {
            let fields = fields.named("report-key");
            FromClient::ReportKey(ReportKey {
                key: fields.key()?,
                client: client(fields)?,
            })
        }
        b"subscribe-topic" => FromClient::SubscribeTopic(topic(fields.named("subscribe-topic"))?),
        b"unsubscribe-topic" => {
            FromClient::UnsubscribeTopic(topic(fields.named("unsubscribe-topic"))?)
        }
        b"heartbeat-client" => FromClient::HeartbeatClient,
        b"close-client" => FromClient::CloseClient,
        b"close-stream" => FromClient::CloseStream,
        op => FromClient::Other {
            op: Text::from_bytes(Bytes::copy_from_slice(op)),
            message: fields.named("stream message").whole()?,
        },
    })
}

/// Fields in the order stock clients send them.
fn update_graph(fields: &mut Fields<'_, '_>) -> Result<UpdateGraph, DecodeError> {
    Ok(UpdateGraph {
        expr: fields.required("expr_ser", Decoder::read_payload)?,
        keys: fields.keys()?,
        internal_priority: fields.optional("internal_priority", |decoder| {
            read_entries(decoder, |decoder| decoder.reader.read_i64())
        })?,
        submitting_task: fields
            .optional("submitting_task", |decoder| Key::read(&mut decoder.reader))?,
        fifo_timeout: fields.value("fifo_timeout")?,
        actors: fields.optional("actors", read_actors)?.unwrap_or_default(),
        code: fields.value("code")?,
        annotations: fields.value("annotations")?,
        span_metadata: fields.value("span_metadata")?,
        user_priority: fields.value("user_priority")?,
        stimulus_id: fields.optional("stimulus_id", |decoder| decoder.reader.read_text())?,
    })
}

fn client_keys(fields: &mut Fields<'_, '_>) -> Result<ClientKeys, DecodeError> {
    Ok(ClientKeys {
        keys: fields.keys()?,
        client: client(fields)?,
    })
}

fn cancel_keys(fields: &mut Fields<'_, '_>) -> Result<CancelKeys, DecodeError> {
    Ok(CancelKeys {
        keys: fields.keys()?,
        force: fields.value("force")?.is_truthy(),
        reason: fields.value("reason")?,
        msg: fields.value("msg")?,
    })
}

fn update_data(fields: &mut Fields<'_, '_>) -> Result<UpdateData, DecodeError> {
    Ok(UpdateData {
        who_has: fields.required("who_has", |decoder| read_entries(decoder, read_texts))?,
        nbytes: fields.required("nbytes", |decoder| {
            read_entries(decoder, |decoder| decoder.reader.read_u64())
        })?,
        client: client(fields)?,
    })
}

fn topic(fields: &mut Fields<'_, '_>) -> Result<Topic, DecodeError> {
    Ok(Topic {
        topic: fields.required("topic", |decoder| decoder.reader.read_text())?,
        client: client(fields)?,
    })
}

fn client(fields: &mut Fields<'_, '_>) -> Result<Option<Text>, DecodeError> {
    fields.optional("client", |decoder| decoder.reader.read_text())
}

fn read_actors(decoder: &mut Decoder<'_>) -> Result<Actors, DecodeError> {
    match decoder.reader.kind()? {
        Kind::Bool | Kind::Int => Ok(if decoder.reader.read_int()? != 0 {
            Actors::All
        } else {
            Actors::None
        }),
        _ => decoder.read_keys().map(Actors::Keys),
    }
}

fn read_texts(decoder: &mut Decoder<'_>) -> Result<Vec<Text>, DecodeError> {
    let len = decoder.reader.read_array_len()?;
    let mut texts = Vec::with_capacity(len.min(64));
    for _ in 0..len {
        texts.push(decoder.reader.read_text()?);
    }
    Ok(texts)
}

/// A map with keys of tasks.
fn read_entries<'a, T>(
    decoder: &mut Decoder<'a>,
    read: impl Fn(&mut Decoder<'a>) -> Result<T, DecodeError>,
) -> Result<Vec<(Key, T)>, DecodeError> {
    let len = decoder.reader.read_map_len()?;
    let mut entries = Vec::with_capacity(len.min(4096));
    for _ in 0..len {
        let key = Key::read(&mut decoder.reader)?;
        entries.push((key, read(decoder)?));
    }
    Ok(entries)
}
