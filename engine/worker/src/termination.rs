//! The cause of a lost worker, for whoever reads how its container ended or watches it on one machine.

use crate::config::Config;
use crate::life::Loss;
use crate::registration::RegistrationError;
use container::{Memory, Shortage, message};
use contract::exit_code;
use contract::status::{FailureClass, MemoryUse, reason};
use contract::termination::TerminationMessage;
use std::path::Path;

/// Leaves the cause of a loss; where nobody made a file for it, nothing is written.
pub fn leave(config: &Config, loss: &Loss, memory: &Memory) {
    let left = of_loss(loss, memory, config.memory_limit);
    message::leave(&config.termination_log, &left);
}

fn of_loss(loss: &Loss, memory: &Memory, limit_bytes: Option<u64>) -> TerminationMessage {
    let Loss { cause, tasks, .. } = loss;
    let (class, reason) = match loss.out_of_memory {
        true => (FailureClass::OutOfMemory, reason::OUT_OF_MEMORY),
        false => (FailureClass::WorkersLost, reason::WORKERS_LOST),
    };
    // What the kernel killed for, it can explain; our own judgement explains itself.
    let explanation = memory.shortage().filter(|_| loss.out_of_memory);
    let explanation = explanation.map(|shortage| format!("; {}", shortage.explanation()));
    let explanation = explanation.unwrap_or_default();
    TerminationMessage {
        class,
        reason: reason.to_owned(),
        message: format!("the Python process of the worker {cause}{explanation}"),
        exit_code: loss.out_of_memory.then_some(KILLED.into()),
        task: (!tasks.is_empty()).then(|| tasks.join(", ")),
        memory: loss.out_of_memory.then(|| figures(memory, limit_bytes)),
    }
}

/// What the code of a container is whose memory ran out.
pub const KILLED: u8 = 137;

fn figures(memory: &Memory, limit_bytes: Option<u64>) -> MemoryUse {
    let own = memory.figures().map(Shortage::figures).unwrap_or_default();
    let limit_bytes = limit_bytes.and_then(|bytes| i64::try_from(bytes).ok());
    MemoryUse {
        limit_bytes: own.limit_bytes.or(limit_bytes),
        ..own
    }
}

/// Leaves why there never was a worker; the exit code that goes with it.
pub fn leave_failure(file: &Path, failure: &anyhow::Error) -> u8 {
    let late = matches!(
        failure.downcast_ref(),
        Some(RegistrationError::Timeout { .. })
    );
    let (class, reason, code) = match late {
        true => (
            FailureClass::SchedulerLost,
            reason::SCHEDULER_LOST,
            exit_code::INFRASTRUCTURE,
        ),
        false => (FailureClass::Image, reason::START_FAILED, 1),
    };
    leave_refusal(file, (class, reason), &format!("{failure:#}"), code);
    code
}

/// Leaves what was wrong with flags or surroundings.
pub fn leave_config_error(file: &Path, error: &str) {
    let kind = (FailureClass::Image, reason::START_FAILED);
    leave_refusal(file, kind, error, exit_code::REFUSED);
}

fn leave_refusal(file: &Path, kind: (FailureClass, &str), text: &str, code: u8) {
    let (class, reason) = kind;
    let left = TerminationMessage {
        class,
        reason: reason.to_owned(),
        message: format!("the worker failed to {text}"),
        exit_code: Some(code.into()),
        task: None,
        memory: None,
    };
    message::leave(file, &left);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_to_have_run_out_of_memory_is_said_to() {
        let loss = |out_of_memory| Loss {
            cause: "was killed by signal 9 (SIGKILL)".to_owned(),
            out_of_memory,
            tasks: vec!["a".to_owned(), "b".to_owned()],
        };
        let memory = Memory::of_container();
        let message = |out_of_memory| of_loss(&loss(out_of_memory), &memory, Some(1 << 30));
        let (ours, others) = (message(true), message(false));
        assert_eq!(ours.class, FailureClass::OutOfMemory);
        assert_eq!(ours.exit_code, Some(137));
        assert!(ours.memory.unwrap().limit_bytes.is_some());
        assert_eq!(others.memory, None);
        assert_eq!(others.class, FailureClass::WorkersLost);
        assert_eq!(ours.task.as_deref(), Some("a, b"));
        assert!(others.message.ends_with("was killed by signal 9 (SIGKILL)"));
    }

    #[test]
    fn a_worker_that_never_began_says_why() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("log");
        std::fs::write(&file, "").unwrap();
        let left = |failure: anyhow::Error| {
            let code = leave_failure(&file, &failure);
            let text = std::fs::read_to_string(&file).unwrap();
            (code, TerminationMessage::from_json(&text).unwrap())
        };
        let (code, message) = left(anyhow::anyhow!("no distributed").context("start Python"));
        assert_eq!((code, message.class), (1, FailureClass::Image));
        assert!(message.message.ends_with("start Python: no distributed"));
        let late = RegistrationError::Timeout {
            address: "tcp://a:1".to_owned(),
            timeout: std::time::Duration::from_secs(60),
        };
        let (code, message) = left(late.into());
        assert_eq!((code, message.class), (70, FailureClass::SchedulerLost));
    }
}
