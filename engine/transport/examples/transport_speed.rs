//! Prints what the loopback costs in this build: `cargo run --release -p transport --example transport_speed`.
//!
//! Nothing is asserted: timing is no test.

use std::time::Duration;

use bytes::Bytes;
use protocol::{Frames, Payload, Value, encode_value, map};
use transport::{Connection, Connector, ListenOptions, Listener, Pool, outbox};

const CALLS: u32 = 20_000;
const BATCHED: u32 = 1_000_000;
const BIG_BYTES: usize = 1 << 30;

#[tokio::main]
async fn main() {
    let listener = Listener::bind(&ListenOptions::tcp("127.0.0.1", 0))
        .await
        .expect("loopback can be bound");
    let address = listener.listen_address();
    tokio::spawn(async move {
        loop {
            let connection = listener.accept().await.establish().await;
            tokio::spawn(answer(connection.expect("our own handshake")));
        }
    });
    calls(&address).await;
    batches(&address).await;
    big(&address).await;
}

/// Answers everything with null.
async fn answer(mut connection: Connection) {
    while let Ok(Some(request)) = connection.recv().await {
        let is_last = request.0[0].ends_with(b"last");
        if (is_last || request.0.len() > 1 || request.0[0].len() < 100)
            && connection.send_value(&Value::Nil).await.is_err()
        {
            return;
        }
    }
}

async fn calls(address: &str) {
    let pool = Pool::new(Connector::default(), 8);
    let request = encode_value(&map! {"op" => "identity", "reply" => true});
    let started = now();
    for _ in 0..CALLS {
        pool.call(address, &request)
            .await
            .expect("the peer answers");
    }
    println!(
        "call and reply, one after the other   {:>9.1} us each",
        micros(started) / f64::from(CALLS)
    );
}

async fn batches(address: &str) {
    let connection = Connector::default()
        .connect(address)
        .await
        .expect("the peer listens");
    let (mut reader, writer, _) = connection.split();
    let (out, driver) = outbox::<u32>(writer, usize::MAX);
    let started = now();
    let driver =
        tokio::spawn(driver.run(|batch| Frames(vec![Bytes::from(vec![0; 100 * batch.len()])])));
    for number in 0..BATCHED {
        out.push(number, 100).expect("the outbox is open");
    }
    out.close();
    let mut writer = driver.await.expect("no panic").expect("the peer reads");
    writer
        .send_value(&Value::text("last"))
        .await
        .expect("the peer reads");
    reader.recv().await.expect("the peer answers");
    println!(
        "message of 100 bytes through an outbox {:>8.3} us each",
        micros(started) / f64::from(BATCHED)
    );
}

async fn big(address: &str) {
    let mut connection = Connector::default()
        .connect(address)
        .await
        .expect("the peer listens");
    let payload = Payload::serialized_pickle(Bytes::from(vec![1; BIG_BYTES]));
    let before = resident_peak_mib();
    let started = now();
    connection
        .send_value(&Value::Serialized(payload))
        .await
        .expect("the peer reads");
    connection.recv().await.expect("the peer answers");
    let seconds = micros(started) / 1e6;
    println!(
        "1 GiB in one frame                     {:>8.2} GiB/s",
        1.0 / seconds
    );
    println!(
        "  memory beyond the 1 GiB sent         {:>8} MiB",
        resident_peak_mib() - before
    );
}

fn micros(started: Duration) -> f64 {
    (now() - started).as_secs_f64() * 1e6
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Duration {
    use std::sync::OnceLock;
    use std::time::Instant;
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// The most this process ever held.
fn resident_peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap_or_default();
    line.split_whitespace()
        .next()
        .and_then(|kib| kib.parse::<u64>().ok())
        .unwrap_or(0)
        / 1024
}
