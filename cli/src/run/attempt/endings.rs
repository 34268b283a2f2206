//! What the end of a process means for its attempt, and how an attempt fails.

use super::memory::Cause;
use super::{Attempt, AttemptEnd, Scheduler};
use crate::clock;
use crate::run::groups::Loss;
use crate::run::logs;
use crate::run::process::{Exit, Who};
use contract::Role;
use contract::status::{Failure, FailureClass, reason};
use plan::names;

/// Words of the exception that Dask raises when a task took its workers down with it.
const BLAMES_WORKERS: &str = "KilledWorker";

impl Attempt<'_> {
    pub(super) fn heard_of_end(&mut self, exit: Exit) -> Option<AttemptEnd> {
        match exit.who {
            Who::Runner => Some(self.runner_ended(exit)),
            Who::Scheduler => self.scheduler_ended(exit),
            Who::Worker { group, slot } => self.worker_ended(exit, group, slot),
        }
    }

    fn runner_ended(&mut self, exit: Exit) -> AttemptEnd {
        self.look_at_memory_of_workers();
        self.count_lost();
        let code = exit.code();
        if code == 0 {
            return AttemptEnd::Succeeded;
        }
        let record = self.memory_of(Who::Runner);
        let out_of_memory = self.ran_out_of_memory(record, exit);
        let (class, reason) = match (exit.status.code(), out_of_memory) {
            (_, true) => (FailureClass::OutOfMemory, reason::OUT_OF_MEMORY),
            (Some(_), false) => (FailureClass::Application, reason::NON_ZERO_EXIT),
            (None, false) => (FailureClass::Application, reason::KILLED_BY_SIGNAL),
        };
        let mut message = format!("the program {}", exit.description());
        let cause = out_of_memory.then(|| Cause::kernel(record));
        if let Some(cause) = &cause {
            message.push_str(&format!(": {}", cause.sentence));
        }
        if let Some(failure) = self.worker_is_to_blame(&message, code) {
            return AttemptEnd::Failed {
                failure,
                exit_code: code,
            };
        }
        if self.status.workers.lost > 0 {
            message.push_str(&format!(
                "; {} workers were lost before",
                self.status.workers.lost
            ));
        }
        let tail = self.last_words();
        AttemptEnd::Failed {
            failure: Failure {
                role: Role::Runner,
                pod: Some(names::runner(
                    self.setting.job.name.as_str(),
                    self.setting.number,
                )),
                class,
                reason: reason.to_owned(),
                message,
                exit_code: Some(i32::from(code)),
                memory: cause.and_then(|cause| cause.memory),
                log: tail.filter(|tail| !tail.is_empty()),
            },
            exit_code: code,
        }
    }

    fn last_words(&self) -> Option<String> {
        let runner = self.runner.as_ref()?;
        Some(runner.tail.lock().expect("no holder panics").text())
    }

    /// The program ended because Dask gave up a task that cost too many workers, and one of these ran out of memory: then
    /// that is the more telling failure.
    fn worker_is_to_blame(&self, of_program: &str, code: u8) -> Option<Failure> {
        let (name, cause) = self.out_of_memory_last.as_ref()?;
        let log = self.last_words()?;
        log.contains(BLAMES_WORKERS).then(|| Failure {
            role: Role::Worker,
            pod: Some(name.clone()),
            class: FailureClass::OutOfMemory,
            reason: reason::OUT_OF_MEMORY.to_owned(),
            message: format!("worker {name}: {}; {of_program}", cause.sentence),
            exit_code: Some(i32::from(code)),
            memory: cause.memory,
            log: Some(log),
        })
    }

    fn scheduler_ended(&mut self, exit: Exit) -> Option<AttemptEnd> {
        let name = names::scheduler(self.setting.job.name.as_str(), self.setting.number);
        let answered = matches!(self.scheduler, Scheduler::Answering { .. });
        let closed = exit.code() == 0 && answered;
        self.scheduler = Scheduler::Closed;
        self.status.scheduler_address = None;
        match (closed, &self.setting.job.job) {
            // The program said `client.shutdown()`, and decides by its own end.
            (true, Some(_)) => None,
            (true, None) => Some(AttemptEnd::Idle),
            (false, _) => {
                let record = self.memory_of(Who::Scheduler);
                if exit.killed() && self.ran_out_of_memory(record, exit) {
                    let cause = Cause::kernel(record);
                    return Some(self.out_of_memory(Role::Scheduler, &name, exit, cause));
                }
                let (class, reason) = if answered {
                    (FailureClass::SchedulerLost, reason::SCHEDULER_LOST)
                } else {
                    (FailureClass::Image, reason::START_FAILED)
                };
                Some(self.infrastructure_failure(
                    Role::Scheduler,
                    &name,
                    class,
                    reason,
                    format!("the scheduler {}", exit.description()),
                ))
            }
        }
    }

    fn worker_ended(&mut self, exit: Exit, group: usize, slot: usize) -> Option<AttemptEnd> {
        let name = self.groups[group].slots[slot].name.clone();
        let remains = self.leave(group, slot);
        let outcome = self.groups[group].lose(slot, exit.code() == 0, clock::monotonic());
        // With the scheduler its workers end too.
        if self.scheduler == Scheduler::Closed || outcome == Loss::Retired {
            return None;
        }
        let cause = self.memory_ended(group, remains, exit);
        self.count_lost();
        let mut how = exit.description();
        if let Some(cause) = &cause {
            how.push_str(&format!(": {}", cause.sentence));
            if cause.memory.is_some() {
                self.out_of_memory_last = Some((name.clone(), cause.clone()));
            }
        }
        match outcome {
            Loss::Replaced | Loss::Retired => {
                self.setting
                    .console
                    .say(&format!("worker {name} {how}; it is replaced"));
                None
            }
            Loss::TooMany => {
                if let Some(cause) = cause.filter(|cause| cause.memory.is_some()) {
                    return Some(self.out_of_memory(Role::Worker, &name, exit, cause));
                }
                let message = format!(
                    "group {} lost more than {} workers; the last one, {name}, {how}",
                    self.groups[group].name,
                    self.groups[group].losses_allowed(),
                );
                Some(self.infrastructure_failure(
                    Role::Worker,
                    &name,
                    FailureClass::WorkersLost,
                    reason::WORKERS_LOST,
                    message,
                ))
            }
        }
    }

    /// A part of the cluster, not the program, that was ended for its memory.
    fn out_of_memory(&self, role: Role, name: &str, exit: Exit, cause: Cause) -> AttemptEnd {
        let message = format!("the {role} {}: {}", exit.description(), cause.sentence);
        let mut end = self.infrastructure_failure(
            role,
            name,
            FailureClass::OutOfMemory,
            reason::OUT_OF_MEMORY,
            message,
        );
        if let AttemptEnd::Failed { failure, .. } = &mut end {
            failure.exit_code = Some(i32::from(exit.code()));
            failure.memory = cause.memory;
        }
        end
    }

    pub(super) fn not_started(&self, role: Role, name: &str, why: &str) -> AttemptEnd {
        self.infrastructure_failure(
            role,
            name,
            FailureClass::Image,
            reason::START_FAILED,
            format!("the {role} could not be started: {why}"),
        )
    }

    pub(super) fn infrastructure_failure(
        &self,
        role: Role,
        name: &str,
        class: FailureClass,
        reason: &str,
        message: String,
    ) -> AttemptEnd {
        let log = match role {
            Role::Runner => self.last_words(),
            Role::Scheduler => Some(logs::tail_of(&self.log_of(role.as_str()))),
            Role::Worker => Some(logs::tail_of(&self.log_of(name))),
        };
        AttemptEnd::Failed {
            failure: Failure {
                role,
                pod: Some(name.to_owned()),
                class,
                reason: reason.to_owned(),
                message,
                exit_code: None,
                memory: None,
                log: log.filter(|log| !log.is_empty()),
            },
            exit_code: if class == FailureClass::Deadline {
                contract::exit_code::DEADLINE
            } else {
                contract::exit_code::INFRASTRUCTURE
            },
        }
    }

    pub(super) fn program_not_found(&self, program: &str, name: &str) -> AttemptEnd {
        let message = format!("the program {program} (spec.job.command[0]) was not found");
        match self.infrastructure_failure(
            Role::Runner,
            name,
            FailureClass::Image,
            reason::START_FAILED,
            message,
        ) {
            AttemptEnd::Failed { failure, .. } => AttemptEnd::Failed {
                failure,
                exit_code: contract::exit_code::NOT_FOUND,
            },
            other @ (AttemptEnd::Succeeded | AttemptEnd::Idle) => other,
        }
    }
}
