//! Which jobs are to be looked at, and when: each at most once at a time, in the order they came, or after a delay.
//!
//! Knows only their uids. Invariants: a job that is asked for while somebody looks at it is looked at once more; nothing
//! that was asked for is forgotten.

use crate::clock;
use crate::store::Uid;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

#[derive(Debug, Default)]
pub struct Queue {
    inner: Mutex<Inner>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    ready: VecDeque<Uid>,
    delayed: BTreeSet<(Instant, Uid)>,
    jobs: HashMap<Uid, Slot>,
    closed: bool,
}

/// Where a job is; one that is nowhere has no slot.
#[derive(Debug, Default, Clone, Copy)]
struct Slot {
    is_ready: bool,
    is_running: bool,
    asked_meanwhile: bool,
    due: Option<Instant>,
}

impl Queue {
    /// Look at it as soon as those before it are through.
    pub fn add(&self, job: &Uid) {
        self.lock().add(job);
        self.wake.notify_one();
    }

    /// Look at it then, unless it is looked at before.
    pub fn add_after(&self, job: &Uid, delay: Duration) {
        self.lock().delay(job, clock::instant() + delay);
        self.wake.notify_one();
    }

    /// The next job; `None` once the queue is closed. Whoever gets one calls [`Queue::done`] with it.
    pub async fn next(&self) -> Option<Uid> {
        loop {
            let due = {
                let mut inner = self.lock();
                if inner.closed {
                    return None;
                }
                inner.release(clock::instant());
                if let Some(job) = inner.take() {
                    if !inner.ready.is_empty() {
                        self.wake.notify_one();
                    }
                    return Some(job);
                }
                inner.delayed.first().map(|(due, _)| *due)
            };
            match due {
                Some(due) => {
                    tokio::select! {
                        () = self.wake.notified() => {}
                        () = tokio::time::sleep_until(due) => {}
                    }
                }
                None => self.wake.notified().await,
            }
        }
    }

    /// It was looked at; perhaps it is to be looked at again.
    pub fn done(&self, job: &Uid, again_after: Option<Duration>) {
        let mut inner = self.lock();
        let Some(slot) = inner.jobs.get_mut(job) else {
            return;
        };
        slot.is_running = false;
        if std::mem::take(&mut slot.asked_meanwhile) {
            inner.add(job);
        } else if let Some(delay) = again_after {
            inner.delay(job, clock::instant() + delay);
        } else if slot.due.is_none() {
            inner.jobs.remove(job);
        }
        drop(inner);
        self.wake.notify_one();
    }

    /// Jobs that wait for somebody to look at them now.
    pub fn depth(&self) -> usize {
        self.lock().ready.len()
    }

    /// Nothing is handed out any more.
    pub fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_waiters();
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn add(&mut self, job: &Uid) {
        let slot = self.jobs.entry(job.clone()).or_default();
        if slot.is_running {
            slot.asked_meanwhile = true;
            return;
        }
        if let Some(due) = slot.due.take() {
            self.delayed.remove(&(due, job.clone()));
        }
        if !std::mem::replace(&mut slot.is_ready, true) {
            self.ready.push_back(job.clone());
        }
    }

    fn delay(&mut self, job: &Uid, due: Instant) {
        let slot = self.jobs.entry(job.clone()).or_default();
        if slot.is_ready || slot.due.is_some_and(|known| known <= due) {
            return;
        }
        if let Some(later) = slot.due.replace(due) {
            self.delayed.remove(&(later, job.clone()));
        }
        self.delayed.insert((due, job.clone()));
    }

    fn release(&mut self, now: Instant) {
        while self.delayed.first().is_some_and(|(due, _)| *due <= now) {
            if let Some((_, job)) = self.delayed.pop_first() {
                if let Some(slot) = self.jobs.get_mut(&job) {
                    slot.due = None;
                }
                self.add(&job);
            }
        }
    }

    fn take(&mut self) -> Option<Uid> {
        let job = self.ready.pop_front()?;
        let slot = self.jobs.entry(job.clone()).or_default();
        slot.is_ready = false;
        slot.is_running = true;
        Some(job)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(name: &str) -> Uid {
        Uid::from(name)
    }

    #[tokio::test(start_paused = true)]
    async fn jobs_come_in_the_order_they_were_asked_for_and_once() {
        let queue = Queue::default();
        for name in ["a", "b", "a"] {
            queue.add(&uid(name));
        }
        assert_eq!(queue.depth(), 2);
        assert_eq!(queue.next().await, Some(uid("a")));
        assert_eq!(queue.next().await, Some(uid("b")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_job_is_not_handed_out_twice_at_a_time_and_what_came_meanwhile_is_kept() {
        let queue = Queue::default();
        queue.add(&uid("a"));
        assert_eq!(queue.next().await, Some(uid("a")));
        queue.add(&uid("a"));
        assert_eq!(queue.depth(), 0);
        queue.done(&uid("a"), Some(Duration::from_secs(60)));
        assert_eq!(queue.next().await, Some(uid("a")));
        queue.done(&uid("a"), None);
        assert!(queue.lock().jobs.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_delay_passes_unless_the_job_is_asked_for_before() {
        let queue = Queue::default();
        let start = clock::instant();
        queue.add_after(&uid("a"), Duration::from_secs(9));
        queue.add_after(&uid("b"), Duration::from_secs(5));
        queue.add_after(&uid("b"), Duration::from_secs(7));
        assert_eq!(queue.next().await, Some(uid("b")));
        assert_eq!(start.elapsed(), Duration::from_secs(5));
        queue.add(&uid("a"));
        assert_eq!(queue.next().await, Some(uid("a")));
        assert!(queue.lock().delayed.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_queue_hands_out_nothing() {
        let queue = Queue::default();
        queue.add(&uid("a"));
        queue.close();
        assert_eq!(queue.next().await, None);
    }
}
