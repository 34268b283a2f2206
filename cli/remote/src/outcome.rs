//! How a job ended: as an exit code like that of `daskjob run`, and as a sentence.

use crate::job::{Job, word_of};
use crate::times;
use contract::exit_code;
use contract::status::{Failure, FailureClass, JobStatus, Phase, condition};

/// The exit code of a command that waited for the job.
pub fn exit_code_of(status: &JobStatus) -> u8 {
    match (status.finished(), &status.failure) {
        (Some(Phase::Complete), _) => 0,
        (_, Some(failure)) => of_failure(failure),
        (_, None) => exit_code::INFRASTRUCTURE,
    }
}

fn of_failure(failure: &Failure) -> u8 {
    match failure.class {
        FailureClass::Application | FailureClass::OutOfMemory => {
            let of_program = failure.exit_code.and_then(|code| u8::try_from(code).ok());
            of_program
                .filter(|code| *code != 0)
                .unwrap_or(exit_code::INFRASTRUCTURE)
        }
        FailureClass::Deadline => exit_code::DEADLINE,
        FailureClass::Cancelled => exit_code::of_signal(2),
        FailureClass::Invalid => exit_code::REFUSED,
        FailureClass::Evicted
        | FailureClass::NodeLost
        | FailureClass::SchedulerLost
        | FailureClass::WorkersLost
        | FailureClass::Image
        | FailureClass::Quota => exit_code::INFRASTRUCTURE,
    }
}

/// Seconds from the job's creation to its end; of one that goes on, to `now`.
pub fn seconds_taken(job: &Job, now: u64) -> Option<u64> {
    let created = job.object.metadata.creation_timestamp.as_ref()?;
    let ended = finished_at(&job.status).unwrap_or(now);
    Some(ended.saturating_sub(times::seconds_of(created)))
}

/// When it became Complete or Failed.
pub fn finished_at(status: &JobStatus) -> Option<u64> {
    let of = |type_: &str| {
        let holds = status.holds(type_);
        let condition = status
            .conditions
            .iter()
            .find(|condition| condition.type_ == type_);
        condition
            .filter(|_| holds)?
            .last_transition_time
            .unix_seconds()
    };
    of(condition::COMPLETE).or_else(|| of(condition::FAILED))
}

/// `etl: Failed after 12m (OutOfMemory, attempt 2): the program …`
pub fn sentence(job: &Job, now: u64) -> String {
    let status = &job.status;
    let took = seconds_taken(job, now).map_or_else(String::new, |seconds| {
        format!(" after {}", times::duration(seconds))
    });
    let state = word_of(status.job_status);
    match &status.failure {
        Some(failure) if status.finished() == Some(Phase::Failed) => {
            let attempt = match status.attempt {
                0 | 1 => String::new(),
                number => format!(", attempt {number}"),
            };
            format!(
                "{}: {state}{took} ({}{attempt}): {}",
                job.name(),
                failure.reason,
                failure.message
            )
        }
        Some(_) | None => format!("{}: {state}{took}", job.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::tests::job;
    use serde_json::{Value, json};

    fn failed(failure: Value) -> Job {
        job(
            json!({"job": {"command": ["x"]}}),
            json!({
                "jobStatus": "Failed", "attempt": 2, "failure": failure,
                "conditions": [{"type": "Failed", "status": "True", "reason": "x", "lastTransitionTime": "2026-11-21T12:03:20Z"}],
            }),
        )
    }

    #[test]
    fn the_exit_code_is_that_of_a_local_run() {
        let code = |class: &str, code: Value| {
            let failure = json!({"role": "runner", "class": class, "reason": "R", "message": "m", "exitCode": code});
            exit_code_of(&failed(failure).status)
        };
        assert_eq!(code("Application", json!(3)), 3);
        assert_eq!(code("OutOfMemory", json!(137)), 137);
        assert_eq!(code("OutOfMemory", Value::Null), 70);
        assert_eq!(code("Deadline", Value::Null), 124);
        assert_eq!(code("Cancelled", Value::Null), 130);
        assert_eq!(code("Invalid", Value::Null), 2);
        assert_eq!(code("NodeLost", Value::Null), 70);
        let complete = json!({"conditions": [{"type": "Complete", "status": "True", "reason": "x", "lastTransitionTime": "2026-11-21T12:03:20Z"}]});
        assert_eq!(exit_code_of(&job(json!({}), complete).status), 0);
    }

    #[test]
    fn the_sentence_tells_state_time_reason_attempt_and_message() {
        let failure = json!({"role": "runner", "class": "Application", "reason": "NonZeroExit", "message": "it ended with 3", "exitCode": 3});
        assert_eq!(
            sentence(&failed(failure), 0),
            "etl: Failed after 3m20s (NonZeroExit, attempt 2): it ended with 3"
        );
    }
}
