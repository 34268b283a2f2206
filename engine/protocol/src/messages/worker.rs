//! What a worker sends on its stream.

use bytes::Bytes;
use smallvec::SmallVec;

use super::fields::{Fields, decode_batch};
use super::scheduler::read_map_or_nil;
use crate::decode::Decoder;
use crate::error::DecodeError;
use crate::frames::Frames;
use crate::key::Key;
use crate::msgpack::Kind;
use crate::text::Text;
use crate::value::Value;

/// One message of a worker.
#[derive(Clone, Debug, PartialEq)]
pub enum FromWorker {
    TaskFinished(TaskFinished),
    TaskErred(TaskErred),
    ReleaseWorkerData(KeyEvent),
    AddKeys(AddKeys),
    LongRunning(LongRunning),
    Reschedule(KeyEvent),
    RequestRefreshWhoHas(AddKeys),
    StealResponse(StealResponse),
    WorkerStatusChange(WorkerStatusChange),
    LogEvent(LogEvent),
    KeepAlive,
    CloseStream,
    /// An op without a struct of its own: the whole message.
    Other {
        op: Text,
        message: Value,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub struct TaskFinished {
    pub key: Key,
    pub run_id: i64,
    pub nbytes: Option<u64>,
    /// The pickled class of the result, relayed to clients as it is.
    pub value_type: Option<Bytes>,
    pub typename: Text,
    /// Nearly always empty, which is nil here.
    pub metadata: Value,
    /// The thread's id; nil or text from workers without one.
    pub thread: Value,
    pub startstops: SmallVec<[StartStop; 1]>,
    pub stimulus_id: Text,
}

#[derive(Clone, Debug, PartialEq)]
pub struct TaskErred {
    pub key: Key,
    pub run_id: i64,
    /// Usually `Serialized`: bytes that are a pickle.
    pub exception: Value,
    pub traceback: Value,
    pub exception_text: Text,
    pub traceback_text: Text,
    pub thread: Value,
    pub startstops: SmallVec<[StartStop; 1]>,
    pub stimulus_id: Text,
}

/// `release-worker-data` and `reschedule`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEvent {
    pub key: Key,
    pub stimulus_id: Text,
}

/// `add-keys` and `request-refresh-who-has`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddKeys {
    pub keys: Vec<Key>,
    pub stimulus_id: Text,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LongRunning {
    pub key: Key,
    pub run_id: Option<i64>,
    pub compute_duration: Option<f64>,
    pub stimulus_id: Text,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StealResponse {
    pub key: Key,
    /// None when the worker does not know the task.
    pub state: Option<Text>,
    pub stimulus_id: Text,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerStatusChange {
    pub status: Text,
    pub stimulus_id: Text,
}

#[derive(Clone, Debug, PartialEq)]
pub struct LogEvent {
    /// A string or an array of strings.
    pub topic: Value,
    pub msg: Value,
}

/// When a task did what.
#[derive(Clone, Debug, PartialEq)]
pub struct StartStop {
    pub action: Action,
    pub start: f64,
    pub stop: f64,
    /// The peer of a transfer.
    pub source: Option<Text>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Compute,
    Transfer,
    DiskRead,
    DiskWrite,
    Deserialize,
    Other(Text),
}

impl Action {
    fn from_text(text: Text) -> Self {
        match text.as_bytes() {
            b"compute" => Self::Compute,
            b"transfer" => Self::Transfer,
            b"disk-read" => Self::DiskRead,
            b"disk-write" => Self::DiskWrite,
            b"deserialize" => Self::Deserialize,
            _ => Self::Other(text),
        }
    }

    pub fn as_text(&self) -> Text {
        match self {
            Self::Compute => Text::from_static("compute"),
            Self::Transfer => Text::from_static("transfer"),
            Self::DiskRead => Text::from_static("disk-read"),
            Self::DiskWrite => Text::from_static("disk-write"),
            Self::Deserialize => Text::from_static("deserialize"),
            Self::Other(text) => text.clone(),
        }
    }
}

/// Decodes one message of a worker's stream, which holds any number of [`FromWorker`].
pub fn decode_worker_batch(frames: &Frames) -> Result<Vec<FromWorker>, DecodeError> {
    decode_batch(frames, decode)
}

fn decode(fields: &mut Fields<'_, '_>) -> Result<FromWorker, DecodeError> {
    Ok(match fields.op() {
        b"task-finished" => FromWorker::TaskFinished(task_finished(fields.named("task-finished"))?),
        b"task-erred" => FromWorker::TaskErred(task_erred(fields.named("task-erred"))?),
        b"release-worker-data" => {
            FromWorker::ReleaseWorkerData(key_event(fields.named("release-worker-data"))?)
        }
        b"add-keys" => FromWorker::AddKeys(keys_event(fields.named("add-keys"))?),
        b"long-running" => FromWorker::LongRunning(long_running(fields.named("long-running"))?),
        b"reschedule" => FromWorker::Reschedule(key_event(fields.named("reschedule"))?),
        b"request-refresh-who-has" => {
            FromWorker::RequestRefreshWhoHas(keys_event(fields.named("request-refresh-who-has"))?)
        }
        b"steal-response" => {
            FromWorker::StealResponse(steal_response(fields.named("steal-response"))?)
        }
        b"worker-status-change" => {
            FromWorker::WorkerStatusChange(status_change(fields.named("worker-status-change"))?)
        }
        b"log-event" => {
            let fields = fields.named("log-event");
            FromWorker::LogEvent(LogEvent {
                topic: fields.value("topic")?,
                msg: fields.value("msg")?,
            })
        }
        b"keep-alive" => FromWorker::KeepAlive,
        b"close-stream" => FromWorker::CloseStream,
        op => FromWorker::Other {
            op: Text::from_bytes(Bytes::copy_from_slice(op)),
            message: fields.named("stream message").whole()?,
        },
    })
}

/// Fields in the order stock workers send them.
fn task_finished(fields: &mut Fields<'_, '_>) -> Result<TaskFinished, DecodeError> {
    Ok(TaskFinished {
        key: fields.key()?,
        run_id: fields.required("run_id", |decoder| decoder.reader.read_i64())?,
        nbytes: fields.optional("nbytes", |decoder| decoder.reader.read_u64())?,
        value_type: fields.optional("type", |decoder| decoder.reader.read_bytes())?,
        typename: fields.text("typename")?,
        metadata: fields
            .optional("metadata", read_map_or_nil)?
            .unwrap_or_default(),
        thread: fields.value("thread")?,
        startstops: fields
            .optional("startstops", read_startstops)?
            .unwrap_or_default(),
        stimulus_id: fields.text("stimulus_id")?,
    })
}

fn task_erred(fields: &mut Fields<'_, '_>) -> Result<TaskErred, DecodeError> {
    Ok(TaskErred {
        key: fields.key()?,
        run_id: fields.required("run_id", |decoder| decoder.reader.read_i64())?,
        exception: fields.value("exception")?,
        traceback: fields.value("traceback")?,
        exception_text: fields.text("exception_text")?,
        traceback_text: fields.text("traceback_text")?,
        thread: fields.value("thread")?,
        startstops: fields
            .optional("startstops", read_startstops)?
            .unwrap_or_default(),
        stimulus_id: fields.text("stimulus_id")?,
    })
}

fn key_event(fields: &mut Fields<'_, '_>) -> Result<KeyEvent, DecodeError> {
    Ok(KeyEvent {
        key: fields.key()?,
        stimulus_id: fields.text("stimulus_id")?,
    })
}

fn keys_event(fields: &mut Fields<'_, '_>) -> Result<AddKeys, DecodeError> {
    Ok(AddKeys {
        keys: fields.keys()?,
        stimulus_id: fields.text("stimulus_id")?,
    })
}

fn long_running(fields: &mut Fields<'_, '_>) -> Result<LongRunning, DecodeError> {
    Ok(LongRunning {
        key: fields.key()?,
        run_id: fields.optional("run_id", |decoder| decoder.reader.read_i64())?,
        compute_duration: fields
            .optional("compute_duration", |decoder| decoder.reader.read_f64())?,
        stimulus_id: fields.text("stimulus_id")?,
    })
}

fn steal_response(fields: &mut Fields<'_, '_>) -> Result<StealResponse, DecodeError> {
    Ok(StealResponse {
        key: fields.key()?,
        state: fields.optional("state", |decoder| decoder.reader.read_text())?,
        stimulus_id: fields.text("stimulus_id")?,
    })
}

/// The status is its name, or the enum member itself.
fn status_change(fields: &mut Fields<'_, '_>) -> Result<WorkerStatusChange, DecodeError> {
    let status = fields.required("status", |decoder| match decoder.read_value()? {
        Value::Str(text) => Ok(text),
        Value::Enum(member) => Ok(member.member),
        other => Err(DecodeError::Unexpected {
            expected: "str",
            found: other.type_name(),
            at: decoder.reader.position(),
        }),
    })?;
    Ok(WorkerStatusChange {
        status,
        stimulus_id: fields.text("stimulus_id")?,
    })
}

fn read_startstops(decoder: &mut Decoder<'_>) -> Result<SmallVec<[StartStop; 1]>, DecodeError> {
    let len = decoder.reader.read_array_len()?;
    let mut startstops = SmallVec::new();
    for _ in 0..len {
        startstops.push(read_startstop(decoder)?);
    }
    Ok(startstops)
}

fn read_startstop(decoder: &mut Decoder<'_>) -> Result<StartStop, DecodeError> {
    let reader = &mut decoder.reader;
    let (mut action, mut start, mut stop, mut source) = (None, None, None, None);
    for _ in 0..reader.read_map_len()? {
        match reader.read_str()? {
            b"action" => action = Some(reader.read_text()?),
            b"start" => start = Some(reader.read_f64()?),
            b"stop" => stop = Some(reader.read_f64()?),
            b"source" if reader.kind()? == Kind::Str => source = Some(reader.read_text()?),
            _ => reader.skip()?,
        }
    }
    let missing = |field| DecodeError::MissingField {
        op: "startstops",
        field,
    };
    Ok(StartStop {
        action: Action::from_text(action.ok_or_else(|| missing("action"))?),
        start: start.ok_or_else(|| missing("start"))?,
        stop: stop.ok_or_else(|| missing("stop"))?,
        source,
    })
}
