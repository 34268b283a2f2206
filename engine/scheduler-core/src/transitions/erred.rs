//! Into and out of erred.

use crate::client::FIRE_AND_FORGET;
use crate::effects::{Effects, ToClient};
use crate::ids::WorkerId;
use crate::scheduler::Scheduler;
use crate::task::{Blame, Phase, State, TaskId};
use std::sync::Arc;

/// Why a task itself has failed.
pub(crate) struct Fault {
    /// Where it ran.
    pub worker: Option<WorkerId>,
    pub blame: Arc<Blame>,
}

impl Scheduler {
    /// The task itself has failed. It must be processing, queued or without a worker.
    pub(crate) fn fail(&mut self, task: TaskId, fault: Fault, fx: &mut Effects) {
        let start = self.tasks[task].phase();
        self.counters.transitions += 1;
        let mark = self.recommendations.journal.len();
        self.leave_for_erred(task);
        self.propagate_erred(task, Some(fault), fx);
        self.record(task, start, mark);
    }

    /// Common to all ways to fail. Without a fault the blame has been set before.
    pub(super) fn propagate_erred(&mut self, task: TaskId, fault: Option<Fault>, fx: &mut Effects) {
        self.set_state(task, State::Erred);
        let rare = self.tasks[task].rare_mut();
        if let Some(fault) = fault {
            rare.erred_on.extend(fault.worker);
            rare.blame = Some(fault.blame);
        }
        let Some(blame) = rare.blame.clone() else {
            return;
        };
        for dependent in self.dependents_of(task) {
            if self.tasks[dependent].has(crate::task::Flags::WAITS) {
                self.tasks[dependent].rare_mut().blame = Some(Arc::clone(&blame));
                self.recommend(dependent, Phase::Erred);
            }
        }
        self.stop_waiting(task);
        self.tell_wanters(task, fx, |core| ToClient::TaskErred {
            key: core.tasks[task].key.clone(),
            exception: blame.error.exception.clone(),
            traceback: blame.error.traceback.clone(),
        });
        self.release_fire_and_forget(task);
    }

    /// Whoever fired and forgot it needs it no longer.
    pub(crate) fn release_fire_and_forget(&mut self, task: TaskId) {
        if self.tasks[task].who_wants.contains(FIRE_AND_FORGET) {
            self.release_wish(FIRE_AND_FORGET, task);
        }
    }

    /// A retry.
    pub(super) fn erred_to_released(&mut self, task: TaskId, fx: &mut Effects) {
        let rare = self.tasks[task].rare_mut();
        rare.blame = None;
        let erred_on = std::mem::take(&mut rare.erred_on);
        for dependent in self.dependents_of(task) {
            if self.tasks[dependent].phase() == Phase::Erred {
                self.recommend(dependent, Phase::Waiting);
            }
        }
        for worker in erred_on {
            self.free_key(worker, &self.tasks[task].key, fx);
        }
        self.tell_wanters(task, fx, |core| ToClient::TaskRetried {
            key: core.tasks[task].key.clone(),
        });
        self.set_state(task, State::Released);
    }
}
