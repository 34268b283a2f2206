//! Pickles of the exceptions a scheduler raises at its clients.
//!
//! On the wire an exception is such a pickle inside `Serialize(bytes)`; see [`Payload::serialized_bytes`].

use bytes::Bytes;

use super::value::PickleValue;
use super::write::PickleWriter;
use crate::key::Key;
use crate::payload::Payload;
use crate::text::Text;

/// An exception of any class, made from its arguments.
pub fn exception(module: &str, class: &str, arguments: &[PickleValue]) -> Bytes {
    let mut writer = PickleWriter::new();
    writer.global(module, class);
    writer.mark();
    for argument in arguments {
        writer.value(argument);
    }
    writer.end_tuple();
    writer.reduce();
    writer.finish()
}

/// An exception of a built-in class with a message.
pub fn builtin(class: &str, message: &str) -> Bytes {
    exception("builtins", class, &[PickleValue::from(message)])
}

/// The value of an `exception` field: a pickle, pickled once more as bytes.
pub fn as_field(exception: &[u8]) -> Payload {
    Payload::serialized_bytes(exception)
}

/// What a client is told of the worker that died last; becomes a `WorkerState` there.
#[derive(Clone, Debug)]
pub struct LostWorker {
    pub address: Text,
    /// Text or a number.
    pub name: PickleValue,
    /// The name of a status, such as `running`.
    pub status: &'static str,
    pub pid: i64,
    pub nthreads: i64,
    pub memory_limit: i64,
    pub local_directory: Text,
    pub nanny: Option<Text>,
    pub server_id: Text,
}

/// `KilledWorker(task, last_worker, allowed_failures)`
pub fn killed_worker(task: &Key, last_worker: &LostWorker, allowed_failures: i64) -> Bytes {
    let mut writer = PickleWriter::new();
    writer.global("distributed.scheduler", "KilledWorker");
    writer.mark();
    writer.value(&PickleValue::from(task));
    write_worker_state(&mut writer, last_worker);
    writer.int(allowed_failures);
    writer.end_tuple();
    writer.reduce();
    writer.finish()
}

/// `functools.partial(WorkerState, **fields)()`: the constructor takes keywords only, which a plain call cannot pass.
fn write_worker_state(writer: &mut PickleWriter, worker: &LostWorker) {
    writer.global("functools", "partial");
    writer.mark();
    writer.global("distributed.scheduler", "WorkerState");
    writer.end_tuple();
    writer.reduce();
    writer.mark();
    writer.global("distributed.scheduler", "WorkerState");
    writer.mark();
    writer.end_tuple();
    write_worker_fields(writer, worker);
    writer.none();
    writer.end_tuple();
    writer.build();
    writer.mark();
    writer.end_tuple();
    writer.reduce();
}

fn write_worker_fields(writer: &mut PickleWriter, worker: &LostWorker) {
    writer.begin_dict();
    writer.str("status");
    writer.global("distributed.core", "Status");
    writer.mark();
    writer.str(worker.status);
    writer.end_tuple();
    writer.reduce();
    let nanny = worker
        .nanny
        .clone()
        .map_or(PickleValue::None, PickleValue::Str);
    let fields = [
        ("address", PickleValue::Str(worker.address.clone())),
        ("name", worker.name.clone()),
        ("pid", worker.pid.into()),
        ("nthreads", worker.nthreads.into()),
        ("memory_limit", worker.memory_limit.into()),
        (
            "local_directory",
            PickleValue::Str(worker.local_directory.clone()),
        ),
        ("nanny", nanny),
        ("server_id", PickleValue::Str(worker.server_id.clone())),
    ];
    for (field, value) in &fields {
        writer.str(field);
        writer.value(value);
    }
    writer.end_dict();
}

/// `NoValidWorkerError(task, hosts, workers, resources, timeout)`
pub fn no_valid_worker(
    task: &Key,
    hosts: &[Text],
    workers: &[Text],
    resources: &[(Text, f64)],
    timeout_seconds: f64,
) -> Bytes {
    let set =
        |texts: &[Text]| PickleValue::Set(texts.iter().cloned().map(PickleValue::Str).collect());
    let resources = resources
        .iter()
        .map(|(name, amount)| (PickleValue::Str(name.clone()), (*amount).into()));
    let arguments = [
        PickleValue::from(task),
        set(hosts),
        set(workers),
        PickleValue::Dict(resources.collect()),
        timeout_seconds.into(),
    ];
    exception("distributed.scheduler", "NoValidWorkerError", &arguments)
}

/// `NoWorkerError(task, timeout)`
pub fn no_worker(task: &Key, timeout_seconds: f64) -> Bytes {
    exception(
        "distributed.scheduler",
        "NoWorkerError",
        &[PickleValue::from(task), timeout_seconds.into()],
    )
}

/// `KeyError(key)`
pub fn key_error(key: PickleValue) -> Bytes {
    exception("builtins", "KeyError", &[key])
}
