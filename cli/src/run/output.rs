//! Passing on what the job's program writes, and keeping the end of it.
//!
//! While the program runs it waits for a reader that is slow, as it would without us. Once it has ended nothing does: what
//! it left in its pipes is taken from them at once, and the console writes it in the reader's own time.

use super::logs::Tail;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use terminal::{Console, Stream};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// What is still being passed on.
pub type Passing = Mutex<JoinSet<()>>;

/// How long output is waited for after the program's end: a process it left behind may hold the pipe open.
pub const LAST_OUTPUT: Duration = Duration::from_millis(500);

/// How much of it is taken then: more than a pipe holds, less than such a process may go on to write.
const LAST_OUTPUT_BYTES: usize = 8 << 20;

const CHUNK: usize = 64 * 1024;

/// One stream of the program.
pub struct Passage {
    pub stream: Stream,
    pub console: Arc<Console>,
    pub tail: Arc<Mutex<Tail>>,
    /// Whether the program has ended.
    pub ended: watch::Receiver<bool>,
}

impl Passage {
    /// Copies output until its end, or until nobody reads ours: then the job gets a broken pipe, as without us.
    pub async fn pass_on(mut self, mut pipe: impl AsyncRead + Unpin) {
        let over = over(self.ended.clone());
        tokio::pin!(over);
        let mut chunk = vec![0; CHUNK];
        let mut held: Vec<u8> = Vec::new();
        let mut after_end = 0;
        while after_end < LAST_OUTPUT_BYTES {
            let length = tokio::select! {
                biased;
                read = pipe.read(&mut chunk) => read.unwrap_or(0),
                () = &mut over => 0,
            };
            if length == 0 {
                break;
            }
            if *self.ended.borrow() {
                after_end += length;
            }
            let bytes = &chunk[..length];
            self.tail.lock().expect("no holder panics").add(bytes);
            held.extend_from_slice(bytes);
            if !self.show(&mut held).await {
                return;
            }
        }
        self.hand_over(held).await;
    }

    /// As much as may be shown now; false when nobody reads it any more.
    async fn show(&mut self, held: &mut Vec<u8>) -> bool {
        let now = if self.console.draws_below(self.stream) {
            whole_lines(held)
        } else {
            held.len()
        };
        self.hand_over(held.drain(..now).collect()).await
    }

    async fn hand_over(&mut self, bytes: Vec<u8>) -> bool {
        if bytes.is_empty() {
            return true;
        }
        tokio::select! {
            biased;
            written = self.console.pass_on(self.stream, bytes) => written.is_ok(),
            _ = self.ended.wait_for(|ended| *ended) => true,
        }
    }
}

/// When nothing more is waited for.
async fn over(mut ended: watch::Receiver<bool>) {
    // An error means that nobody will say so any more, which is an end as well.
    let _ = ended.wait_for(|ended| *ended).await;
    tokio::time::sleep(LAST_OUTPUT).await;
}

/// How much may be written above a line that is being drawn: up to the last line end, or all when a line
/// becomes very long.
fn whole_lines(held: &[u8]) -> usize {
    if held.len() > CHUNK {
        return held.len();
    }
    held.iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_are_passed_on_and_the_rest_is_held() {
        assert_eq!(whole_lines(b"a\nb\nc"), 4);
        assert_eq!(whole_lines(b"abc"), 0);
        assert_eq!(whole_lines(&[b'x'; 70_000]), 70_000);
    }
}
