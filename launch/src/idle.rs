//! Asking the scheduler in the same container whether anything runs.

use contract::http::CHECK_IDLE;
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PAUSE: Duration = Duration::from_secs(1);

/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(5);

/// Questions without answer after which the scheduler counts as silent. More than one: it may be busy for seconds.
const SILENT_AFTER: u32 = 4;

/// An answer is a few bytes; the rest of a longer one is not read.
const MOST_BYTES: u64 = 64 << 10;

#[derive(serde::Deserialize)]
struct Answer {
    idle_since: Option<f64>,
}

/// Returns once nothing runs, or once the scheduler stays silent; which of them, for people.
pub async fn not_working(port: u16) -> &'static str {
    let mut silent = 0;
    loop {
        match tokio::time::timeout(PATIENCE, ask(port)).await {
            Ok(Some(Answer {
                idle_since: Some(_),
            })) => return "nothing runs",
            Ok(Some(_)) => silent = 0,
            Ok(None) | Err(_) => silent += 1,
        }
        if silent >= SILENT_AFTER {
            return "the scheduler does not answer";
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// HTTP/1.0: the answer ends when the connection does, and is never in chunks.
async fn ask(port: u16) -> Option<Answer> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.ok()?;
    let question = format!("GET {CHECK_IDLE} HTTP/1.0\r\nHost: localhost\r\n\r\n");
    stream.write_all(question.as_bytes()).await.ok()?;
    let mut answer = String::new();
    let mut stream = stream.take(MOST_BYTES);
    stream.read_to_string(&mut answer).await.ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let succeeded = head.split(' ').nth(1)? == "200";
    succeeded.then(|| serde_json::from_str(body).ok())?
}
