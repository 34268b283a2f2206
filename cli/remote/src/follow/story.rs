//! What is worth telling of a job while one waits for it: each change of its status once, in sentences. Pure.

use crate::job::{Job, word_of};
use crate::remedy;
use contract::status::Phase;
use std::collections::HashSet;

/// What was told so far.
#[derive(Debug, Default)]
pub struct Story {
    attempt: u32,
    phase: Option<Phase>,
    waits: Option<(String, String)>,
    retry_told: u32,
    address: Option<String>,
    lost: u32,
    /// Messages of the status that were told: events bring them once more.
    messages: HashSet<String>,
}

impl Story {
    /// What has changed since the last look, in sentences.
    pub fn tell(&mut self, job: &Job) -> Vec<String> {
        let mut said = Vec::new();
        let status = &job.status;
        if status.attempt > self.attempt {
            if status.attempt > 1 {
                said.push(format!("attempt {} begins", status.attempt));
            }
            self.lost = 0;
            self.attempt = status.attempt;
        }
        self.tell_phase(job, &mut said);
        self.tell_waits(job, &mut said);
        if status.retry_at.is_some() && self.retry_told < status.attempt {
            self.retry_told = status.attempt;
            if let Some(failure) = &status.failure {
                self.messages.insert(failure.message.clone());
            }
            let why = status
                .failure
                .as_ref()
                .map_or("", |failure| failure.message.as_str());
            said.push(format!(
                "attempt {} failed: {why}; another one follows with a fresh cluster",
                status.attempt
            ));
        }
        let lost = status.workers.lost;
        if lost > self.lost && !job.is_finished() {
            said.push(match lost - self.lost {
                1 => "a worker was lost and is replaced".to_owned(),
                several => format!("{several} workers were lost and are replaced"),
            });
        }
        self.lost = self.lost.max(lost);
        said
    }

    /// A warning that the status has not told already, as a sentence.
    pub fn warning(&mut self, reason: &str, message: &str) -> Option<String> {
        self.messages
            .insert(message.to_owned())
            .then(|| format!("warning ({reason}): {message}"))
    }

    fn tell_phase(&mut self, job: &Job, said: &mut Vec<String>) {
        let phase = job.status.job_status;
        if self.phase != Some(phase) && !job.is_finished() {
            match phase {
                Phase::Running => said.push("running".to_owned()),
                Phase::Suspended => said.push(format!(
                    "suspended; daskjob resume {} lets it begin again",
                    job.name()
                )),
                Phase::Pending | Phase::Starting | Phase::Complete | Phase::Failed => {}
            }
        }
        self.phase = Some(phase);
        let address = &job.status.scheduler_address;
        if job.is_interactive() && *address != self.address {
            if let Some(address) = address {
                said.push(format!("the scheduler is at {address}"));
            }
            self.address.clone_from(address);
        }
    }

    fn tell_waits(&mut self, job: &Job, said: &mut Vec<String>) {
        let waits = job
            .waits_for()
            .map(|(reason, message)| (reason.to_owned(), message.to_owned()));
        if waits != self.waits
            && let Some((reason, message)) = &waits
        {
            self.messages.insert(message.clone());
            said.push(format!("waiting ({reason}): {message}"));
            // The same wait may change its words often.
            let is_new = self
                .waits
                .as_ref()
                .is_none_or(|(before, _)| before != reason);
            if let Some(remedy) = remedy::of_wait(reason).filter(|_| is_new) {
                said.push(format!("    remedy: {remedy}"));
            }
        }
        self.waits = waits;
    }
}

/// How far the job is, in a line.
pub fn progress(job: &Job) -> String {
    let workers = &job.status.workers;
    let mut line = word_of(job.status.job_status).to_owned();
    if workers.desired > 0 {
        line.push_str(&format!(", workers {}/{}", workers.ready, workers.desired));
    }
    if workers.lost > 0 {
        line.push_str(&format!(", {} lost", workers.lost));
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::tests::job;
    use serde_json::{Value, json};

    fn with(status: Value) -> Job {
        job(json!({"job": {"command": ["x"]}}), status)
    }

    fn waiting(reason: &str, message: &str) -> Job {
        with(
            json!({"jobStatus": "Starting", "attempt": 1, "conditions": [
                {"type": "ClusterReady", "status": "False", "reason": reason, "message": message, "lastTransitionTime": "2026-11-21T12:00:00Z"},
            ]}),
        )
    }

    #[test]
    fn each_change_is_told_once() {
        let mut story = Story::default();
        assert!(story.tell(&with(json!({}))).is_empty());
        let running = with(
            json!({"jobStatus": "Running", "attempt": 1, "workers": {"ready": 1, "desired": 2}}),
        );
        assert_eq!(story.tell(&running), ["running"]);
        assert!(story.tell(&running).is_empty());
        let lost = with(
            json!({"jobStatus": "Running", "attempt": 1, "workers": {"ready": 1, "desired": 2, "lost": 2}}),
        );
        assert_eq!(story.tell(&lost), ["2 workers were lost and are replaced"]);
        assert_eq!(progress(&lost), "Running, workers 1/2, 2 lost");
    }

    #[test]
    fn a_wait_is_told_with_a_remedy_and_its_new_words_without() {
        let mut story = Story::default();
        let said = story.tell(&waiting("Unschedulable", "no node takes a"));
        assert_eq!(said[0], "waiting (Unschedulable): no node takes a");
        assert!(said[1].starts_with("    remedy: ask for less"));
        assert_eq!(
            story
                .tell(&waiting("Unschedulable", "no node takes b"))
                .len(),
            1
        );
        assert!(story.tell(&waiting("Starting", "on its way")).is_empty());
    }

    #[test]
    fn a_warning_is_told_unless_the_status_told_it() {
        let mut story = Story::default();
        story.tell(&waiting("Unschedulable", "no node takes a"));
        assert_eq!(story.warning("Unschedulable", "no node takes a"), None);
        assert!(story.warning("Other", "new").is_some());
        assert_eq!(story.warning("Other", "new"), None);
    }

    #[test]
    fn another_attempt_is_told_with_why() {
        let mut story = Story::default();
        let failure = json!({"role": "runner", "class": "Application", "reason": "NonZeroExit", "message": "it ended with 1"});
        let failed = with(
            json!({"attempt": 1, "failure": failure, "retryAt": "2026-11-21T12:00:10Z", "jobStatus": "Starting"}),
        );
        assert_eq!(
            story.tell(&failed),
            ["attempt 1 failed: it ended with 1; another one follows with a fresh cluster"]
        );
        assert!(story.tell(&failed).is_empty());
        assert_eq!(
            story.tell(&with(json!({"attempt": 2, "jobStatus": "Starting"}))),
            ["attempt 2 begins"]
        );
    }
}
