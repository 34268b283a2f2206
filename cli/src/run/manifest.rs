//! The one job of a manifest, or why a run does not begin.

use contract::status::{Failure, FailureClass, reason};
use contract::{Role, exit_code};
use plan::ResolvedJob;
use std::path::Path;
use terminal::read_text;

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
    terminal::one_job(&place, &text)
        .map(|found| found.job)
        .map_err(Refused::manifest)
}
