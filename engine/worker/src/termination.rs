//! The cause of a lost Python process for whoever reads how a container ended.

use contract::status::{FailureClass, reason};
use contract::termination::{PATH, TerminationMessage};
use std::path::Path;

/// Leaves the cause where a kubelet looks; elsewhere there is no such file, and nothing is written.
pub fn leave(cause: &str, tasks: &[String]) {
    if Path::new(PATH).exists() {
        // A file that cannot be written says no less than one that is not there.
        let _unwritable = std::fs::write(PATH, message(cause, tasks).to_json());
    }
}

fn message(cause: &str, tasks: &[String]) -> TerminationMessage {
    let (class, reason) = match is_out_of_memory(cause) {
        true => (FailureClass::OutOfMemory, reason::OUT_OF_MEMORY),
        false => (FailureClass::WorkersLost, reason::WORKERS_LOST),
    };
    TerminationMessage {
        class,
        reason: reason.to_owned(),
        message: format!("the Python process of the worker {cause}"),
        exit_code: None,
        task: (!tasks.is_empty()).then(|| tasks.join(", ")),
    }
}

/// We ended it for its memory, or the kernel did.
fn is_out_of_memory(cause: &str) -> bool {
    cause.contains("of memory") || cause.contains("signal 9")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_the_kernel_killed_ran_out_of_memory() {
        let class = |cause: &str| message(cause, &[]).class;
        assert_eq!(
            class("was killed by signal 9 (SIGKILL)"),
            FailureClass::OutOfMemory
        );
        assert_eq!(class("was killed by signal 11"), FailureClass::WorkersLost);
    }
}
