//! Which helper gets which request. Decides only; `link` performs.
//!
//! Invariants: the requests of one client are answered in the order they came, so they share a helper while any is
//! unanswered; a helper holds requests of several clients only when it must; a helper starts when a request finds no
//! idle one. When a helper dies, the request it was working on fails and the others go back to the front of the queue.

use super::job::{Answer, Job};
use std::collections::VecDeque;
use std::sync::Arc;

/// Requests of one client that may be on their way to the same helper.
const PIPELINED: usize = 16;

/// Helpers that may die with a request that they have not begun with, before it is its fault all the same.
const UNREAD_LOSSES: u8 = 2;

/// A helper's place in the pool.
#[derive(Default)]
pub struct Slot {
    pub state: SlotState,
    /// Sent and unanswered, in order; the helper works on the first.
    pub running: VecDeque<Job>,
    /// The helper has begun with the first of them.
    pub is_first_taken: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SlotState {
    /// No process.
    #[default]
    Absent,
    /// A process that has not said hello.
    Starting,
    Ready,
    /// The process could not be started; not tried again for a moment.
    Failed,
}

#[derive(Default)]
pub struct Pool {
    pub slots: Vec<Slot>,
    pub waiting: VecDeque<Job>,
}

/// What to do with a slot.
pub enum Step {
    Start(usize),
    /// Send the last of this slot's running jobs.
    Send(usize),
}

impl Pool {
    pub fn new(size: usize) -> Self {
        Self {
            slots: (0..size.max(1)).map(|_| Slot::default()).collect(),
            waiting: VecDeque::new(),
        }
    }

    /// The next step towards an empty queue, or `None` when there is nothing to do now. Call until `None`.
    pub fn next_step(&mut self) -> Option<Step> {
        let mut skipped: Vec<Arc<str>> = Vec::new();
        let mut stuck = 0;
        for index in 0..self.waiting.len() {
            let client = self.waiting[index].client.clone();
            if client
                .as_ref()
                .is_some_and(|client| skipped.contains(client))
            {
                continue;
            }
            match self.place_for(client.as_ref()) {
                Some(slot) => {
                    let job = self
                        .waiting
                        .remove(index)
                        .expect("the index is of this queue");
                    self.slots[slot].running.push_back(job);
                    return Some(Step::Send(slot));
                }
                None => {
                    stuck += usize::from(!self.is_bound(client.as_ref()));
                    skipped.extend(client);
                }
            }
        }
        // Each helper that is starting will take one; more are started only for more requests.
        let starting = self.count(SlotState::Starting);
        let absent = self
            .slots
            .iter()
            .position(|slot| slot.state == SlotState::Absent)?;
        (stuck > starting).then(|| {
            self.slots[absent].state = SlotState::Starting;
            Step::Start(absent)
        })
    }

    /// The helper that may take a request of this client now.
    fn place_for(&self, client: Option<&Arc<str>>) -> Option<usize> {
        if let Some(slot) = self.helper_of(client) {
            return (self.slots[slot].running.len() < PIPELINED).then_some(slot);
        }
        self.slots
            .iter()
            .position(|slot| slot.state == SlotState::Ready && slot.running.is_empty())
    }

    fn helper_of(&self, client: Option<&Arc<str>>) -> Option<usize> {
        let client = client?;
        self.slots.iter().position(|slot| {
            slot.running
                .iter()
                .any(|job| job.client.as_ref() == Some(client))
        })
    }

    /// Whether the client's requests wait for one helper only, so that another one would not help.
    fn is_bound(&self, client: Option<&Arc<str>>) -> bool {
        self.helper_of(client).is_some()
    }

    pub fn count(&self, state: SlotState) -> usize {
        self.slots.iter().filter(|slot| slot.state == state).count()
    }

    /// The first request of `slot` has been answered.
    pub fn answered(&mut self, slot: usize) -> Option<Job> {
        self.slots[slot].is_first_taken = false;
        self.slots[slot].running.pop_front()
    }

