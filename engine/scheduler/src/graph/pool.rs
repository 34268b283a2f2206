//! Which helper gets which request. Decides only; `link` performs.
//!
//! Invariants: the requests of one client are answered in the order they came, so they share a helper while any is
//! unanswered; a helper holds requests of several clients only when it must; a helper starts when a request finds no
//! idle one. When a helper dies, the request it was working on fails and the others go back to the front of the queue.

use super::job::Job;
use std::collections::VecDeque;
use std::sync::Arc;

/// Requests of one client that may be on their way to the same helper.
const PIPELINED: usize = 16;

/// A helper's place in the pool.
#[derive(Default)]
pub struct Slot {
    pub state: SlotState,
    /// Sent and unanswered, in order; the helper works on the first.
    pub running: VecDeque<Job>,
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

    /// The helper of `slot` is gone. Returns the request it was working on; the others wait again, first in line.
    pub fn lost(&mut self, slot: usize, state: SlotState) -> Option<Job> {
        let slot = &mut self.slots[slot];
        slot.state = state;
        let guilty = slot.running.pop_front();
        while let Some(job) = slot.running.pop_back() {
            self.waiting.push_front(job);
        }
        guilty
    }

    /// Drops waiting requests that nobody wants any more.
    pub fn forget_abandoned(&mut self) {
        self.waiting.retain(|job| !job.is_abandoned());
    }
}
