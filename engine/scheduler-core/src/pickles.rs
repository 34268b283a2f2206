//! Pickles of the exceptions that the scheduler makes itself. Classes are named, never imported: nothing is executed here.

use crate::task::Rare;
use crate::worker::Worker;
use protocol::{Key, Value};
use std::fmt::Write as _;

/// Writes protocol 4.
struct Pickler(Vec<u8>);

impl Pickler {
    fn new() -> Self {
        Self(vec![0x80, 4])
    }

    fn finish(mut self) -> Vec<u8> {
        self.0.push(b'.');
        self.0
    }

    fn op(&mut self, op: u8) {
        self.0.push(op);
    }

    fn text(&mut self, text: &[u8]) {
        match u8::try_from(text.len()) {
            Ok(len) => self.0.extend_from_slice(&[0x8c, len]),
            Err(_) => {
                self.op(b'X');
                self.0.extend_from_slice(&(text.len() as u32).to_le_bytes());
            }
        }
        self.0.extend_from_slice(text);
    }

    fn class(&mut self, module: &str, name: &str) {
        self.text(module.as_bytes());
        self.text(name.as_bytes());
        self.op(0x93);
    }

    fn int(&mut self, value: i64) {
        match i32::try_from(value) {
            Ok(value) => {
                self.op(b'J');
                self.0.extend_from_slice(&value.to_le_bytes());
            }
            Err(_) => {
                self.0.extend_from_slice(&[0x8a, 8]);
                self.0.extend_from_slice(&value.to_le_bytes());
            }
        }
    }

    fn float(&mut self, value: f64) {
        self.op(b'G');
        self.0.extend_from_slice(&value.to_be_bytes());
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Bool(value) => self.op(if *value { 0x88 } else { 0x89 }),
            Value::Int(value) => self.int(*value),
            Value::UInt(value) => self.float(*value as f64),
            Value::Float(value) => self.float(*value),
            Value::Str(text) => self.text(text.as_bytes()),
            Value::Bin(bytes) => {
                self.op(b'B');
                self.0
                    .extend_from_slice(&(bytes.len() as u32).to_le_bytes());
                self.0.extend_from_slice(bytes);
            }
            Value::Array(items) => {
                self.op(b'(');
                for item in items {
                    self.value(item);
                }
                self.op(b't');
            }
            Value::Nil
            | Value::Map(_)
            | Value::Set(_)
            | Value::Enum(_)
            | Value::Serialized(_)
            | Value::Pickled(_) => self.op(b'N'),
        }
    }

    fn key(&mut self, key: &Key) {
        self.value(&key.to_value());
    }

    fn set<'a>(&mut self, items: impl Iterator<Item = Value> + 'a) {
        self.op(0x8f);
        self.op(b'(');
        for item in items {
            self.value(&item);
        }
        self.op(0x90);
    }

    fn entry(&mut self, name: &str, value: &Value) {
        self.text(name.as_bytes());
        self.value(value);
    }
}

/// `class(message)`
pub(crate) fn exception(module: &str, class: &str, message: &str) -> Vec<u8> {
    let mut out = Pickler::new();
    out.class(module, class);
    out.text(message.as_bytes());
    out.op(0x85);
    out.op(b'R');
    out.finish()
}

pub(crate) fn memory_error(message: &str) -> Vec<u8> {
    exception("builtins", "MemoryError", message)
}

/// What users read when a task's inputs cannot fit its worker.
pub(crate) fn too_big_message(
    key: &Key,
    inputs: u64,
    address: &str,
    limit: u64,
    is_last: bool,
) -> String {
    let mut message = format!(
        "Task {key:?} has {} worth of input dependencies, but worker {address} has memory_limit set to {}.",
        format_bytes(inputs),
        format_bytes(limit)
    );
    if is_last {
        // Writing to a String cannot fail.
        let _infallible = write!(
            message,
            " It seems like you called client.compute() on a huge collection. \
             Consider writing to distributed storage or slicing/reducing first."
        );
    }
    message
}

