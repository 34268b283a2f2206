//! Out of released: what every task is when it is new, lost or no longer needed.

use crate::effects::{Effects, ToClient};
use crate::scheduler::Scheduler;
use crate::task::{Flags, Phase, State, TaskId};
use std::sync::Arc;

impl Scheduler {
    /// Somebody needs it: its dependencies are needed too.
    pub(super) fn released_to_waiting(&mut self, task: TaskId) {
        if self.tasks[task].has(Flags::LOST_DEPENDENCIES) {
            self.recommend(task, Phase::Forgotten);
            return;
        }
        if self.tasks[task].is_unneeded() {
            // Whoever needed it when this was recommended has been forgotten since.
            self.stop_waiting(task);
            return;
        }
        if self.inherit_blame(task) {
            self.recommend(task, Phase::Erred);
            return;
        }
        // One that was taken off a worker a moment ago has never stopped to count as a waiter.
        let counted = self.tasks[task].has(Flags::WAITS);
        let dependencies = self.dependencies_of(task);
        let mut missing = 0;
        for dependency in &dependencies {
            let own = &mut self.tasks[*dependency];
            own.waiters += u32::from(!counted);
            if own.who_has.is_empty() {
                missing += 1;
            }
            if own.phase() == Phase::Released {
                self.recommend(*dependency, Phase::Waiting);
            }
        }
        self.tasks[task].flags.set(Flags::WAITS, true);
        self.set_state(task, State::Waiting { missing });
        if missing == 0 {
            self.recommend(task, Phase::Processing);
        }
    }

    /// Takes over the blame of a dependency that has failed.
    fn inherit_blame(&mut self, task: TaskId) -> bool {
        let failed = self.tasks[task]
            .dependencies
            .iter()
            .find(|dependency| self.tasks[*dependency].phase() == Phase::Erred);
        let blame = failed.and_then(|failed| self.tasks[failed].blame().map(Arc::clone));
        let Some(blame) = blame else { return false };
        self.tasks[task].rare_mut().blame = Some(blame);
        true
    }

    /// A dependency has failed.
    pub(super) fn released_to_erred(&mut self, task: TaskId, fx: &mut Effects) {
        let Some(blame) = self.tasks[task].blame().map(Arc::clone) else {
            return;
        };
        self.stop_waiting(task);
        for dependent in self.dependents_of(task) {
            let own = &mut self.tasks[dependent];
            if own.who_has.is_empty() {
                own.rare_mut().blame = Some(Arc::clone(&blame));
                self.recommend(dependent, Phase::Erred);
            }
        }
        self.tell_wanters(task, fx, |core| ToClient::TaskErred {
            key: core.tasks[task].key.clone(),
            exception: blame.error.exception.clone(),
            traceback: blame.error.traceback.clone(),
        });
        self.set_state(task, State::Erred);
        self.release_fire_and_forget(task);
    }
}
