//! Into and out of memory.

use crate::effects::{Effects, ToClient};
use crate::error::TaskError;
use crate::ids::WorkerId;
use crate::pickles;
use crate::scheduler::{Scheduler, compare_priority};
use crate::task::{Blame, Flags, Phase, State, TaskId};
use crate::transitions::Fault;
use crate::transitions::processing::Finished;
use smallvec::SmallVec;
use std::sync::Arc;

const ACTOR_LOST: &str = "Worker holding Actor was lost";

impl Scheduler {
    pub(super) fn add_to_memory(
        &mut self,
        task: TaskId,
        worker: WorkerId,
        finished: &Finished<'_>,
        fx: &mut Effects,
    ) {
        let ready = self.add_replica(task, worker);
        self.recommend_ready(ready);
        self.stop_waiting(task);
        if self.tasks[task].is_unneeded() {
            self.recommend(task, Phase::Released);
        } else {
            self.tell_wanters(task, fx, |core| ToClient::KeyInMemory {
                key: core.tasks[task].key.clone(),
                type_pickle: finished.type_pickle.clone(),
                workers: None,
            });
        }
        self.set_state(task, State::Memory);
        let type_name = self.groups.type_named(finished.typename);
        self.groups.count_type(self.tasks[task].group, type_name);
        self.tasks[task].type_name = type_name;
        self.release_fire_and_forget(task);
    }

    /// Recommends to process tasks that have become ready, so that the most urgent is worked off first.
    pub(crate) fn recommend_ready(&mut self, mut ready: SmallVec<[TaskId; 8]>) {
        let tasks = &self.tasks;
        ready.sort_by(|left, right| {
            compare_priority(&tasks[*right].priority, &tasks[*left].priority)
        });
        for task in ready {
            self.recommend(task, Phase::Processing);
        }
    }

    /// The result is lost or not needed any more.
    pub(super) fn memory_to_released(&mut self, task: TaskId, fx: &mut Effects) {
        if self.tasks[task].is_actor() {
            self.forget_actor_places(task);
            if !self.tasks[task].who_wants.is_empty() {
                // An actor is not made again.
                self.recommend(task, Phase::Erred);
                return;
            }
        }
        self.remove_all_replicas(task, fx);
        self.set_state(task, State::Released);
        self.tell_wanters(task, fx, |core| ToClient::LostData {
            key: core.tasks[task].key.clone(),
        });
        let own = &self.tasks[task];
        if own.run_spec.is_none() || own.has(Flags::LOST_DEPENDENCIES) {
            self.recommend(task, Phase::Forgotten);
        } else if !own.is_unneeded() {
            self.recommend(task, Phase::Waiting);
        }
        for dependent in self.dependents_of(task) {
            let started = matches!(
                self.tasks[dependent].phase(),
                Phase::NoWorker | Phase::Processing | Phase::Queued
            );
            if started {
                self.recommend(dependent, Phase::Waiting);
            }
        }
    }

    /// Tells the holders to free the task and takes their replicas off the books.
    pub(super) fn remove_all_replicas(&mut self, task: TaskId, fx: &mut Effects) {
        let holders: SmallVec<[WorkerId; 4]> = self.tasks[task].who_has.iter().collect();
        for holder in holders {
            self.free_key(holder, &self.tasks[task].key, fx);
            if self.tasks[task].scattered {
                self.note_freeing(self.tasks[task].key.clone(), holder);
            }
            self.remove_replica(task, holder);
        }
    }

    pub(super) fn forget_actor_places(&mut self, task: TaskId) {
        let holders: SmallVec<[WorkerId; 4]> = self.tasks[task].who_has.iter().collect();
        for holder in holders {
            self.workers.at_mut(holder).actors.remove(task);
        }
    }

    /// Only actors: their state is gone.
    pub(super) fn memory_to_erred(&mut self, task: TaskId, fx: &mut Effects) {
        self.forget_actor_places(task);
        self.remove_all_replicas(task, fx);
        let error = TaskError::made_here(
            pickles::exception("builtins", "RuntimeError", ACTOR_LOST),
            &format!("RuntimeError('{ACTOR_LOST}')"),
        );
        let blame = Arc::new(Blame {
            key: self.tasks[task].key.clone(),
            error,
        });
        for dependent in self.dependents_of(task) {
            let own = &mut self.tasks[dependent];
            if own.who_has.is_empty() {
                own.rare_mut().blame = Some(Arc::clone(&blame));
            }
        }
        let fault = Fault {
            worker: None,
            blame,
        };
        self.propagate_erred(task, Some(fault), fx);
    }
}
