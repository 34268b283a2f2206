//! Messages to one peer: sent at once while the socket is idle, gathered while it is busy, bounded in bytes.
//!
//! Whoever produces messages never waits: [`Outbox::push`] stores an item and returns. The [`OutboxDriver`] runs on the
//! connection's own task, where items are encoded too. Invariant: a peer that does not read costs at most the bound
//! (plus one batch being written) and then its connection, nothing else.

use std::collections::VecDeque;
use std::io;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard};

use protocol::Frames;
use tokio::sync::Notify;

use crate::connection::FrameWriter;

/// How much of the queue goes into one message at most, so that the peer can start on it.
const BATCH_BYTES: usize = 1 << 20;

/// Where messages for one peer are left; cheap to clone.
#[derive(Debug)]
pub struct Outbox<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for Outbox<T> {
    fn clone(&self) -> Self {
        Self {
            shared: Arc::clone(&self.shared),
        }
    }
}

#[derive(Debug)]
struct Shared<T> {
    queue: Mutex<Queue<T>>,
    changed: Notify,
    bound_bytes: usize,
}

#[derive(Debug)]
struct Queue<T> {
    items: VecDeque<(T, usize)>,
    /// Weight of the items and of the batch being written.
    bytes: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// What is queued is still sent.
    Closing,
    /// The bound was passed.
    Overflown,
    /// The connection is gone or given up.
    Dead,
}

impl State {
    fn is_dead(self) -> bool {
        matches!(self, Self::Overflown | Self::Dead)
    }
}

/// An item that was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    #[error("slow consumer: too many bytes wait for it")]
    SlowConsumer,
    #[error("connection closed")]
    Closed,
}

/// Why an outbox came to its end.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    #[error("slow consumer: {bytes} bytes wait for it, at most {bound} are kept")]
    SlowConsumer { bytes: usize, bound: usize },
    #[error("given up by us")]
    Abandoned,
    #[error("write to the connection")]
    Write(#[from] io::Error),
}

/// Sends what is left in the outbox.
#[derive(Debug)]
pub struct OutboxDriver<T> {
    shared: DriversEnd<T>,
    writer: FrameWriter,
}

/// However the driver ends, nothing stays queued for a connection that is gone.
#[derive(Debug)]
struct DriversEnd<T>(Arc<Shared<T>>);

impl<T> Drop for DriversEnd<T> {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.state = State::Dead;
        queue.items.clear();
    }
}

impl<T> Deref for DriversEnd<T> {
    type Target = Shared<T>;

    fn deref(&self) -> &Shared<T> {
        &self.0
    }
}

/// An outbox and what drives it; `bound_bytes` is how much may wait.
pub fn outbox<T>(writer: FrameWriter, bound_bytes: usize) -> (Outbox<T>, OutboxDriver<T>) {
    let queue = Mutex::new(Queue {
        items: VecDeque::new(),
        bytes: 0,
        state: State::Open,
    });
    let shared = Arc::new(Shared {
        queue,
        changed: Notify::new(),
        bound_bytes,
    });
    (
        Outbox {
            shared: Arc::clone(&shared),
        },
        OutboxDriver {
            shared: DriversEnd(shared),
            writer,
        },
    )
}

impl<T> Outbox<T> {
    /// Leaves an item that takes about `weight_bytes`. After [`PushError::SlowConsumer`] the driver ends.
    pub fn push(&self, item: T, weight_bytes: usize) -> Result<(), PushError> {
        self.extend([(item, weight_bytes)])
    }

    /// Leaves several items at once.
    pub fn extend(&self, items: impl IntoIterator<Item = (T, usize)>) -> Result<(), PushError> {
        let result = self.shared.lock().extend(items, self.shared.bound_bytes);
        self.shared.changed.notify_one();
        result
    }

    /// Nothing follows; what waits is still sent.
    pub fn close(&self) {
        let mut queue = self.shared.lock();
        if queue.state == State::Open {
            queue.state = State::Closing;
        }
        drop(queue);
        self.shared.changed.notify_one();
    }

    /// The connection is to end at once; what waits is dropped.
    pub fn abandon(&self) {
        let mut queue = self.shared.lock();
        queue.state = State::Dead;
        queue.items.clear();
        drop(queue);
        self.shared.changed.notify_one();
    }

    /// Bytes that wait or are being written.
    pub fn waiting_bytes(&self) -> usize {
        self.shared.lock().bytes
    }
}

impl<T> Queue<T> {
    fn extend(
        &mut self,
        items: impl IntoIterator<Item = (T, usize)>,
        bound_bytes: usize,
    ) -> Result<(), PushError> {
        if self.state != State::Open {
            return Err(PushError::Closed);
        }
        for (item, weight) in items {
            // A single item may be larger than the bound: it is the waiting that is bounded.
            if self.bytes > 0 && self.bytes + weight > bound_bytes {
                self.state = State::Overflown;
                self.items.clear();
                return Err(PushError::SlowConsumer);
            }
            self.bytes += weight;
            self.items.push_back((item, weight));
        }
        Ok(())
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Queue<T>> {
        self.queue
            .lock()
            .expect("nothing panics while it holds this lock")
    }

    /// Why nothing is sent any more.
    fn death(&self) -> OutboxError {
        let queue = self.lock();
        match queue.state {
            State::Overflown => OutboxError::SlowConsumer {
                bytes: queue.bytes,
                bound: self.bound_bytes,
            },
            State::Open | State::Closing | State::Dead => OutboxError::Abandoned,
        }
    }

    async fn until_dead(&self) {
        loop {
            if self.lock().state.is_dead() {
                return;
            }
            self.changed.notified().await;
        }
    }
}

enum Next<T> {
    Batch(Vec<T>, usize),
    Wait,
    Finished,
    Dead,
}

impl<T> OutboxDriver<T> {
    /// For what must be said before anything in the outbox.
    pub fn writer(&mut self) -> &mut FrameWriter {
        &mut self.writer
    }

    /// Sends until the outbox is closed and empty, the peer is too slow, or the connection breaks. Run it beside the
    /// reader of the same connection and drop both when either ends. `encode` makes one message of a batch.
    pub async fn run(
        mut self,
        mut encode: impl FnMut(Vec<T>) -> Frames,
    ) -> Result<FrameWriter, OutboxError> {
        loop {
            match self.next() {
                Next::Batch(batch, bytes) => {
                    self.send(&encode(batch)).await?;
                    self.shared.lock().bytes -= bytes;
                }
                Next::Wait => self.shared.changed.notified().await,
                Next::Finished => return Ok(self.writer),
                Next::Dead => return Err(self.shared.death()),
            }
        }
    }

    /// Writes, unless the peer turns out too slow meanwhile.
    async fn send(&mut self, message: &Frames) -> Result<(), OutboxError> {
        tokio::select! {
            biased;
            written = self.writer.send(message) => Ok(written?),
            () = self.shared.until_dead() => Err(self.shared.death()),
        }
    }

    fn next(&self) -> Next<T> {
        let mut queue = self.shared.lock();
        if queue.state.is_dead() {
            return Next::Dead;
        }
        let mut batch = Vec::with_capacity(queue.items.len().min(256));
        let mut bytes = 0;
        while bytes < BATCH_BYTES
            && let Some((item, weight)) = queue.items.pop_front()
        {
            batch.push(item);
            bytes += weight;
        }
        match (batch.is_empty(), queue.state) {
            (false, _) => Next::Batch(batch, bytes),
            (true, State::Open) => Next::Wait,
            (true, _) => Next::Finished,
        }
    }
}
