//! The messages of a fake worker, with the fields a stock worker sends.

use protocol::msgpack::{Kind, Reader};
use protocol::{DecodeError, Frames, Key, MessageWriter, Value, array, map};

use crate::clock;

/// `pickle.dumps(int)`: what every result claims to be.
const PICKLED_INT: &[u8] =
    b"\x80\x05\x95\x14\x00\x00\x00\x00\x00\x00\x00\x8c\x08builtins\x94\x8c\x03int\x94\x93\x94.";

/// What the scheduler wants of the worker.
#[derive(Debug, PartialEq)]
pub enum Assignment {
    Compute { key: Key, run_id: i64 },
    Free(Key),
}

pub fn registration(address: &str, name: &str, nthreads: i64) -> Value {
    map! {
        "op" => "register-worker",
        "reply" => false,
        "address" => address,
        "status" => "init",
        "nthreads" => nthreads,
        "name" => name,
        "now" => clock::unix_seconds(),
        "resources" => map! {},
        "memory_limit" => 64_i64 << 30,
        "local_directory" => "/nonexistent",
        "services" => map! {},
        "nanny" => (),
        "pid" => i64::from(std::process::id()),
        "versions" => map! { "host" => map! {}, "packages" => map! {} },
        "metrics" => metrics(),
        "extra" => map! {},
        "stimulus_id" => "worker-connect-fake",
        "server_id" => format!("Worker-{name}"),
    }
}

/// The first message of the stream: from now on tasks are welcome.
pub fn running() -> Value {
    array![map! {
        "op" => "worker-status-change",
        "status" => "running",
        "stimulus_id" => "worker-status-change-fake",
    }]
}

pub fn heartbeat(address: &str) -> Value {
    map! {
        "op" => "heartbeat_worker",
        "address" => address,
        "now" => clock::unix_seconds(),
        "metrics" => metrics(),
        "executing" => map! {},
        "extensions" => map! {},
        "reply" => true,
    }
}

fn metrics() -> Value {
    let transfer = map! {
        "incoming_bytes" => 0_i64,
        "incoming_count" => 0_i64,
        "incoming_count_total" => 0_i64,
        "outgoing_bytes" => 0_i64,
        "outgoing_count" => 0_i64,
        "outgoing_count_total" => 0_i64,
    };
    let input_and_output = || map! { "read_bps" => 0.0, "write_bps" => 0.0 };
    map! {
        "task_counts" => map! {},
        "bandwidth" => map! { "total" => 100_000_000_i64, "workers" => map! {}, "types" => map! {} },
        "digests_total_since_heartbeat" => map! {},
        "managed_bytes" => 0_i64,
        "spilled_bytes" => map! { "memory" => 0_i64, "disk" => 0_i64 },
        "transfer" => transfer,
        "event_loop_interval" => 0.02,
        "cpu" => 1.0,
        "memory" => 100_000_000_i64,
        "time" => clock::unix_seconds(),
        "host_net_io" => input_and_output(),
        "host_disk_io" => input_and_output(),
        "num_fds" => 20_i64,
    }
}

/// What one message of the scheduler asks for; false at the end of the stream.
pub fn read_assignments(
    frames: &Frames,
    assignments: &mut Vec<Assignment>,
) -> Result<bool, DecodeError> {
    let Some(first) = frames.0.first() else {
        return Err(DecodeError::NoFrame);
    };
    let mut reader = Reader::new(first);
    let count = match reader.kind()? {
        Kind::Array => reader.read_array_len()?,
        _ => 1,
    };
    let mut goes_on = true;
    for _ in 0..count {
        goes_on &= read_message(&mut reader, assignments)?;
    }
    Ok(goes_on)
}

fn read_message(
    reader: &mut Reader<'_>,
    assignments: &mut Vec<Assignment>,
) -> Result<bool, DecodeError> {
    if reader.kind()? != Kind::Map {
        reader.skip()?;
        return Ok(true);
    }
    let (mut op, mut key, mut run_id, mut keys) = (&b""[..], None, 0, Vec::new());
    for _ in 0..reader.read_map_len()? {
        match reader.read_str()? {
            b"op" => op = reader.read_str()?,
            b"key" => key = Some(Key::read(reader)?),
            b"run_id" => run_id = reader.read_i64()?,
            b"keys" if reader.kind()? == Kind::Array => {
                for _ in 0..reader.read_array_len()? {
                    keys.push(Key::read(reader)?);
                }
            }
            _ => reader.skip()?,
        }
    }
    match (op, key) {
        (b"compute-task", Some(key)) => assignments.push(Assignment::Compute { key, run_id }),
        (b"free-keys" | b"remove-replicas", _) => {
            assignments.extend(keys.into_iter().map(Assignment::Free));
        }
        (b"close" | b"close-stream" | b"stream-closed", _) => return Ok(false),
        _ => {}
    }
    Ok(true)
}

