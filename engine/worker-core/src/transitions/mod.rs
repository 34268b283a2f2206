//! The life of a task: one file for what is ordered, one for what is coming, one for what is held.
//!
//! A task leaves its state by [`Worker::leave`], which takes it out of whatever that state had it in, and enters the next
//! one by the function of that name.

mod coming;
mod held;
mod ordered;

pub(crate) use held::Arrival;

use crate::effects::Effects;
use crate::task::{Phase, State, TaskId};
use crate::worker::Worker;

impl Worker {
    /// Takes a task out of its state: it is released then, and known only if somebody needs it or a run of it goes on.
    /// A value that was here is freed.
    pub(crate) fn leave(&mut self, task: TaskId, fx: &mut Effects) {
        match self.tasks[task].phase() {
            Phase::Released => {}
            Phase::Waiting | Phase::Ready | Phase::Constrained => self.leave_turn(task),
            Phase::Executing | Phase::LongRunning => self.leave_run(task, fx),
            Phase::Fetch | Phase::Flight | Phase::Missing => self.leave_coming(task),
            Phase::Memory => self.leave_memory(task, fx),
            Phase::Error => {
                self.set_state(task, State::Released);
            }
        }
        let own = &mut self.tasks[task];
        own.acquired = false;
        own.startstops.clear();
    }

    /// After [`Self::leave`]: fetches the value if others here need it, else forgets the task.
    pub(crate) fn settle_released(&mut self, task: TaskId) {
        if self.tasks[task].is_wanted() {
            self.want(task);
        } else {
            self.forget_if_idle(task);
        }
    }
}
