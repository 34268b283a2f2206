//! The one job of a manifest, or why a run does not begin.

use crate::validate::{read_text, refusals_text};
use contract::status::{Failure, FailureClass, reason};
use contract::{Role, exit_code};
use plan::{Defaults, Outcome, ResolvedJob};
use std::path::Path;

/// Why a run did not begin.
pub struct Refused {
    pub sentence: String,
    class: FailureClass,
    reason: &'static str,
    pub exit_code: u8,
}

impl Refused {
    pub fn manifest(sentence: String) -> Self {
        Refused {
            sentence,
            class: FailureClass::Invalid,
            reason: reason::INVALID,
            exit_code: exit_code::REFUSED,
        }
    }

    pub fn infrastructure(sentence: String) -> Self {
        Refused {
            sentence,
            class: FailureClass::Image,
            reason: reason::START_FAILED,
            exit_code: exit_code::INFRASTRUCTURE,
        }
    }

    pub fn failure(&self) -> Failure {
        Failure {
            role: Role::Runner,
            pod: None,
            class: self.class,
            reason: self.reason.to_owned(),
            message: contract::status::log_tail(&self.sentence),
            exit_code: None,
            memory: None,
            log: None,
        }
    }
}

/// The one job of a manifest.
pub fn read(file: &Path) -> Result<ResolvedJob, Refused> {
    let place = file.display().to_string();
    if place == "-" {
        let sentence = "cannot read the manifest from standard input: modules beside it would have no place; write it into a file";
        return Err(Refused::manifest(sentence.to_owned()));
    }
    let text = read_text(file).map_err(Refused::manifest)?;
    let mut jobs = Vec::new();
    for document in plan::read(&text, &Defaults::default()) {
        match document.outcome {
            Outcome::Job(job) => jobs.push(*job),
            Outcome::Refused(refusals) => {
                let place = if document.index == 0 {
                    place
                } else {
                    format!("{place} (document {})", document.index + 1)
                };
                return Err(Refused::manifest(refusals_text(&place, &refusals)));
            }
            Outcome::Other { .. } => {}
        }
    }
    match jobs.len() {
        1 => Ok(jobs.remove(0)),
        0 => Err(Refused::manifest(format!("{place} holds no DaskJob"))),
        count => {
            let names: Vec<&str> = jobs.iter().map(|job| job.name.as_str()).collect();
            Err(Refused::manifest(format!(
                "{place} holds {count} jobs ({}): write them into files of their own",
                names.join(", ")
            )))
        }
    }
}
