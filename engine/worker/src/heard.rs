//! What the executor's messages mean to the machine.

use crate::executor::message::{FromExecutor, Served, ServedFrame, Times};
use crate::life::End;
use crate::machine::{Input, Machine};
use bytes::Bytes;
use protocol::messages::{Action, FromWorker, StartStop};
use protocol::{Key, Payload, Text, Value, decode_message};
use smallvec::{SmallVec, smallvec};
use tracing::{info, warn};
use worker_core::{Event, Executed, ExecutionId, Outcome, TaskError, UpdateData, UpdateId};

impl Machine {
    pub(crate) fn heard(&mut self, message: FromExecutor) {
        match message {
            FromExecutor::Done {
                run,
                nbytes,
                typename,
                kind,
                time,
            } => {
                let outcome = Outcome::Finished {
                    nbytes,
                    value_type: Some(kind),
                    typename,
                };
                self.run_ended(run, outcome, time);
            }
            FromExecutor::Erred {
                run,
                exception,
                traceback,
                exception_text,
                traceback_text,
                time,
            } => {
                let error = TaskError {
                    exception: serialized(&exception),
                    traceback: traceback.as_ref().map_or(Value::Nil, serialized),
                    exception_text,
                    traceback_text,
                };
                self.run_ended(run, Outcome::Failed(error), time);
            }
            FromExecutor::Rescheduled { run, time } => {
                self.run_ended(run, Outcome::Rescheduled, time);
            }
            FromExecutor::Seceded {
                run,
                compute_seconds,
            } => self.events.push(Event::Seceded {
                execution: ExecutionId(run),
                compute_duration_seconds: compute_seconds,
            }),
            FromExecutor::Withdrawn(runs) => {
                for run in runs {
                    self.run_ended(run, Outcome::NotBegun, NOT_BEGUN);
                }
            }
            FromExecutor::Values {
                request,
                found,
                failed,
                more,
            } => {
                self.expect_return(request, &found);
                let process = self.life.lender.get();
                self.requests.part(request, found, failed, (process, more));
            }
            FromExecutor::Answer { request, frames } => self.requests.answer(request, frames),
            FromExecutor::Send(frames) => match decode_message(&frames) {
                Ok(message) => self.said_by_python(message),
                Err(error) => warn!(error = %error, "unreadable message for the scheduler"),
            },
            FromExecutor::Hold { key, nbytes } => self.hold(key, nbytes),
            FromExecutor::Released(released) => {
                for (number, is_tainted) in released {
                    self.life.memory.given_back(number, is_tainted);
                }
            }
            FromExecutor::Handlers => {}
            FromExecutor::Pong => self.life.pong(),
            FromExecutor::Transitions(wanted) => {
                self.events.push(Event::WatchTransitions(wanted));
            }
            FromExecutor::Leave { how, reason } => self.leave(&how, &reason),
            FromExecutor::Ready { .. }
            | FromExecutor::Refused { .. }
            | FromExecutor::Environment(_) => {
                warn!("the executor says what is not its to say");
            }
        }
    }

    fn run_ended(&mut self, run: u64, outcome: Outcome, time: Times) {
        let execution = ExecutionId(run);
        let Some(under_way) = self.under_way.remove(&execution) else {
            warn!(run, "the executor ended a run that is not under way");
            return;
        };
        if matches!(outcome, Outcome::Finished { .. }) {
            self.values.made(&under_way.order.key, execution.into());
        }
        let delay = self.life.scheduler_delay_seconds.get();
        let startstops: SmallVec<[StartStop; 1]> = match (time.start, time.stop) {
            (Some(start), Some(stop)) => smallvec![StartStop {
                action: Action::Compute,
                start: start + delay,
                stop: stop + delay,
                source: None,
            }],
            _ => SmallVec::new(),
        };
        self.events.push(Event::Executed(Box::new(Executed {
            execution,
            outcome,
            thread: time.thread,
            startstops,
            metadata: Value::Nil,
        })));
    }

    /// Of what it lends the executor wants to hear when nobody reads it any more.
    fn expect_return(&mut self, request: u64, found: &[(Key, Served)]) {
        let is_lent = |frame: &ServedFrame| matches!(frame, ServedFrame::Lent(_));
        if !found.iter().any(|(_, it)| it.frames.iter().any(is_lent)) {
            return;
        }
        let handle = self.life.handle.clone();
        self.requests.lent(request, move || {
            handle.send(Input::Call(Box::new(move |machine| {
                machine.line.say(|line| line.returned(request));
            })));
        });
    }

    /// `log-event` and what plugins send of their own.
    fn said_by_python(&mut self, message: Value) {
        let messages = match message {
            Value::Array(messages) => messages,
            message => vec![message],
        };
        for message in messages {
            match message.get("op").and_then(Value::as_text).cloned() {
                Some(op) => self.tell_scheduler(vec![FromWorker::Other { op, message }]),
                None => warn!("a plugin sends the scheduler a message without op"),
            }
        }
    }

    /// Python made a value of its own: it is as if it had been scattered here, but the object is there already.
    fn hold(&mut self, key: Key, nbytes: u64) {
        let update = UpdateId(self.requests.next_number());
        self.values.held_by_python(update, &key);
        self.events.push(Event::UpdateData(UpdateData {
            update,
            data: vec![(key, nbytes)],
            stimulus_id: Text::from_static("hold"),
        }));
        self.settle();
        self.values.no_longer_held_by_python(update);
    }

    fn leave(&mut self, how: &Text, reason: &Text) {
        let (how, reason) = (how.to_string_lossy(), reason.to_string_lossy().into_owned());
        info!(how = %how, reason, "a task or plugin asks the worker to end");
        self.life.end(match &*how {
            "restart" => End::Restart { reason },
            "close_gracefully" => End::Retire {
                reason,
                again: false,
            },
            "restart_gracefully" => End::Retire {
                reason,
                again: true,
            },
            _ => End::Close { reason },
        });
    }
}

const NOT_BEGUN: Times = Times {
    start: None,
    stop: None,
    thread: None,
};

fn serialized(pickle: &Bytes) -> Value {
    Value::Serialized(Payload::serialized_bytes(pickle))
}
