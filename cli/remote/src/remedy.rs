//! What a person can do about a failure or a wait: from its class and reason alone.

use contract::Role;
use contract::exit_code::NOT_FOUND;
use contract::status::{Failure, FailureClass, reason};

/// The code of a program that is there and cannot be run.
const NOT_EXECUTABLE: i32 = 126;

/// What to do about a failure of this job; `None` where there is nothing to add.
pub fn of_failure(failure: &Failure, job: &str) -> Option<String> {
    Some(match failure.class {
        FailureClass::Application => of_program(failure, job),
        FailureClass::OutOfMemory => format!(
            "raise {}.limits.memory, or do less at once: smaller pieces, fewer threads",
            field_of(failure.role)
        ),
        FailureClass::Evicted => {
            "reserve what the pods use (requests), or let another attempt follow: spec.backoffLimit does not count these, three are free".to_owned()
        }
        FailureClass::NodeLost => {
            "submit it again; kubectl get nodes shows which node is gone".to_owned()
        }
        FailureClass::SchedulerLost => {
            format!("daskjob logs {job} --role scheduler; raise spec.scheduler.limits.memory if it ran out of memory")
        }
        FailureClass::WorkersLost => {
            format!("daskjob logs {job} --role worker; raise spec.workers.limits.memory if they ran out of memory")
        }
        FailureClass::Image => return of_wait_that_was_too_long(failure, reason::IMAGE_UNAVAILABLE),
        FailureClass::Quota => return of_wait_that_was_too_long(failure, reason::UNSCHEDULABLE),
        FailureClass::Deadline if failure.reason == reason::START_DEADLINE_EXCEEDED => {
            "raise spec.startDeadlineSeconds, or find what the start waited for in the events".to_owned()
        }
        FailureClass::Deadline => "raise spec.activeDeadlineSeconds, or give the job more workers".to_owned(),
        FailureClass::Invalid => "mend the manifest; daskjob validate FILE names every mistake".to_owned(),
        FailureClass::Cancelled => return None,
    })
}

/// The deadline says nothing of what was waited for; the class does.
fn of_wait_that_was_too_long(failure: &Failure, usual: &str) -> Option<String> {
    of_wait(&failure.reason).or_else(|| of_wait(usual))
}

fn of_program(failure: &Failure, job: &str) -> String {
    match failure.exit_code {
        Some(code) if code == i32::from(NOT_FOUND) => {
            "the image has no such program: check spec.job.command and spec.image".to_owned()
        }
        Some(NOT_EXECUTABLE) => {
            "the program cannot be run: check its permissions in the image and spec.job.command"
                .to_owned()
        }
        Some(_) | None => format!("daskjob logs {job} shows what the program wrote"),
    }
}

/// What to do where a start waits for something, by the reason of its condition.
pub fn of_wait(why: &str) -> Option<String> {
    let remedy = match why {
        reason::UNSCHEDULABLE => {
            "ask for less (requests, numberOfWorkers), add nodes, or free some; daskjob plan FILE says what is short"
        }
        reason::QUOTA_EXCEEDED => {
            "ask for less or free quota: kubectl describe quota; daskjob plan FILE adds up what the job needs"
        }
        reason::IMAGE_UNAVAILABLE => {
            "check the name of the image and that nodes may pull it: imagePullSecrets in spec.template.spec"
        }
        reason::FORBIDDEN => {
            "the message says which rule of the cluster forbids the pod: follow it in spec.template, or ask who runs the cluster"
        }
        reason::POD_REFUSED => "mend the field the message names in spec.template",
        reason::CONTAINER_CONFIG => {
            "make the Secret, ConfigMap or volume the message names; daskjob plan FILE lists what is missing"
        }
        reason::START_FAILED => {
            "the events and the log of the pod say why its program did not start"
        }
        _ => return None,
    };
    Some(remedy.to_owned())
}

fn field_of(role: Role) -> &'static str {
    match role {
        Role::Runner => "spec.job",
        Role::Scheduler => "spec.scheduler",
        Role::Worker => "spec.workers (or of its group)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(class: FailureClass, exit_code: Option<i32>) -> Failure {
        Failure {
            role: Role::Runner,
            pod: None,
            class,
            reason: reason::START_DEADLINE_EXCEEDED.to_owned(),
            message: String::new(),
            exit_code,
            memory: None,
            log: None,
        }
    }

    #[test]
    fn every_failure_but_a_wanted_one_has_a_remedy() {
        for class in [
            FailureClass::Application,
            FailureClass::OutOfMemory,
            FailureClass::Evicted,
            FailureClass::NodeLost,
            FailureClass::SchedulerLost,
            FailureClass::WorkersLost,
            FailureClass::Quota,
            FailureClass::Image,
            FailureClass::Deadline,
            FailureClass::Invalid,
        ] {
            assert!(
                of_failure(&failure(class, None), "etl").is_some(),
                "{class:?}"
            );
        }
        assert_eq!(
            of_failure(&failure(FailureClass::Cancelled, None), "etl"),
            None
        );
    }

    #[test]
    fn a_missing_program_is_told_from_a_failing_one() {
        let of = |code| of_failure(&failure(FailureClass::Application, Some(code)), "etl").unwrap();
        assert!(of(127).contains("no such program"));
        assert_eq!(of(1), "daskjob logs etl shows what the program wrote");
    }
}
