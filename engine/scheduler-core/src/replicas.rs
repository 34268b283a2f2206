//! Who holds what: the books of replicas and sizes, and short ways through the graph.
//!
//! Invariant: a waiting task's `missing` is the number of its dependencies without a replica, at every moment.

use crate::ids::WorkerId;
use crate::scheduler::Scheduler;
use crate::task::{State, TaskId, UNKNOWN_SIZE};
use smallvec::SmallVec;
use std::sync::Arc;

/// No result is larger, whatever a worker says; sums of these do not overflow.
const LARGEST: u64 = 1 << 44;

pub(crate) type TaskList = SmallVec<[TaskId; 8]>;

impl Scheduler {
    pub(crate) fn dependencies_of(&self, task: TaskId) -> TaskList {
        self.tasks[task].dependencies.iter().collect()
    }

    pub(crate) fn dependents_of(&self, task: TaskId) -> TaskList {
        self.tasks[task].dependents.iter().collect()
    }

    /// Books a replica; returns the tasks that waited for nothing else.
    pub(crate) fn add_replica(&mut self, task: TaskId, worker: WorkerId) -> TaskList {
        let was_lost = self.tasks[task].who_has.is_empty();
        if !self.tasks[task].who_has.insert(worker) {
            return TaskList::new();
        }
        let nbytes = self.size_of(task);
        let own = self.workers.at_mut(worker);
        own.nbytes += nbytes;
        own.has_what.insert(task);
        if own.needs_what.remove(task) {
            self.unbook_transfer(worker, nbytes);
        }
        if was_lost {
            self.count_found(task)
        } else {
            TaskList::new()
        }
    }

    /// The first replica is there.
    fn count_found(&mut self, task: TaskId) -> TaskList {
        let mut ready = TaskList::new();
        for dependent in self.dependents_of(task) {
            if let State::Waiting { missing } = &mut self.tasks[dependent].state {
                *missing -= 1;
                if *missing == 0 {
                    ready.push(dependent);
                }
            }
        }
        ready
    }

    /// The worker has so much less to fetch. Sizes may have changed meanwhile: what is left over goes with the last.
    pub(crate) fn unbook_transfer(&mut self, worker: WorkerId, nbytes: u64) {
        let own = self.workers.at_mut(worker);
        let off = if own.needs_what.len() == 0 {
            own.network_nbytes
        } else {
            nbytes.min(own.network_nbytes)
        };
        own.network_nbytes -= off;
        self.network_nbytes = self.network_nbytes.saturating_sub(off);
    }

    /// Takes a replica off the books.
    pub(crate) fn remove_replica(&mut self, task: TaskId, worker: WorkerId) {
        if !self.tasks[task].who_has.remove(worker) {
            return;
        }
        let nbytes = self.size_of(task);
        let own = self.workers.at_mut(worker);
        own.nbytes = own.nbytes.saturating_sub(nbytes);
        own.has_what.remove(task);
        if self.tasks[task].who_has.is_empty() {
            self.count_lost(task);
        }
    }

    /// The last replica is gone.
    fn count_lost(&mut self, task: TaskId) {
        for dependent in self.dependents_of(task) {
            if let State::Waiting { missing } = &mut self.tasks[dependent].state {
                *missing += 1;
            }
        }
    }

    /// A result has this size; `None` is unknown.
    pub(crate) fn set_nbytes(&mut self, task: TaskId, nbytes: Option<u64>) {
        let Some(nbytes) = nbytes.map(|nbytes| nbytes.min(LARGEST)) else {
            return;
        };
        let old = self.tasks[task].nbytes;
        if old == nbytes {
            return;
        }
        let counted = self.size_of(task);
        let total_change = nbytes as i64 - if old == UNKNOWN_SIZE { 0 } else { old as i64 };
        self.groups
            .count_nbytes(self.tasks[task].group, total_change);
        self.tasks[task].nbytes = nbytes;
        let holders: SmallVec<[WorkerId; 4]> = self.tasks[task].who_has.iter().collect();
        for holder in holders {
            let own = self.workers.at_mut(holder);
            own.nbytes = (own.nbytes + nbytes).saturating_sub(counted);
        }
    }

    pub(crate) fn addresses(
        &self,
        workers: impl Iterator<Item = WorkerId>,
    ) -> SmallVec<[Arc<str>; 1]> {
        workers
            .filter_map(|worker| Some(Arc::clone(&self.workers.get(worker)?.address)))
            .collect()
    }
}
