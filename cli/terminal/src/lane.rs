//! What is to be written, in order, by a thread of its own.
//!
//! Whoever has something to write hands it over and goes on: a reader that does not read holds up this thread alone.
//! Invariant: what is handed over is written, one after the other, until the process ends.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;
use tokio::sync::oneshot;

/// How much is written at a time: a pipe with room for anything takes it whole.
const PIECE: usize = 4096;

/// How long nothing may move before a reader counts as one that does not read.
const STUCK: Duration = Duration::from_secs(3);

type Job = Box<dyn FnOnce(&Moved) + Send>;

/// Counts what was written, so that a slow reader can be told from none.
#[derive(Debug, Default)]
pub struct Moved(AtomicU64);

impl Moved {
    /// Writes all of it, in pieces that count.
    pub fn write_all(&self, mut stream: impl Write, bytes: &[u8]) -> std::io::Result<()> {
        for piece in bytes.chunks(PIECE) {
            stream.write_all(piece)?;
            self.count();
        }
        stream.flush()
    }

    fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn so_far(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// One thread that writes.
#[derive(Debug)]
pub struct Lane {
    jobs: Sender<Job>,
    moved: Arc<Moved>,
    waiting: Arc<AtomicUsize>,
}

impl Lane {
    pub fn new() -> Self {
        let (jobs, handed_over) = channel::<Job>();
        let lane = Lane {
            jobs,
            moved: Arc::default(),
            waiting: Arc::default(),
        };
        let (moved, waiting) = (Arc::clone(&lane.moved), Arc::clone(&lane.waiting));
        std::thread::spawn(move || work(&handed_over, &moved, &waiting));
        lane
    }

    /// Writes in turn, and does not wait for it.
    pub fn hand_over(&self, job: impl FnOnce(&Moved) + Send + 'static) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        // The thread ends with the lane, not before.
        let _ = self.jobs.send(Box::new(job));
    }

    /// Whether there is something that was not written yet.
    pub fn is_behind(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Until everything handed over so far was written.
    pub fn written(&self) -> impl Future<Output = ()> + use<> {
        let (done, is_done) = oneshot::channel();
        self.hand_over(|_| {
            let _ = done.send(());
        });
        async move {
            let _ = is_done.await;
        }
    }

    /// Until everything handed over so far was written, or nothing could be for a while.
    pub async fn written_or_stuck(&self) {
        let written = self.written();
        tokio::pin!(written);
        let mut before = self.moved.so_far();
        while tokio::time::timeout(STUCK, &mut written).await.is_err() {
            let now = self.moved.so_far();
            if now == before {
                return;
            }
            before = now;
        }
    }

    /// The same where nothing else can happen meanwhile.
    pub fn wait_until_written_or_stuck(&self) {
        let (done, is_done) = channel();
        self.hand_over(move |_| {
            let _ = done.send(());
        });
        let mut before = self.moved.so_far();
        while is_done.recv_timeout(STUCK) == Err(RecvTimeoutError::Timeout) {
            let now = self.moved.so_far();
            if now == before {
                return;
            }
            before = now;
        }
    }
}

fn work(handed_over: &Receiver<Job>, moved: &Moved, waiting: &AtomicUsize) {
    for job in handed_over {
        job(moved);
        moved.count();
        waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{PipeReader, Read, pipe};
    use std::sync::mpsc::TryRecvError;

    /// A lane that has more to write than a pipe takes, and who may read it.
    fn behind(bytes: usize) -> (Lane, PipeReader) {
        let (reader, writer) = pipe().unwrap();
        let lane = Lane::new();
        lane.hand_over(move |moved| moved.write_all(writer, &vec![b'x'; bytes]).unwrap());
        (lane, reader)
    }

    #[test]
    fn whoever_hands_over_goes_on_although_nobody_reads() {
        let (lane, mut reader) = behind(1 << 20);
        let (told, tells) = channel();
        lane.hand_over(move |_| told.send("then").unwrap());
        assert_eq!(tells.try_recv(), Err(TryRecvError::Empty), "in order");
        assert!(lane.is_behind());
        let mut text = Vec::new();
        reader.read_to_end(&mut text).unwrap();
        assert_eq!(text.len(), 1 << 20);
        assert_eq!(tells.recv().unwrap(), "then");
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_is_not_waited_for_forever() {
        let (lane, _reader) = behind(1 << 20);
        lane.written_or_stuck().await;
    }

    #[tokio::test]
    async fn who_reads_is_waited_for() {
        let (lane, mut reader) = behind(1 << 20);
        let reading = std::thread::spawn(move || {
            let mut text = Vec::new();
            reader.read_to_end(&mut text).map(|_| text.len()).unwrap()
        });
        lane.written_or_stuck().await;
        lane.wait_until_written_or_stuck();
        assert_eq!(reading.join().unwrap(), 1 << 20);
    }
}
