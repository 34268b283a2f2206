//! Prints what the hot paths cost in this build, in nanoseconds: `cargo run --release -p protocol --example protocol_speed`.
//!
//! Nothing is asserted: timing is no test.

use std::hint::black_box;

use protocol::messages::{decode_client_batch, decode_worker_batch};
use protocol::pickle::{self, PickleValue, PickleWriter, Tree};
use protocol::{
    FrameDecoder, Frames, Key, Limits, MessageWriter, Payload, decode_message, frames, snippet,
};

const BATCH: usize = 100;
const ROUNDS: usize = 3000;

fn main() {
    let finished = task_finished_batch();
    measure("task-finished, decode typed", BATCH, || {
        black_box(decode_worker_batch(&finished))
            .expect("our own bytes")
            .len()
    });
    measure("task-finished, decode as Value", BATCH, || {
        black_box(decode_message(&finished))
            .expect("our own bytes")
            .as_array()
            .map_or(0, <[_]>::len)
    });
    let keys: Vec<Key> = (0..BATCH)
        .map(|number| Key::str(&key_text(number)))
        .collect();
    let spec = vec![7; 200];
    measure("compute-task, encode from raw pickles", BATCH, || {
        black_box(compute_tasks(&keys, |writer| {
            writer.write_raw_pickle(&spec, &[])
        }))
        .0
        .len()
    });
    let payload = Payload::pickled(&spec, Vec::new());
    measure("compute-task, encode from payloads", BATCH, || {
        black_box(compute_tasks(&keys, |writer| {
            writer.write_pickled(&payload)
        }))
        .0
        .len()
    });
    let tasks = compute_tasks(&keys, |writer| writer.write_raw_pickle(&spec, &[]));
    measure("compute-task, frames to stream", BATCH, || {
        black_box(frames::encode(&tasks.0)).len()
    });
    let stream = frames::encode(&tasks.0).concat();
    measure("compute-task, stream to frames", BATCH, || {
        let mut decoder = FrameDecoder::new(Limits::default());
        decoder.feed(&stream);
        decoder
            .next_message()
            .expect("our own bytes")
            .map_or(0, |message| message.0.len())
    });
    let releases = release_batch(&keys);
    measure("client-releases-keys, decode", BATCH, || {
        black_box(decode_client_batch(&releases))
            .expect("our own bytes")
            .len()
    });
    measure("key, make and drop", BATCH, || {
        keys.iter()
            .map(|key| {
                Key::from_str_bytes(key.as_str_bytes().unwrap_or_default())
                    .as_msgpack()
                    .len()
            })
            .sum()
    });
    let annotations = annotations();
    measure("annotations, unpickle", 1, || {
        black_box(pickle::parse(&annotations, &[])).is_ok().into()
    });
    measure("annotations, symbolic tree", 1, || {
        black_box(Tree::read(&annotations)).is_ok().into()
    });
}

