//! Data that did not come out of a task: scattered by a client.

use crate::effects::{Effects, ToClient};
use crate::ids::{ClientId, Time, WorkerId};
use crate::replicas::TaskList;
use crate::scheduler::Scheduler;
use crate::task::{Flags, Phase, State, TaskId};
use protocol::{Key, Text, Value};
use smallvec::SmallVec;
use std::sync::Arc;

impl Scheduler {
    /// Workers have been given these values. `client`, if any, wants them kept.
    ///
    /// Workers that have left meanwhile are left out; a key without any holder is reported as lost.
    pub fn update_data(
        &mut self,
        who_has: &[(Key, Vec<Text>)],
        nbytes: &[(Key, u64)],
        client: Option<ClientId>,
        now: Time,
        fx: &mut Effects,
    ) {
        self.begin_named(now, "update-data");
        for (at, (key, addresses)) in who_has.iter().enumerate() {
            let holders: SmallVec<[WorkerId; 4]> = addresses
                .iter()
                .filter_map(|address| self.worker_named(&Value::Str(address.clone())))
                .collect();
            let size = match nbytes.get(at) {
                Some((own, size)) if own == key => Some(*size),
                _ => nbytes
                    .iter()
                    .find(|(own, _)| own == key)
                    .map(|(_, size)| *size),
            };
            self.scattered(key, &holders, size, client, fx);
        }
        self.settle(fx);
        self.fill_slots(fx);
        self.end();
    }

    /// How many scattered values have been dropped so far, for [`Self::dropped_since`]; `None` while one of these workers
    /// has yet to say that it has dropped a value of one of these names. New ones must wait for that.
    pub fn may_take(&self, workers: &[WorkerId], keys: &[Key], now: Time) -> Option<u64> {
        let waits = |worker: &WorkerId| {
            let freeing = self.workers.get(*worker).map(|own| &own.freeing);
            freeing.is_some_and(|freeing| keys.iter().any(|key| freeing.waits_for(key, now)))
        };
        (!workers.iter().any(waits)).then_some(self.scattered_freed)
    }

    /// Whether one of these workers was told to drop scattered values since then: it may have dropped what it was given
    /// meanwhile.
    pub fn dropped_since(&self, scattered_freed: u64, workers: &[Arc<str>]) -> bool {
        let dropped = |address: &Arc<str>| {
            let worker = self
                .workers
                .find(address)
                .and_then(|id| self.workers.get(id));
            worker.is_some_and(|own| own.freeing.ordered_since(scattered_freed))
        };
        self.scattered_freed > scattered_freed && workers.iter().any(dropped)
    }

    /// A holder of a value that is, or may be, scattered is being told to drop it.
    pub(crate) fn note_freeing(&mut self, key: Key, holder: WorkerId) {
        if !self.workers.is_registered(holder) {
            return;
        }
        self.scattered_freed += 1;
        let (number, now) = (self.scattered_freed, self.now);
        let stimulus = self.stimulus.clone();
        let own = self.workers.at_mut(holder);
        own.freeing.ordered(key, stimulus, number, now);
    }

    fn scattered(
        &mut self,
        key: &Key,
        holders: &[WorkerId],
        nbytes: Option<u64>,
        client: Option<ClientId>,
        fx: &mut Effects,
    ) {
        let known = self.tasks.find(key);
        if holders.is_empty() {
            self.scattered_nowhere(key, known, client, fx);
            return;
        }
        let task = known.unwrap_or_else(|| self.add_task(key.clone()));
        self.leave_for_memory(task, fx);
        self.tasks[task].scattered = true;
        self.set_nbytes(task, nbytes);
        let mut ready = TaskList::new();
        for holder in holders {
            ready.extend(self.add_replica(task, *holder));
        }
        if self.tasks[task].phase() != Phase::Memory {
            self.set_state(task, State::Memory);
            self.tasks[task].flags.set(Flags::ACTOR, false);
        }
        self.recommend_ready(ready);
        let workers: Arc<[Arc<str>]> = self
            .addresses(holders.iter().copied())
            .into_iter()
            .collect();
        if let Some(client) = client {
            self.add_wish(client, task);
        }
        self.tell_wanters(task, fx, |core| ToClient::KeyInMemory {
            key: core.tasks[task].key.clone(),
            type_pickle: None,
            workers: Some(Arc::clone(&workers)),
        });
        self.release_fire_and_forget(task);
        if self.tasks[task].is_unneeded() {
            self.recommend(task, Phase::Released);
        }
    }

    /// The workers that were given the value are gone already.
    fn scattered_nowhere(
        &mut self,
        key: &Key,
        known: Option<TaskId>,
        client: Option<ClientId>,
        fx: &mut Effects,
    ) {
        let Some(client) = client else { return };
        match known {
            Some(task) => {
                self.add_wish(client, task);
                self.report_state(client, task, fx);
                if self.tasks[task].phase() == Phase::Released {
                    self.recommend(task, Phase::Waiting);
                }
            }
            None => self.tell_client(client, fx, ToClient::LostData { key: key.clone() }),
        }
    }

    /// A task that was on its way to be computed has got its value from outside.
    fn leave_for_memory(&mut self, task: TaskId, fx: &mut Effects) {
        match self.tasks[task].phase() {
            Phase::Released | Phase::Memory | Phase::Forgotten => {}
            Phase::Waiting | Phase::NoWorker | Phase::Queued | Phase::Processing | Phase::Erred => {
                self.give_up_run(task, fx);
            }
        }
    }
}