/// One message that says of every task that it is done, and of every freed key that it is gone.
pub fn answers(assignments: &[Assignment], thread: i64) -> Frames {
    let now = clock::unix_seconds();
    let mut writer = MessageWriter::with_capacity(assignments.len() * 320);
    writer.write_array_len(assignments.len());
    for assignment in assignments {
        match assignment {
            Assignment::Compute { key, run_id } => {
                write_finished(&mut writer, key, *run_id, thread, now);
            }
            Assignment::Free(key) => write_released(&mut writer, key),
        }
    }
    writer.finish()
}

/// Fields in the order in which a stock worker writes them.
fn write_finished(writer: &mut MessageWriter, key: &Key, run_id: i64, thread: i64, now: f64) {
    writer.write_map_len(11);
    writer.write_str("key");
    writer.write_key(key);
    writer.write_str("run_id");
    writer.write_i64(run_id);
    writer.write_str("nbytes");
    writer.write_i64(28);
    writer.write_str("type");
    writer.write_bin(PICKLED_INT);
    writer.write_str("typename");
    writer.write_str("int");
    writer.write_str("metadata");
    writer.write_map_len(0);
    writer.write_str("thread");
    writer.write_i64(140_000_000_000_000 + thread);
    writer.write_str("startstops");
    writer.write_array_len(1);
    writer.write_map_len(3);
    writer.write_str("action");
    writer.write_str("compute");
    writer.write_str("start");
    writer.write_f64(now - 2e-5);
    writer.write_str("stop");
    writer.write_f64(now);
    writer.write_str("op");
    writer.write_str("task-finished");
    writer.write_str("stimulus_id");
    writer.write_str("task-finished-1700000000.123456");
    writer.write_str("status");
    writer.write_str("OK");
}

fn write_released(writer: &mut MessageWriter, key: &Key) {
    writer.write_map_len(3);
    writer.write_str("key");
    writer.write_key(key);
    writer.write_str("op");
    writer.write_str("release-worker-data");
    writer.write_str("stimulus_id");
    writer.write_str("free-keys-1700000000.123456");
}

#[cfg(test)]
mod tests {
    use protocol::messages::{FromWorker, decode_worker_batch};
    use protocol::{Key, Value, array, encode_value, map};

    use super::{Assignment, answers, read_assignments};

    #[test]
    fn assignments_are_read_from_a_batch() {
        let batch = array![
            map! { "op" => "compute-task", "key" => "x", "run_id" => 7_i64, "who_has" => map! {"y" => array!["z"]} },
            map! { "op" => "free-keys", "keys" => array!["a", array!["b", 1_i64]] },
            map! { "op" => "unknown", "key" => "q" },
        ];
        let mut assignments = Vec::new();
        let goes_on = read_assignments(&encode_value(&batch), &mut assignments).unwrap();
        assert!(goes_on);
        assert_eq!(
            assignments,
            [
                Assignment::Compute {
                    key: Key::str("x"),
                    run_id: 7
                },
                Assignment::Free(Key::str("a")),
                Assignment::Free(Key::tuple(&[Key::str("b"), Key::int(1)])),
            ]
        );
    }

    #[test]
    fn close_ends_the_stream() {
        let mut assignments = Vec::new();
        let close: Value = array![map! { "op" => "close", "reason" => "over" }];
        assert!(!read_assignments(&encode_value(&close), &mut assignments).unwrap());
    }

    #[test]
    fn answers_are_what_a_scheduler_reads() {
        let frames = answers(
            &[
                Assignment::Compute {
                    key: Key::str("x"),
                    run_id: 7,
                },
                Assignment::Free(Key::int(5)),
            ],
            3,
        );
        let messages = decode_worker_batch(&frames).unwrap();
        let [
            FromWorker::TaskFinished(finished),
            FromWorker::ReleaseWorkerData(released),
        ] = &messages[..]
        else {
            panic!("{messages:?}");
        };
        assert_eq!((&finished.key, finished.run_id), (&Key::str("x"), 7));
        assert_eq!(finished.nbytes, Some(28));
        assert_eq!(released.key, Key::int(5));
    }
}
