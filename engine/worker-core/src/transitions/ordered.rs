//! Waiting, ready, constrained, executing, long-running, error.

use crate::durations::is_short;
use crate::effects::{Action, Effects, Execution, Input};
use crate::events::TaskError;
use crate::ids::{ExecutionId, Time};
use crate::priority::{Place, Priority};
use crate::queues::ClassId;
use crate::runs::Run;
use crate::task::{Phase, State, Task, TaskId};
use crate::worker::Worker;
use protocol::Value;
use protocol::messages::{ComputeTask, FromWorker, StartStop, TaskErred};
use smallvec::SmallVec;
use std::sync::Arc;

/// A run that was expected to be short and is not after this long holds up those behind it.
const STUCK_NS: u64 = 100_000_000;

impl Worker {
    /// Gives a released task an order: it waits for its inputs, or for its turn.
    pub(crate) fn await_inputs(
        &mut self,
        task: TaskId,
        order: Arc<ComputeTask>,
        priority: Priority,
    ) {
        let own = &mut self.tasks[task];
        own.run_id = order.run_id;
        own.priority = Some(priority);
        own.failures = 0;
        own.asked = false;
        let mut missing = 0;
        for replica in &order.dependencies {
            let input = self.task_of(&replica.key);
            if input == task {
                continue;
            }
            let cancelled = !self.tasks[input].is_wanted();
            self.tasks.link(task, input);
            if self.tasks[input].phase() == Phase::Memory {
                continue;
            }
            missing += 1;
            self.input_announced(input, replica, priority, cancelled);
        }
        self.tasks[task].order = Some(order);
        self.set_state(task, State::Waiting { missing });
        if missing == 0 {
            self.await_turn(task);
        }
    }

    /// A task with all inputs queues for a thread, unless a cancelled run of its own still holds one: two runs of one task
    /// at a time could be in each other's way.
    pub(crate) fn await_turn(&mut self, task: TaskId) {
        if self.tasks[task].blocking > 0 {
            return;
        }
        let place = self.place(task);
        let order = self.tasks[task].order.as_ref();
        let restrictions = order.map_or(&[][..], |order| &order.resource_restrictions);
        if restrictions.is_empty() {
            self.queues.ready.insert(place);
            self.set_state(task, State::Ready);
        } else {
            let class = self.queues.class_of(restrictions);
            self.queues.constrain(class, place);
            self.set_state(task, State::Constrained { class });
        }
    }

    /// Everything in a queue has a priority.
    pub(crate) fn place(&self, task: TaskId) -> Place {
        let lowest = || Priority::new(Priority::ACQUIRE, i64::MIN);
        Place {
            priority: self.tasks[task].priority.unwrap_or_else(lowest),
            task,
        }
    }

    fn leave_queue(&mut self, task: TaskId) {
        let place = self.place(task);
        match self.tasks[task].state {
            State::Ready => {
                self.queues.ready.remove(&place);
            }
            State::Constrained { class } => self.queues.unconstrain(class, place),
            _ => {}
        }
    }

    /// Inputs that only this task needed are not fetched any more.
    pub(super) fn leave_turn(&mut self, task: TaskId) {
        self.leave_queue(task);
        let edges = self.tasks.unlink(task);
        self.tasks[task].order = None;
        self.set_state(task, State::Released);
        for edge in edges {
            self.drop_unneeded(edge.on);
        }
    }

    /// An input has come.
    pub(crate) fn input_arrived(&mut self, input: TaskId) {
        for at in 0..self.tasks[input].dependents.len() {
            let (dependent, _) = self.tasks[input].dependents[at];
            if let State::Waiting { missing } = &mut self.tasks[dependent].state {
                *missing -= 1;
                if *missing == 0 {
                    self.await_turn(dependent);
                }
            }
        }
    }

    /// An input that was here is gone: who waits for its turn must wait for it again.
    pub(crate) fn input_lost(&mut self, input: TaskId) {
        for at in 0..self.tasks[input].dependents.len() {
            let (dependent, _) = self.tasks[input].dependents[at];
            if let State::Waiting { missing } = &mut self.tasks[dependent].state {
                *missing += 1;
            } else {
                self.leave_queue(dependent);
                self.set_state(dependent, State::Waiting { missing: 1 });
            }
        }
    }

    /// Fills free threads.
    pub(crate) fn start_runs(&mut self, fx: &mut Effects) {
        if !self.is_running() || self.is_choked() {
            return;
        }
        while (self.runs.on_threads() < self.config.nthreads || self.may_run_ahead())
            && let Some((place, class)) = self.queues.next()
        {
            self.start_run(place.task, class, fx);
        }
    }

