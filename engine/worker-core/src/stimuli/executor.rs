//! What the executor says of the runs it was given.

use crate::effects::{Action, Effects, Location, LogLevel};
use crate::events::{Executed, Outcome};
use crate::ids::ExecutionId;
use crate::runs::Run;
use crate::task::State;
use crate::transitions::Arrival;
use crate::worker::Worker;
use protocol::messages::{Action as Doing, StartStop};
use protocol::messages::{FromWorker, KeyEvent, LongRunning};

impl Worker {
    pub(crate) fn executed(&mut self, executed: Executed, fx: &mut Effects) {
        let id = executed.execution;
        let Some(run) = self.runs.end(id) else {
            self.log(LogLevel::Error, "end of a run that was not", id.0, fx);
            return;
        };
        if let Some(class) = run.class {
            self.queues.release(class);
        }
        if run.wanted {
            self.wanted_run_ended(run, executed, fx);
            return;
        }
        if let Outcome::Finished { .. } = executed.outcome {
            fx.act(Action::Free {
                key: run.order.key.clone(),
                value: id.into(),
            });
        }
        self.orphan_ended(&run);
    }

    fn wanted_run_ended(&mut self, run: Run, mut executed: Executed, fx: &mut Effects) {
        let task = run.task;
        match executed.outcome {
            Outcome::Finished {
                nbytes,
                value_type,
                typename,
            } => {
                self.begin_named("task-finished");
                self.note_duration(&run, &executed.startstops);
                let kind = self.kinds.of(value_type.as_ref(), &typename);
                let mut startstops = executed.startstops;
                startstops.extend(self.tasks[task].startstops.drain(..));
                let arrival = Arrival {
                    value: executed.execution.into(),
                    location: Location::Executor,
                    nbytes,
                    actor: run.order.actor,
                    kind,
                    thread: executed.thread,
                };
                self.enter_memory(task, arrival);
                self.say_finished(task, executed.metadata, startstops, fx);
            }
            Outcome::Failed(error) => {
                self.begin_named("task-erred");
                let startstops = std::mem::take(&mut executed.startstops);
                self.fail(task, error, executed.thread, startstops, fx);
            }
            Outcome::Rescheduled => {
                self.begin_named("reschedule");
                fx.say(FromWorker::Reschedule(KeyEvent {
                    key: run.order.key.clone(),
                    stimulus_id: self.stimulus.clone(),
                }));
                self.leave(task, fx);
                self.settle_released(task);
            }
            Outcome::NotBegun => {
                self.begin_named("not-begun");
                self.begin_again(run, fx);
            }
        }
    }

    fn note_duration(&mut self, run: &Run, startstops: &[StartStop]) {
        let computing = startstops.iter().find(|own| own.action == Doing::Compute);
        if let Some(computing) = computing {
            let seconds = computing.stop - computing.start;
            self.durations.note(&run.order.key, seconds);
        }
    }

    pub(crate) fn seceded(&mut self, id: ExecutionId, seconds: f64, fx: &mut Effects) {
        let first = self.runs.get(id).is_some_and(|run| !run.seceded);
        let Some(run) = self.runs.set_seceded(id, true) else {
            return; // it has ended, or had seceded already
        };
        let (task, wanted) = (run.task, run.wanted);
        if !first {
            return;
        }
        self.begin_named("secede");
        if !wanted {
            self.unblock(task);
            return;
        }
        self.set_state(task, State::LongRunning { run: id });
        let own = &self.tasks[task];
        let believable = seconds.is_finite() && seconds >= 0.0;
        fx.say(FromWorker::LongRunning(LongRunning {
            key: own.key.clone(),
            run_id: Some(own.run_id),
            compute_duration: believable.then_some(seconds),
            stimulus_id: self.stimulus.clone(),
        }));
    }

    pub(crate) fn rejoined(&mut self, id: ExecutionId) {
        self.runs.set_seceded(id, false);
    }
}