fn format_bytes(bytes: u64) -> String {
    for (unit, power) in [
        ("PiB", 50),
        ("TiB", 40),
        ("GiB", 30),
        ("MiB", 20),
        ("kiB", 10),
    ] {
        let size = 1u64 << power;
        if bytes as f64 >= size as f64 * 0.9 {
            return format!("{:.2} {unit}", bytes as f64 / size as f64);
        }
    }
    format!("{bytes} B")
}

/// `KilledWorker(task, last_worker, allowed_failures)`, where `last_worker` becomes a real `WorkerState`.
pub(crate) fn killed_worker(task: &Key, worker: &Worker, allowed_failures: u32) -> Vec<u8> {
    let mut out = Pickler::new();
    out.class("distributed.scheduler", "KilledWorker");
    out.key(task);
    worker_state(&mut out, worker);
    out.int(i64::from(allowed_failures));
    out.op(0x87);
    out.op(b'R');
    out.finish()
}

/// `functools.partial(WorkerState, **fields)()`: pickle has no call with keywords of its own.
fn worker_state(out: &mut Pickler, worker: &Worker) {
    out.class("functools", "partial");
    out.class("distributed.scheduler", "WorkerState");
    out.op(0x85);
    out.op(b'R');
    out.op(b'(');
    out.class("distributed.scheduler", "WorkerState");
    out.op(b')');
    worker_fields(out, worker);
    out.op(b'N');
    out.op(b't');
    out.op(b'b');
    out.op(b')');
    out.op(b'R');
}

fn worker_fields(out: &mut Pickler, worker: &Worker) {
    out.op(b'}');
    out.op(b'(');
    out.entry("address", &Value::from(&*worker.address));
    out.text(b"status");
    out.class("distributed.core", "Status");
    out.text(b"closed");
    out.op(0x85);
    out.op(b'R');
    out.entry("pid", &Value::Int(worker.pid));
    out.entry("name", &worker.name);
    out.entry("nthreads", &Value::from(worker.nthreads));
    out.entry("memory_limit", &Value::from(worker.memory_limit));
    out.entry("local_directory", &Value::from(&*worker.local_directory));
    out.entry(
        "nanny",
        &worker.nanny.as_deref().map_or(Value::Nil, Value::from),
    );
    out.entry("server_id", &Value::from(&*worker.server_id));
    out.op(b'u');
}

/// `NoValidWorkerError(task, host_restrictions, worker_restrictions, resource_restrictions, timeout)`
pub(crate) fn no_valid_worker(task: &Key, rare: Option<&Rare>, timeout: f64) -> Vec<u8> {
    let mut out = Pickler::new();
    out.class("distributed.scheduler", "NoValidWorkerError");
    out.op(b'(');
    out.key(task);
    out.set(
        rare.into_iter()
            .flat_map(|rare| rare.host_restrictions.iter().cloned()),
    );
    out.set(rare.into_iter().flat_map(|rare| {
        rare.worker_restrictions
            .iter()
            .map(|address| Value::from(&**address))
    }));
    out.op(b'}');
    out.op(b'(');
    for (name, amount) in rare
        .and_then(|rare| rare.resources.as_deref())
        .unwrap_or_default()
    {
        out.entry(name, &Value::Float(*amount));
    }
    out.op(b'u');
    out.float(timeout);
    out.op(b't');
    out.op(b'R');
    out.finish()
}

/// `NoWorkerError(task, timeout)`
pub(crate) fn no_worker(task: &Key, timeout: f64) -> Vec<u8> {
    let mut out = Pickler::new();
    out.class("distributed.scheduler", "NoWorkerError");
    out.key(task);
    out.float(timeout);
    out.op(0x86);
    out.op(b'R');
    out.finish()
}