    pub(crate) fn is_choked(&self) -> bool {
        self.memory
            .is_choked(self.store.in_memory, self.store.leaving)
    }

    /// All threads are taken; the next run may lie ready behind others if everything is short.
    fn may_run_ahead(&self) -> bool {
        let most = self.config.nthreads + self.config.executions_ahead;
        self.runs.on_threads() < most
            && self.runs.all_short()
            && self.queues.constrained_count() == 0
            && self.queues.ready.first().is_some_and(|place| {
                let key = &self.tasks[place.task].key;
                is_short(self.durations.expected(key))
            })
    }

    /// What lies ready behind a run that takes long after all could run elsewhere meanwhile.
    pub(crate) fn recall_stuck_runs(&mut self, fx: &mut Effects) {
        if self.runs.on_threads() <= self.config.nthreads {
            return;
        }
        let long_ago = Time(self.now.0.saturating_sub(STUCK_NS));
        for execution in self.runs.stuck(self.config.nthreads, long_ago) {
            fx.act(Action::RecallExecution { execution });
        }
    }

    fn start_run(&mut self, task: TaskId, class: Option<ClassId>, fx: &mut Effects) {
        let edges = self.tasks.unlink(task);
        let mut inputs = Vec::with_capacity(edges.len());
        for edge in edges {
            if let Some(held) = self.tasks[edge.on].held() {
                inputs.push(Input {
                    key: self.tasks[edge.on].key.clone(),
                    value: held.value,
                    location: held.location,
                });
                self.store.touch(&mut self.tasks, edge.on);
            }
        }
        let expected_seconds = self.durations.expected(&self.tasks[task].key);
        let id = self.next_execution();
        self.set_state(task, State::Executing { run: id });
        let order = self.tasks[task].order.take();
        let order = order.expect("a task in a queue has its order");
        let run = Run {
            task,
            wanted: true,
            holds_thread: true,
            seceded: false,
            class,
            short: is_short(expected_seconds),
            recalled: false,
            started: self.now,
            order: Arc::clone(&order),
        };
        self.runs.start(id, run);
        fx.act(Action::Execute(Box::new(Execution {
            id,
            order,
            inputs,
            expected_seconds,
        })));
    }

    /// The run goes on, and nobody wants its result.
    pub(super) fn leave_run(&mut self, task: TaskId, fx: &mut Effects) {
        if let Some(execution) = self.tasks[task].run()
            && let Some(run) = self.runs.disown(execution)
        {
            let blocks = u32::from(!run.seceded);
            let own = &mut self.tasks[task];
            own.orphans += 1;
            own.blocking += blocks;
            fx.act(Action::CancelExecution { execution });
        }
        self.set_state(task, State::Released);
    }

    /// A run that nobody wants has ended.
    pub(crate) fn orphan_ended(&mut self, run: &Run) {
        let own = &mut self.tasks[run.task];
        own.orphans -= 1;
        if !run.seceded {
            self.unblock(run.task);
        }
        self.forget_if_idle(run.task);
    }

    /// A cancelled run holds its thread no longer.
    pub(crate) fn unblock(&mut self, task: TaskId) {
        self.tasks[task].blocking -= 1;
        if matches!(self.tasks[task].state, State::Waiting { missing: 0 }) {
            self.await_turn(task);
        }
    }

    /// The executor has given a run back.
    pub(crate) fn begin_again(&mut self, run: Run, fx: &mut Effects) {
        let priority = self.place(run.task).priority;
        self.leave(run.task, fx);
        self.await_inputs(run.task, run.order, priority);
    }

    /// The task has failed here; the scheduler is told, and frees it when it likes.
    pub(crate) fn fail(
        &mut self,
        task: TaskId,
        error: TaskError,
        thread: Option<i64>,
        mut startstops: SmallVec<[StartStop; 1]>,
        fx: &mut Effects,
    ) {
        self.set_state(task, State::Error);
        let own = &mut self.tasks[task];
        startstops.extend(own.startstops.drain(..));
        fx.say(FromWorker::TaskErred(TaskErred {
            key: own.key.clone(),
            run_id: own.run_id,
            exception: error.exception,
            traceback: error.traceback,
            exception_text: error.exception_text,
            traceback_text: error.traceback_text,
            thread: thread.map_or(Value::Nil, Value::Int),
            startstops,
            stimulus_id: self.stimulus.clone(),
        }));
        if self.tasks[task].is_wanted() {
            self.want(task);
        }
    }
}

impl Task {
    pub(crate) fn run(&self) -> Option<ExecutionId> {
        match self.state {
            State::Executing { run } | State::LongRunning { run } => Some(run),
            _ => None,
        }
    }
}
