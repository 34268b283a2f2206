//! Out of queued and no-worker: runnable, but not on any worker yet.

use crate::effects::Effects;
use crate::scheduler::{QueuePlace, Scheduler};
use crate::task::{Flags, Phase, State, TaskId};

impl Scheduler {
    pub(super) fn queued_to_released(&mut self, task: TaskId) {
        self.leave_queue(task);
        self.propagate_released(task);
    }

    pub(super) fn no_worker_to_released(&mut self, task: TaskId) {
        self.leave_unrunnable(task);
        self.propagate_released(task);
    }

    /// Stays queued if no worker has a free slot.
    pub(super) fn queued_to_processing(&mut self, task: TaskId, fx: &mut Effects) {
        if let Some(worker) = self.choose_for_queued() {
            self.leave_queue(task);
            self.add_to_processing(task, worker, fx);
        }
    }

    /// Stays unrunnable if no worker suits.
    pub(super) fn no_worker_to_processing(&mut self, task: TaskId, fx: &mut Effects) {
        if let Some(worker) = self.choose_by_need(task) {
            self.leave_unrunnable(task);
            self.add_to_processing(task, worker, fx);
        }
    }

    pub(super) fn leave_queue(&mut self, task: TaskId) {
        if let State::Queued { order } = self.tasks[task].state {
            let priority = self.tasks[task].priority;
            self.queued.remove(&QueuePlace {
                priority,
                order,
                task,
            });
        }
    }

    pub(super) fn leave_unrunnable(&mut self, task: TaskId) {
        if let State::NoWorker { order } = self.tasks[task].state {
            self.unrunnable.remove(&order);
        }
    }

    /// Common to what was ready or running and is not any more.
    pub(super) fn propagate_released(&mut self, task: TaskId) {
        self.set_state(task, State::Released);
        let own = &self.tasks[task];
        if own.has(Flags::LOST_DEPENDENCIES) {
            self.recommend(task, Phase::Forgotten);
        } else if !own.is_unneeded() {
            // Its dependencies keep it as a waiter, so that they are not released and computed again.
            self.recommend(task, Phase::Waiting);
            return;
        }
        self.stop_waiting(task);
    }
}
