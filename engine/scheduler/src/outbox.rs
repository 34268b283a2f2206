//! The way from the core to one peer: an unbounded queue with a bound on the bytes it may hold.
//!
//! The core never waits for a peer. What it says is queued here and encoded on the connection's own task; a peer that
//! does not read until the bound is reached loses its connection and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::sync::{Notify, mpsc};

/// What a queued message costs while it waits, in bytes; an estimate is enough for the bound.
pub trait Weight {
    fn weight(&self) -> usize;
}

/// The core's end.
pub struct Outbox<M> {
    queue: mpsc::UnboundedSender<Vec<M>>,
    shared: Arc<Shared>,
}

/// The connection's end.
pub struct Inbox<M> {
    queue: mpsc::UnboundedReceiver<Vec<M>>,
    shared: Arc<Shared>,
}

/// Ends a connection from outside, for instance when its peer does not read.
#[derive(Clone)]
pub struct Hangup(Arc<Shared>);

struct Shared {
    held_bytes: AtomicUsize,
    limit_bytes: usize,
    hung_up: AtomicBool,
    bell: Notify,
}

/// A connected pair; more than `limit_bytes` waiting hangs up.
pub fn channel<M: Weight>(limit_bytes: usize) -> (Outbox<M>, Inbox<M>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let shared = Arc::new(Shared {
        held_bytes: AtomicUsize::new(0),
        limit_bytes,
        hung_up: AtomicBool::new(false),
        bell: Notify::new(),
    });
    let inbox = Inbox {
        queue: receiver,
        shared: Arc::clone(&shared),
    };
    (
        Outbox {
            queue: sender,
            shared,
        },
        inbox,
    )
}

impl<M: Weight> Outbox<M> {
    /// Queues a batch. A peer beyond its bound is hung up on and gets nothing more.
    pub fn send(&self, batch: Vec<M>) {
        let weight: usize = batch.iter().map(Weight::weight).sum();
        let held = self.shared.held_bytes.fetch_add(weight, Ordering::Relaxed) + weight;
        if held > self.shared.limit_bytes {
            self.hangup().ring();
        }
        if !self.shared.hung_up.load(Ordering::Relaxed) {
            // A closed queue means that the connection is gone; its own task reports that.
            let _gone = self.queue.send(batch);
        }
    }

    pub fn hangup(&self) -> Hangup {
        Hangup(Arc::clone(&self.shared))
    }
}

impl<M: Weight> Inbox<M> {
    /// Everything queued so far, at least one message; `None` once the core has let go of its end.
    ///
    /// Cancel safe: what was not returned stays queued.
    pub async fn recv(&mut self) -> Option<Vec<M>> {
        let mut batch = self.queue.recv().await?;
        while let Ok(more) = self.queue.try_recv() {
            batch.extend(more);
        }
        Some(batch)
    }

    /// Says that a batch of this weight has been written and is held no longer.
    pub fn written(&self, weight: usize) {
        self.shared.held_bytes.fetch_sub(weight, Ordering::Relaxed);
    }

    pub fn hangup(&self) -> Hangup {
        Hangup(Arc::clone(&self.shared))
    }
}

impl Hangup {
    pub fn ring(&self) {
        self.0.hung_up.store(true, Ordering::Relaxed);
        self.0.bell.notify_waiters();
        self.0.bell.notify_one();
    }

    /// Returns when somebody has hung up.
    pub async fn rung(&self) {
        while !self.0.hung_up.load(Ordering::Relaxed) {
            self.0.bell.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Message(usize);

    impl Weight for Message {
        fn weight(&self) -> usize {
            self.0
        }
    }

    #[tokio::test]
    async fn batches_queued_while_the_peer_is_busy_arrive_as_one() {
        let (outbox, mut inbox) = channel::<Message>(100);
        outbox.send(vec![Message(1), Message(2)]);
        outbox.send(vec![Message(3)]);
        let batch = inbox.recv().await.unwrap();
        assert_eq!(batch.iter().map(|m| m.0).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_is_hung_up_on_at_its_bound() {
        let (outbox, inbox) = channel::<Message>(100);
        outbox.send(vec![Message(60)]);
        inbox.written(60);
        outbox.send(vec![Message(60)]);
        assert!(!outbox.shared.hung_up.load(Ordering::Relaxed));
        outbox.send(vec![Message(60)]);
        inbox.hangup().rung().await;
    }
}
