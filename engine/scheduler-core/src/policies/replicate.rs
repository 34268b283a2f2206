//! Plans for moving data by requests to workers: where to gather from, whom to give copies, what to drop.
//!
//! The shell makes the requests; what they achieved comes back as replicas gained and lost.

use crate::effects::Effects;
use crate::ids::{Time, WorkerId};
use crate::scheduler::Scheduler;
use crate::task::{Phase, TaskId};
use protocol::Key;
use rand_pcg::rand_core::Rng;
use smallvec::SmallVec;
use std::sync::Arc;

/// One round of copying: each worker fetches these keys from those holders.
pub type GatherPlan = Vec<(WorkerId, Vec<(Key, SmallVec<[Arc<str>; 1]>)>)>;

impl Scheduler {
    /// A worker to gather each key from, chosen by chance among its holders outside `avoid`. Keys nobody holds are
    /// missing from the answer.
    pub fn choose_holders(&mut self, keys: &[Key], avoid: &[WorkerId]) -> Vec<(Key, WorkerId)> {
        let mut chosen = Vec::with_capacity(keys.len());
        for key in keys {
            let Some(task) = self.tasks.find(key) else {
                continue;
            };
            let holders: SmallVec<[WorkerId; 4]> = self.tasks[task]
                .who_has
                .iter()
                .filter(|holder| !avoid.contains(holder))
                .collect();
            if let Some(holder) = self.pick(&holders) {
                chosen.push((key.clone(), holder));
            }
        }
        chosen
    }

    /// One of several, by chance.
    pub(crate) fn pick(&mut self, from: &[WorkerId]) -> Option<WorkerId> {
        match from {
            [] => None,
            [only] => Some(*only),
            several => {
                let at = self.chance.next_u32() as usize % several.len();
                Some(several[at])
            }
        }
    }

    /// Keys of which workers could free copies, to be left with `copies` among `workers`.
    pub fn plan_surplus(
        &mut self,
        keys: &[Key],
        copies: usize,
        workers: &[WorkerId],
    ) -> Vec<(WorkerId, Vec<Key>)> {
        let mut plan: Vec<(WorkerId, Vec<Key>)> = Vec::new();
        for key in keys {
            let Some(task) = self.tasks.find(key) else {
                continue;
            };
            let mut holders = self.holders_among(task, workers);
            while holders.len() > copies {
                let Some(worker) = self.pick(&holders) else {
                    break;
                };
                holders.retain(|holder| *holder != worker);
                add_to_plan(&mut plan, worker, key.clone());
            }
        }
        plan
    }

    fn holders_among(&self, task: TaskId, workers: &[WorkerId]) -> Vec<WorkerId> {
        self.tasks[task]
            .who_has
            .iter()
            .filter(|holder| workers.contains(holder))
            .collect()
    }

    /// The next round of making `copies` of each key among `workers`, each holder serving at most `branching` others.
    /// Empty when there is nothing left to do.
    pub fn plan_copies(
        &mut self,
        keys: &[Key],
        copies: usize,
        workers: &[WorkerId],
        branching: usize,
    ) -> GatherPlan {
        let mut plan = GatherPlan::new();
        for key in keys {
            let Some(task) = self.tasks.find(key) else {
                continue;
            };
            let own = &self.tasks[task];
            if own.phase() != Phase::Memory {
                continue;
            }
            let all_holders = own.who_has.len();
            let wanted = copies.saturating_sub(self.holders_among(task, workers).len());
            let mut others: Vec<WorkerId> = workers
                .iter()
                .copied()
                .filter(|worker| !own.who_has.contains(*worker))
                .collect();
            let addresses = self.addresses(self.tasks[task].who_has.iter());
            for _ in 0..wanted.min(branching * all_holders) {
                let Some(worker) = self.pick(&others) else {
                    break;
                };
                others.retain(|other| *other != worker);
                let entry = (key.clone(), addresses.clone());
                match plan.iter_mut().find(|(own, _)| *own == worker) {
                    Some((_, entries)) => entries.push(entry),
                    None => plan.push((worker, vec![entry])),
                }
            }
        }
        plan
    }

    /// A worker has gathered these keys.
    pub fn replicas_gained(&mut self, worker: WorkerId, keys: &[Key], now: Time, fx: &mut Effects) {
        self.begin_named(now, "gather-on-worker");
        if self.workers.is_registered(worker) {
            self.add_keys(worker, keys, fx);
        }
        self.end();
    }

    /// A worker has been told to free these keys.
    pub fn replicas_dropped(
        &mut self,
        worker: WorkerId,
        keys: &[Key],
        now: Time,
        fx: &mut Effects,
    ) {
        self.begin_named(now, "delete-worker-data");
        for key in keys {
            let Some(task) = self.tasks.find(key) else {
                continue;
            };
            if !self.tasks[task].who_has.contains(worker) {
                continue;
            }
            self.remove_replica(task, worker);
            if self.tasks[task].who_has.is_empty() {
                let target = if self.tasks[task].run_spec.is_some() {
                    Phase::Released
                } else {
                    Phase::Forgotten
                };
                self.recommend(task, target);
            }
        }
        self.settle(fx);
        self.fill_slots(fx);
        self.end();
    }
}

fn add_to_plan(plan: &mut Vec<(WorkerId, Vec<Key>)>, worker: WorkerId, key: Key) {
    match plan.iter_mut().find(|(own, _)| *own == worker) {
        Some((_, keys)) => keys.push(key),
        None => plan.push((worker, vec![key])),
    }
}