    /// The helper of `slot` is gone. Returns the request it was working on; the others wait again, first in line.
    pub fn lost(&mut self, slot: usize, state: SlotState) -> Option<Job> {
        let slot = &mut self.slots[slot];
        slot.state = state;
        if let Some(first) = slot.running.front_mut() {
            first.lost_unread += 1;
        }
        let is_guilty = |first: &Job| slot.is_first_taken || first.lost_unread > UNREAD_LOSSES;
        let guilty = if slot.running.front().is_some_and(is_guilty) {
            slot.running.pop_front()
        } else {
            None
        };
        slot.is_first_taken = false;
        while let Some(job) = slot.running.pop_back() {
            // What every helper is told is told to the next one anyway.
            if !matches!(job.answer, Answer::Nobody) {
                self.waiting.push_front(job);
            }
        }
        guilty
    }

    /// Drops waiting requests that nobody wants any more.
    pub fn forget_abandoned(&mut self) {
        self.waiting.retain(|job| !job.is_abandoned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::channel::Kind;
    use bytes::Bytes;
    use tokio::sync::oneshot;

    /// A pool with this many helpers that are ready, and these clients' requests.
    fn pool(ready: usize, absent: usize, clients: &[&str]) -> Pool {
        let mut pool = Pool::new(ready + absent);
        pool.slots[..ready]
            .iter_mut()
            .for_each(|slot| slot.state = SlotState::Ready);
        pool.waiting = clients.iter().map(|client| job(client)).collect();
        pool
    }

    fn job(client: &str) -> Job {
        let (sender, receiver) = oneshot::channel();
        std::mem::forget(receiver); // somebody waits
        Job {
            kind: Kind::Materialize,
            header: Bytes::new(),
            blobs: Vec::new(),
            client: Some(Arc::from(client)),
            answer: Answer::Frames(sender),
            lost_unread: 0,
        }
    }

    /// Takes all steps; returns which slots were started.
    fn settle(pool: &mut Pool) -> Vec<usize> {
        let mut started = Vec::new();
        while let Some(step) = pool.next_step() {
            if let Step::Start(slot) = step {
                started.push(slot);
            }
        }
        started
    }

    fn clients_of(pool: &Pool, slot: usize) -> Vec<&str> {
        pool.slots[slot]
            .running
            .iter()
            .filter_map(|job| job.client.as_deref())
            .collect()
    }

    #[test]
    fn one_client_keeps_to_one_helper_and_another_one_gets_the_next() {
        let mut pool = pool(2, 0, &["a", "a", "b", "a"]);
        settle(&mut pool);
        assert_eq!(clients_of(&pool, 0), ["a", "a", "a"]);
        assert_eq!(clients_of(&pool, 1), ["b"]);
    }

    #[test]
    fn a_second_helper_starts_only_for_a_client_that_would_wait() {
        assert!(settle(&mut pool(1, 1, &["a", "a"])).is_empty());
        assert_eq!(settle(&mut pool(1, 1, &["a", "b"])), [1]);
        assert_eq!(settle(&mut pool(0, 2, &["a", "a"])), [0]);
    }

    #[test]
    fn a_third_client_waits_for_an_idle_helper_and_is_not_stuck_behind_a_long_graph() {
        let mut pool = pool(2, 0, &["a", "b", "c"]);
        settle(&mut pool);
        assert_eq!(pool.waiting.len(), 1);
        pool.answered(1);
        settle(&mut pool);
        assert_eq!(clients_of(&pool, 1), ["c"]);
    }

    #[test]
    fn only_the_request_in_work_is_lost_with_its_helper() {
        let mut pool = pool(1, 0, &["a", "a"]);
        settle(&mut pool);
        pool.slots[0].is_first_taken = true;
        assert!(pool.lost(0, SlotState::Absent).is_some());
        assert_eq!(pool.waiting.len(), 1);
        assert!(pool.lost(0, SlotState::Absent).is_none());
    }

    #[test]
    fn a_request_that_no_helper_survives_to_begin_with_fails_in_the_end() {
        let mut pool = pool(1, 0, &["a"]);
        for _ in 0..UNREAD_LOSSES {
            settle(&mut pool);
            assert!(pool.lost(0, SlotState::Ready).is_none());
            assert_eq!(pool.waiting.len(), 1);
        }
        settle(&mut pool);
        assert!(pool.lost(0, SlotState::Ready).is_some());
        assert!(pool.waiting.is_empty());
    }
}
