//! Orders about tasks: compute, free, give up.

use crate::effects::{Effects, LogLevel};
use crate::events::TaskError;
use crate::priority::Priority;
use crate::task::{Phase, State, TaskId};
use crate::worker::Worker;
use protocol::messages::{ComputeTask, FromWorker, KeyOrder, KeysOrder, StealResponse};
use protocol::{Key, Text, Value};
use smallvec::SmallVec;
use std::sync::Arc;

impl Worker {
    pub(crate) fn compute_task(&mut self, order: Arc<ComputeTask>, fx: &mut Effects) {
        self.begin(&order.stimulus_id);
        let task = self.task_of(&order.key);
        match self.tasks[task].phase() {
            // The scheduler does not know, or not yet.
            Phase::Memory => {
                self.tasks[task].run_id = order.run_id;
                self.say_finished(task, Value::Nil, SmallVec::new(), fx);
                return;
            }
            Phase::Executing | Phase::LongRunning if self.tasks[task].run_id == order.run_id => {
                self.log(LogLevel::Debug, "order came twice", &order.key, fx);
                return;
            }
            Phase::Released
            | Phase::Waiting
            | Phase::Ready
            | Phase::Constrained
            | Phase::Executing
            | Phase::LongRunning
            | Phase::Fetch
            | Phase::Flight
            | Phase::Missing
            | Phase::Error => self.leave(task, fx),
        }
        if order.run_spec.is_none() {
            self.tasks[task].run_id = order.run_id;
            let error = TaskError::made_here("the scheduler ordered a task without its code");
            self.fail(task, error, None, SmallVec::new(), fx);
            return;
        }
        self.arrival -= 1;
        let priority = Priority::new(order.priority, self.arrival);
        self.await_inputs(task, order, priority);
    }

    /// The scheduler needs these no more, in whatever state they are.
    pub(crate) fn free_keys(&mut self, order: &KeysOrder, fx: &mut Effects) {
        self.begin(&order.stimulus_id);
        for key in &order.keys {
            if let Some(task) = self.tasks.find(key) {
                self.free(task, &order.stimulus_id, fx);
            }
        }
    }

    fn free(&mut self, task: TaskId, stimulus: &Text, fx: &mut Effects) {
        let was_here = self.tasks[task].phase() == Phase::Memory;
        self.leave(task, fx);
        if was_here {
            self.say_released(task, stimulus, fx);
        }
        // If others here still need it, its turn to be asked for comes with the next round: the scheduler, which has just
        // let it go, is about to free them too.
        self.tasks[task].asked = true;
        self.settle_released(task);
    }

    /// Only values, and only those nobody here waits with.
    pub(crate) fn remove_replicas(&mut self, order: &KeysOrder, fx: &mut Effects) {
        self.begin(&order.stimulus_id);
        let mut kept: Vec<Key> = Vec::new();
        for key in &order.keys {
            let Some(task) = self.tasks.find(key) else {
                continue;
            };
            if self.tasks[task].phase() != Phase::Memory {
                continue;
            }
            if self.tasks[task].is_wanted() {
                kept.push(key.clone());
            } else {
                self.free(task, &order.stimulus_id, fx);
            }
        }
        // The scheduler has taken these off its books already.
        self.say_added(kept, fx);
    }

    /// The answer tells the scheduler whether the task is now its own again.
    pub(crate) fn steal_request(&mut self, order: &KeyOrder, fx: &mut Effects) {
        self.begin(&order.stimulus_id);
        let task = self.tasks.find(&order.key);
        let state = task.and_then(|task| self.told_to_thief(task));
        fx.say(FromWorker::StealResponse(StealResponse {
            key: order.key.clone(),
            state: state.map(Text::from_static),
            stimulus_id: order.stimulus_id.clone(),
        }));
        self.give_up_turn(task, fx);
    }

    /// Stock schedulers end over a state they do not expect here. What is not ordered here is unknown here.
    fn told_to_thief(&self, task: TaskId) -> Option<&'static str> {
        let own = &self.tasks[task];
        match own.phase() {
            Phase::Waiting
            | Phase::Ready
            | Phase::Constrained
            | Phase::Executing
            | Phase::LongRunning
            | Phase::Memory => Some(own.phase().name()),
            Phase::Released => Some("cancelled"),
            Phase::Fetch | Phase::Flight | Phase::Missing | Phase::Error => None,
        }
    }

    pub(crate) fn cancel_compute(&mut self, order: &KeyOrder, fx: &mut Effects) {
        self.begin(&order.stimulus_id);
        let task = self.tasks.find(&order.key);
        self.give_up_turn(task, fx);
    }

    fn give_up_turn(&mut self, task: Option<TaskId>, fx: &mut Effects) {
        if let Some(task) = task
            && self.tasks[task].phase().awaits_its_turn()
        {
            self.leave(task, fx);
            self.settle_released(task);
        }
    }

    /// What the state is called outside; a run nobody wants shows in the name.
    pub(crate) fn shown_state(&self, task: TaskId) -> &'static str {
        let own = &self.tasks[task];
        match &own.state {
            State::Released => "cancelled",
            State::Flight { .. } if !own.is_wanted() => "cancelled",
            State::Waiting { missing: 0 } => "resumed",
            other => other.phase().name(),
        }
    }
}
