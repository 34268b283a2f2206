//! Orders that come from nowhere: tasks asked back, replicas unwanted or wanted elsewhere. A scheduler with work stealing
//! and memory management sends these at any time.

use super::{Event, World, stream_down};
use crate::member::Member;
use protocol::messages::{FromWorker, KeyEvent, StealResponse};
use protocol::{Key, Text};

/// What requests to steal from nowhere are called.
pub(crate) const UNASKED: &str = "unasked";

/// About one key.
pub(super) enum Unasked {
    Steal(Key),
    DropReplica(Key),
    Acquire(Key),
}

impl World {
    pub(super) fn order_unasked(&mut self) {
        let slot = self.chance.below(self.slots.len());
        let life = self.slots[slot].life;
        for _ in 0..=self.chance.below(4) {
            let Some(key) = self.chance.pick(&self.known).cloned() else {
                return;
            };
            let order = match self.chance.below(4) {
                0 | 1 => Unasked::Steal(key),
                2 if self.forgets_replica(slot, &key) => Unasked::DropReplica(key),
                _ => Unasked::Acquire(key),
            };
            self.stream(stream_down(slot, life), Event::Unasked(slot, life, order));
        }
    }

    /// What the memory manager does before it orders a replica dropped: it takes it off the books. Never the last one.
    fn forgets_replica(&mut self, slot: usize, key: &Key) -> bool {
        let holders = self.core.holders(key);
        // Models do not listen to these.
        let Some(Member::Real(worker)) = &self.slots[slot].worker else {
            return false;
        };
        let id = worker.id;
        if holders.len() < 2 || !holders.contains(&id) {
            return false;
        }
        let forgotten = KeyEvent {
            key: key.clone(),
            stimulus_id: Text::from_static("memory-manager"),
        };
        let message = FromWorker::ReleaseWorkerData(forgotten);
        self.core
            .worker_message(id, message, self.timeline.now, &mut self.effects);
        true
    }

    pub(super) fn unasked_order(&mut self, slot: usize, life: u64, order: Unasked) {
        match order {
            Unasked::Steal(key) => self.with_worker(slot, life, |worker| worker.steal(key)),
            Unasked::DropReplica(key) => {
                self.with_worker(slot, life, |worker| worker.drop_replica(key));
            }
            Unasked::Acquire(key) => {
                let holders: Vec<_> = self
                    .core
                    .holders(&key)
                    .into_iter()
                    .filter_map(|id| self.slot_of(id))
                    .map(|slot| self.slots[slot].address.clone())
                    .collect();
                if !holders.is_empty() {
                    self.with_worker(slot, life, |worker| worker.acquire(key, &holders));
                }
            }
        }
    }
}

/// What a scheduler that had asked would make of an answer to a thief: a task that was given up is placed anew. Answers to
/// its own requests it gets as they are.
pub(super) fn after_steal(message: FromWorker) -> FromWorker {
    match message {
        FromWorker::StealResponse(answer)
            if answer.stimulus_id == UNASKED && is_given_up(&answer) =>
        {
            FromWorker::Reschedule(KeyEvent {
                key: answer.key,
                stimulus_id: answer.stimulus_id,
            })
        }
        other => other,
    }
}

fn is_given_up(answer: &StealResponse) -> bool {
    let free =
        |state: &Text| ["waiting", "ready", "constrained"].contains(&&*state.to_string_lossy());
    answer.state.as_ref().is_none_or(free)
}
