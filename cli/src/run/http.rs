//! Asking the scheduler over HTTP, on loopback: one small request, one small answer.

use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer that takes longer is no answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The largest answer that is read.
const MAXIMUM_BYTES: u64 = 16 << 20;

/// Why there was no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("talk to the scheduler's HTTP server")]
    Io(#[from] std::io::Error),
    #[error("wait for an answer of the scheduler")]
    Late(#[from] tokio::time::error::Elapsed),
    #[error("understand the scheduler's answer")]
    Malformed,
    #[error("get {path}: status {status}")]
    Status { path: String, status: u16 },
    #[error("read the scheduler's answer")]
    Json(#[from] serde_json::Error),
}

/// The JSON at a path of the HTTP server on a port.
pub async fn get_json<T: serde::de::DeserializeOwned>(
    port: u16,
    path: &str,
) -> Result<T, HttpError> {
    Ok(serde_json::from_slice(
        &request(port, "GET", path, "").await?,
    )?)
}

/// Sends JSON to a path; the answer's JSON comes back, however long that takes: what is asked for may be work.
pub async fn post_json<T: serde::de::DeserializeOwned>(
    port: u16,
    path: &str,
    body: &serde_json::Value,
) -> Result<T, HttpError> {
    let answer = exchange(port, "POST", path, &body.to_string()).await?;
    Ok(serde_json::from_slice(&body_of(answer, path)?)?)
}

/// The body of an answer with status 200.
pub async fn request(
    port: u16,
    method: &str,
    path: &str,
    body: &str,
) -> Result<Vec<u8>, HttpError> {
    let answer = tokio::time::timeout(PATIENCE, exchange(port, method, path, body)).await??;
    body_of(answer, path)
}

fn body_of(answer: Vec<u8>, path: &str) -> Result<Vec<u8>, HttpError> {
    let (status, body) = split(&answer).ok_or(HttpError::Malformed)?;
    if status != 200 {
        return Err(HttpError::Status {
            path: path.to_owned(),
            status,
        });
    }
    Ok(body.to_vec())
}

/// HTTP/1.0: the answer ends when the connection does, and is never in chunks.
async fn exchange(port: u16, method: &str, path: &str, body: &str) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(MAXIMUM_BYTES).read_to_end(&mut answer).await?;
    Ok(answer)
}

fn split(answer: &[u8]) -> Option<(u16, &[u8])> {
    let end_of_head = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end_of_head]).ok()?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some((status, &answer[end_of_head + 4..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_body_are_read() {
        assert_eq!(
            split(b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n{}"),
            Some((200, &b"{}"[..]))
        );
        assert_eq!(
            split(b"HTTP/1.0 404 Not Found\r\n\r\n"),
            Some((404, &b""[..]))
        );
        assert_eq!(split(b"garbage"), None);
        assert_eq!(split(b"\r\n\r\n"), None);
    }
}
