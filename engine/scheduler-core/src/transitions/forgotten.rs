//! Into forgotten: the task is taken out of everything.

use crate::effects::{Effects, ToClient};
use crate::ids::ClientId;
use crate::scheduler::Scheduler;
use crate::task::{Flags, Phase, State, TaskId};
use protocol::Value;
use smallvec::SmallVec;

impl Scheduler {
    pub(super) fn forget(&mut self, task: TaskId, fx: &mut Effects) {
        if self.tasks[task].is_actor() {
            self.forget_actor_places(task);
        }
        self.unlink_dependents(task);
        self.unlink_dependencies(task);
        self.remove_all_replicas(task, fx);
        self.set_state(task, State::Forgotten);
        self.tell_wanters(task, fx, |core| ToClient::CancelledKeys {
            keys: vec![core.tasks[task].key.clone()],
            reason: Value::text("already forgotten"),
            message: Value::Nil,
        });
        self.take_out(task);
    }

    /// What depends on it can never be computed again.
    fn unlink_dependents(&mut self, task: TaskId) {
        let had_replica = !self.tasks[task].who_has.is_empty();
        for dependent in self.dependents_of(task) {
            let own = &mut self.tasks[dependent];
            own.flags.set(Flags::LOST_DEPENDENCIES, true);
            own.dependencies.remove(task);
            if let State::Waiting { missing } = &mut own.state
                && !had_replica
            {
                *missing -= 1;
            }
            let phase = own.phase();
            self.forget_need(dependent, task);
            if !matches!(phase, Phase::Memory | Phase::Erred) {
                self.recommend(dependent, Phase::Forgotten);
            }
        }
        self.tasks[task].dependents.clear();
        self.tasks[task].waiters = 0;
    }

    /// A task being processed no longer needs to fetch an input that is no more.
    fn forget_need(&mut self, dependent: TaskId, task: TaskId) {
        if let Some(worker) = self.tasks[dependent].processing_on() {
            let nbytes = self.size_of(task);
            let own = self.workers.at_mut(worker);
            if own.needs_what.subtract(task) {
                self.unbook_transfer(worker, nbytes);
            }
        }
    }

    fn unlink_dependencies(&mut self, task: TaskId) {
        let waited = self.tasks[task].has(Flags::WAITS);
        self.tasks[task].flags.set(Flags::WAITS, false);
        for dependency in self.dependencies_of(task) {
            let own = &mut self.tasks[dependency];
            own.dependents.remove(task);
            if waited {
                own.waiters -= 1;
            }
            if own.dependents.is_empty() && own.who_wants.is_empty() {
                self.recommend(dependency, Phase::Forgotten);
            } else if waited
                && own.is_unneeded()
                && !matches!(own.phase(), Phase::Released | Phase::Erred)
            {
                self.recommend(dependency, Phase::Released);
            }
        }
        self.tasks[task].dependencies.clear();
    }

    fn take_out(&mut self, task: TaskId) {
        let wanters: SmallVec<[ClientId; 4]> = self.tasks[task].who_wants.iter().collect();
        for client in wanters {
            if let Some(client) = self.clients.get_mut(client) {
                client.wants.remove(task);
            }
        }
        self.tasks[task].who_wants.clear();
        if !self.metadata.is_empty() {
            self.metadata.shift_remove(&self.tasks[task].key);
        }
        self.counters.tasks_forgotten += 1;
        self.tasks.remove(task);
    }
}
