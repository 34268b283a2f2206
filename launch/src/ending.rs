//! From what happened to the container's exit code and its termination message.
//!
//! A program that ends with a code of its own has said why in its log: then there is no message, and the kubelet takes the
//! log's last lines. The same goes for one that was told to end.

use crate::child::Exit;
use crate::command::StartError;
use crate::scheduler::NoScheduler;
use crate::{say, signals};
use container::Shortage;
use contract::exit_code;
use contract::status::{FailureClass, reason};
use contract::termination::TerminationMessage;
use rustix::process::Signal;
use std::path::Path;

/// How it all ended.
#[derive(Debug)]
pub enum Ending {
    Exited {
        /// What people call the command.
        name: String,
        exit: Exit,
        /// It was told to end, by a signal passed on or by the launcher.
        told: bool,
        shortage: Option<Shortage>,
    },
    NotStarted(StartError),
    NoScheduler(NoScheduler),
    /// A signal came before there was a command.
    Stopped(Signal),
}

impl Ending {
    pub fn code(&self) -> u8 {
        match self {
            Ending::Exited { exit, .. } => exit.code(),
            Ending::NotStarted(error) => error.code(),
            Ending::NoScheduler(_) => exit_code::INFRASTRUCTURE,
            Ending::Stopped(signal) => exit_code::of_signal(signal.as_raw()),
        }
    }

    pub fn message(&self) -> Option<TerminationMessage> {
        let (class, reason, message) = match self {
            Ending::Exited { exit, .. } if exit.succeeded() => return None,
            Ending::Exited {
                name,
                exit,
                shortage: Some(shortage),
                ..
            } => {
                let text = out_of_memory(name, *exit, *shortage);
                (FailureClass::OutOfMemory, reason::OUT_OF_MEMORY, text)
            }
            Ending::Exited {
                name,
                exit: Exit::Signal(signal),
                told: false,
                ..
            } => {
                let text = format!("{name} was killed by {}", signals::name(*signal));
                (FailureClass::Application, reason::KILLED_BY_SIGNAL, text)
            }
            Ending::Exited { .. } | Ending::Stopped(_) => return None,
            Ending::NotStarted(error) => {
                (FailureClass::Image, reason::START_FAILED, error.to_string())
            }
            Ending::NoScheduler(missing) => {
                let text = format!(
                    "the scheduler at {} did not answer within {} s: {}",
                    missing.address, missing.seconds, missing.last
                );
                (FailureClass::SchedulerLost, reason::SCHEDULER_LOST, text)
            }
        };
        Some(TerminationMessage {
            class,
            reason: reason.to_owned(),
            message,
            exit_code: Some(self.code().into()),
            task: None,
            memory: self.shortage().map(Shortage::figures),
        })
    }

    /// What ran short, where that is the cause.
    fn shortage(&self) -> Option<Shortage> {
        match self {
            Ending::Exited { shortage, .. } => *shortage,
            Ending::NotStarted(_) | Ending::NoScheduler(_) | Ending::Stopped(_) => None,
        }
    }

    /// Leaves the message where the kubelet reads it, and in the log.
    pub fn tell(&self, file: &Path) {
        let Some(message) = self.message() else {
            return;
        };
        say(&message.message);
        container::message::leave(file, &message);
    }
}

fn out_of_memory(name: &str, exit: Exit, shortage: Shortage) -> String {
    let whom = match exit {
        Exit::Signal(_) => format!("{name} was killed"),
        Exit::Code(code) => format!("{name} ended with code {code} after a process was killed"),
    };
    format!("{whom}: {}", shortage.explanation())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exited(exit: Exit, told: bool, shortage: Option<Shortage>) -> Ending {
        Ending::Exited {
            name: "python".to_owned(),
            exit,
            told,
            shortage,
        }
    }

    const SHORT: Shortage = Shortage {
        limit_bytes: Some(1 << 30),
        peak_bytes: Some(1 << 30),
    };

    #[test]
    fn a_code_of_its_own_is_handed_on_and_the_log_speaks() {
        let ending = exited(Exit::Code(3), false, None);
        assert_eq!((ending.code(), ending.message()), (3, None));
    }

    #[test]
    fn a_signal_nobody_sent_through_us_is_named() {
        let ending = exited(Exit::Signal(11), false, None);
        let message = ending.message().unwrap();
        assert_eq!((ending.code(), message.exit_code), (139, Some(139)));
        assert_eq!(message.class, FailureClass::Application);
        assert!(message.message.contains("SIGSEGV"));
        assert_eq!(exited(Exit::Signal(15), true, None).message(), None);
    }

    #[test]
    fn out_of_memory_is_told_also_where_the_command_was_not_what_was_killed() {
        for exit in [Exit::Signal(9), Exit::Code(137), Exit::Code(1)] {
            let message = exited(exit, false, Some(SHORT)).message().unwrap();
            assert_eq!(message.class, FailureClass::OutOfMemory);
            assert_eq!(message.memory.unwrap().limit_bytes, Some(1 << 30));
            assert!(message.message.contains("1.0 GiB"), "{}", message.message);
        }
        assert_eq!(exited(Exit::Code(0), false, Some(SHORT)).message(), None);
    }
}