/// The best of many rounds, because others use the machine too.
fn measure(what: &str, per_round: usize, mut work: impl FnMut() -> usize) {
    if std::env::args()
        .nth(1)
        .is_some_and(|only| !what.starts_with(&only))
    {
        return;
    }
    black_box(work());
    let mut best_ns = u64::MAX;
    for _ in 0..ROUNDS {
        let start = monotonic_ns();
        black_box(work());
        best_ns = best_ns.min(monotonic_ns() - start);
    }
    println!(
        "{what:44} {:>8.0} ns each",
        best_ns as f64 / per_round as f64
    );
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn monotonic_ns() -> u64 {
    use std::sync::OnceLock;
    use std::time::Instant;
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

fn key_text(number: usize) -> String {
    format!("increment-0123456789abcdef0123456789ab{number:04x}")
}

/// As a stock worker sends it: op near the end.
fn task_finished_batch() -> Frames {
    let mut writer = MessageWriter::new();
    writer.write_array_len(BATCH);
    for number in 0..BATCH {
        writer.write_map_len(11);
        writer.write_raw(snippet!("key"));
        writer.write_str(&key_text(number));
        writer.write_raw(snippet!("run_id"));
        writer.write_i64(number as i64);
        writer.write_raw(snippet!("nbytes"));
        writer.write_i64(28);
        writer.write_raw(snippet!("type"));
        writer.write_bin(&[5; 30]);
        writer.write_raw(snippet!("typename"));
        writer.write_str("int");
        writer.write_raw(snippet!("metadata"));
        writer.write_map_len(0);
        writer.write_raw(snippet!("thread"));
        writer.write_i64(140_000_000_000_000);
        writer.write_raw(snippet!("startstops"));
        writer.write_array_len(1);
        writer.write_map_len(3);
        writer.write_raw(snippet!("action"));
        writer.write_raw(snippet!("compute"));
        writer.write_raw(snippet!("start"));
        writer.write_f64(1.0e9);
        writer.write_raw(snippet!("stop"));
        writer.write_f64(1.1e9);
        writer.write_raw(snippet!("op"));
        writer.write_raw(snippet!("task-finished"));
        writer.write_raw(snippet!("stimulus_id"));
        writer.write_str("task-finished-1790000000.123456");
        writer.write_raw(snippet!("status"));
        writer.write_raw(snippet!("OK"));
    }
    writer.finish()
}

fn compute_tasks(keys: &[Key], write_spec: impl Fn(&mut MessageWriter)) -> Frames {
    let mut writer = MessageWriter::with_capacity(keys.len() * 300);
    writer.write_array_len(keys.len());
    for key in keys {
        writer.write_map_len(12);
        writer.write_raw(snippet!("op"));
        writer.write_raw(snippet!("compute-task"));
        writer.write_raw(snippet!("key"));
        writer.write_key(key);
        writer.write_raw(snippet!("run_id"));
        writer.write_i64(12345);
        writer.write_raw(snippet!("priority"));
        writer.write_array_len(3);
        writer.write_i64(0);
        writer.write_i64(1);
        writer.write_i64(777);
        writer.write_raw(snippet!("who_has"));
        writer.write_map_len(1);
        writer.write_key(key);
        writer.write_array_len(1);
        writer.write_str("tcp://127.0.0.1:40123");
        writer.write_raw(snippet!("nbytes"));
        writer.write_map_len(1);
        writer.write_key(key);
        writer.write_i64(28);
        writer.write_raw(snippet!("run_spec"));
        write_spec(&mut writer);
        writer.write_raw(snippet!("resource_restrictions"));
        writer.write_nil();
        writer.write_raw(snippet!("actor"));
        writer.write_bool(false);
        writer.write_raw(snippet!("annotations"));
        writer.write_map_len(0);
        writer.write_raw(snippet!("span_id"));
        writer.write_nil();
        writer.write_raw(snippet!("stimulus_id"));
        writer.write_str("task-finished-1790000000.123456");
    }
    writer.finish()
}

fn release_batch(keys: &[Key]) -> Frames {
    let mut writer = MessageWriter::new();
    writer.write_array_len(keys.len());
    for key in keys {
        writer.write_map_len(3);
        writer.write_raw(snippet!("op"));
        writer.write_raw(snippet!("client-releases-keys"));
        writer.write_raw(snippet!("keys"));
        writer.write_array_len(1);
        writer.write_key(key);
        writer.write_raw(snippet!("client"));
        writer.write_str("Client-0123456789abcdef");
    }
    writer.finish()
}

fn annotations() -> bytes::Bytes {
    let mut writer = PickleWriter::new();
    let workers = PickleValue::List(vec!["tcp://127.0.0.1:40123".into()]);
    writer.value(&PickleValue::Dict(vec![
        ("priority".into(), 10.into()),
        ("workers".into(), workers),
    ]));
    writer.finish()
}
#[test]
fn sizes() {
    use protocol::messages::*;
    use protocol::*;
    println!(
        "Value {} Payload {} FromWorker {} TaskFinished {} TaskErred {} StartStop {} DecodeError {} FromClient {} Text {}",
        size_of::<Value>(),
        size_of::<Payload>(),
        size_of::<FromWorker>(),
        size_of::<TaskFinished>(),
        size_of::<TaskErred>(),
        size_of::<StartStop>(),
        size_of::<DecodeError>(),
        size_of::<FromClient>(),
        size_of::<Text>()
    );
}
