//! The outcome of a run, for people and for programs.

use super::args::Output;
use super::logs;
use super::session::Session;
use contract::Role;
use contract::status::{Failure, FailureClass, Phase};

/// How many lines of how many logs are shown when a job has failed.
const SHOWN_LINES: usize = 10;
const SHOWN_LINES_OF_FAILED: usize = 40;
const SHOWN_LOGS: usize = 4;

impl Session {
    pub(super) fn print_outcome(&self, remaining: u32) {
        if self.job.is_some() {
            self.say_outcome();
        }
        if remaining > 0 {
            self.console
                .say(&format!("{remaining} processes could not be ended"));
        }
        if self.arguments.keep {
            self.console.say(&format!(
                "the run's directory is {}",
                self.directory.display()
            ));
        }
        if self.arguments.output == Output::Json {
            let status = serde_json::to_string(&self.status).expect("a status is JSON");
            self.console.print(&format!("{status}\n"));
        }
    }

    fn say_outcome(&self) {
        let name = self
            .job
            .as_ref()
            .map(|job| job.name.to_string())
            .unwrap_or_default();
        let seconds = self.begun.elapsed().as_secs_f64();
        let Some(failure) = &self.status.failure else {
            return self.console.say(&format!(
                "{name}: {:?} after {seconds:.1} s",
                self.status.job_status
            ));
        };
        if failure.class != FailureClass::Cancelled {
            self.show_logs(failure);
        }
        let attempts = if self.status.attempt > 1 {
            format!(", attempt {}", self.status.attempt)
        } else {
            String::new()
        };
        self.console.say(&format!(
            "{name}: {:?} after {seconds:.1} s ({}{attempts}): {}",
            Phase::Failed,
            failure.reason,
            failure.message
        ));
    }

    /// The ends of logs nobody has seen: all of the process that failed, of the others what they complain about. The
    /// program's own output was shown as it came.
    fn show_logs(&self, failure: &Failure) {
        let failed = |name: &str| {
            failure.role != Role::Runner
                && failure.pod.as_ref().is_some_and(|pod| pod.ends_with(name))
        };
        let mut shown = 0;
        for (name, end) in &self.log_ends {
            let lines = match (failed(name), logs::complaints(end)) {
                (true, _) => logs::last_lines(end, SHOWN_LINES_OF_FAILED),
                (false, complaints) if shown < SHOWN_LOGS => {
                    logs::last_lines(complaints, SHOWN_LINES)
                }
                (false, _) => continue,
            };
            if !lines.is_empty() {
                shown += 1;
                self.console
                    .say(&format!("---- end of the log of {name} ----\n{lines}"));
            }
        }
        if shown > 0 && self.arguments.log_dir.is_none() && !self.arguments.keep {
            self.console
                .say("---- --log-dir DIRECTORY keeps whole logs ----");
        }
    }
}
