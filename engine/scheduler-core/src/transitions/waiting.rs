//! Out of waiting: for dependencies, or for a decision where to run.

use crate::effects::Effects;
use crate::placement::Choice;
use crate::scheduler::{QueuePlace, Scheduler};
use crate::task::{Flags, Phase, State, TaskId};

impl Scheduler {
    pub(super) fn waiting_to_released(&mut self, task: TaskId) {
        self.stop_waiting(task);
        self.set_state(task, State::Released);
        let own = &self.tasks[task];
        if own.has(Flags::LOST_DEPENDENCIES) {
            self.recommend(task, Phase::Forgotten);
        } else if own.blame().is_none() && !own.is_unneeded() {
            self.recommend(task, Phase::Waiting);
        }
    }

    /// The task needs its dependencies no longer. Those nobody needs are recommended to be released; failed ones stay
    /// as they are, for releasing them would be a retry.
    pub(super) fn stop_waiting(&mut self, task: TaskId) {
        if !self.tasks[task].has(Flags::WAITS) {
            return;
        }
        self.tasks[task].flags.set(Flags::WAITS, false);
        for dependency in self.dependencies_of(task) {
            let own = &mut self.tasks[dependency];
            own.waiters -= 1;
            if own.is_unneeded() && !matches!(own.phase(), Phase::Released | Phase::Erred) {
                self.recommend(dependency, Phase::Released);
            }
        }
    }

    /// All dependencies are in memory.
    pub(super) fn waiting_to_processing(&mut self, task: TaskId, fx: &mut Effects) {
        if self.tasks[task].state != (State::Waiting { missing: 0 }) {
            return;
        }
        match self.choose_worker(task) {
            Choice::Worker(worker) => self.add_to_processing(task, worker, fx),
            Choice::Queue => self.recommend(task, Phase::Queued),
            Choice::NoWorker => self.recommend(task, Phase::NoWorker),
        }
    }

    pub(super) fn waiting_to_queued(&mut self, task: TaskId) {
        let order = self.next_arrival();
        self.set_state(task, State::Queued { order });
        let priority = self.tasks[task].priority;
        self.queued.insert(QueuePlace {
            priority,
            order,
            task,
        });
    }

    pub(super) fn waiting_to_no_worker(&mut self, task: TaskId) {
        let order = self.next_arrival();
        self.set_state(task, State::NoWorker { order });
        self.unrunnable.insert(order, (task, self.now));
    }

    fn next_arrival(&mut self) -> u32 {
        self.arrivals = self.arrivals.wrapping_add(1);
        self.arrivals
    }
}
