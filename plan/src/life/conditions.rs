//! From a draft to a finished plan: conditions, what the end leaves, whether a status is worth storing, what to tell.

use super::{Draft, Event, Plan, StatusWrite, Time};
use crate::Refusal;
use contract::status::{
    Condition, ConditionStatus, Failure, JobStatus, Teardown, Workers, condition, reason,
};

/// The API server takes no longer message in a condition.
const MESSAGE_MAXIMUM_BYTES: usize = 4000;

impl Draft<'_> {
    pub(super) fn set(
        &mut self,
        type_: &str,
        status: ConditionStatus,
        reason: &str,
        message: &str,
    ) {
        let end = message.floor_char_boundary(MESSAGE_MAXIMUM_BYTES);
        let now = self.now.timestamp();
        self.status
            .set_condition(type_, status, reason, &message[..end], &now);
    }

    pub(super) fn complete(&mut self, why: &str, message: &str) {
        self.status.failure = None;
        self.set(condition::COMPLETE, ConditionStatus::True, why, message);
        self.end(why);
    }

    pub(super) fn fail(&mut self, failure: Failure) {
        let (why, message) = (failure.reason.clone(), failure.message.clone());
        self.status.failure = Some(failure);
        self.set(condition::FAILED, ConditionStatus::True, &why, &message);
        self.end(&why);
    }

    /// What both ends have in common. The deletes belong to this plan: they rest on the status that goes with it.
    fn end(&mut self, why: &str) {
        self.forget_attempt(why, "the job is over");
        self.status.retry_at = None;
        self.status
            .timeline
            .finished
            .get_or_insert_with(|| self.now.timestamp());
        let left = self.remove_all(super::Keep::FinishedRunner);
        self.note_teardown(left);
    }

    /// Nothing of the attempt counts any more.
    pub(super) fn forget_attempt(&mut self, why: &str, message: &str) {
        for type_ in [condition::CLUSTER_READY, condition::RUNNING] {
            if self
                .status
                .conditions
                .iter()
                .any(|known| known.type_ == type_)
            {
                self.set(type_, ConditionStatus::False, why, message);
            }
        }
        self.status.scheduler_address = None;
        let lost = self.status.workers.lost;
        self.status.workers = Workers {
            lost,
            ..Workers::default()
        };
    }

    pub(super) fn note_teardown(&mut self, left: bool) {
        let torn_down = self.status.holds(condition::TORN_DOWN);
        if left {
            let remaining = u32::try_from(self.seen.pods.len()).unwrap_or(u32::MAX);
            // The count is written when it begins and when it ends: each write costs.
            if self.status.teardown.is_none() {
                self.status.teardown = Some(Teardown {
                    pods_remaining: remaining,
                    completed_at: None,
                });
            }
            if !torn_down {
                self.set(
                    condition::TORN_DOWN,
                    ConditionStatus::False,
                    reason::IN_PROGRESS,
                    "the cluster is being taken down",
                );
            }
        } else if !torn_down {
            if !self.seen.fresh && self.status.attempt > 0 {
                self.plan.look_closer = true;
                return;
            }
            self.status.teardown = Some(Teardown {
                pods_remaining: 0,
                completed_at: Some(self.now.timestamp()),
            });
            self.set(
                condition::TORN_DOWN,
                ConditionStatus::True,
                reason::ALL_GONE,
                "nothing of the cluster is left",
            );
        }
    }

    pub(super) fn finish(mut self) -> Plan {
        self.status.job_status = self.status.phase();
        let stored = &self.job.status;
        if self.plan.look_closer {
            // Nothing is stored or deleted on the word of a watch that may lag behind.
            return Plan {
                look_closer: true,
                poll_seconds: self.plan.poll_seconds,
                ..Plan::default()
            };
        }
        if self.status != *stored {
            self.plan.events = events(stored, &self.status);
            let can_wait = is_minor(stored, &self.status);
            self.plan.status = Some(StatusWrite {
                status: self.status,
                can_wait,
            });
        }
        self.plan
    }
}

/// All refusals in one sentence each.
pub(super) fn sentence_of(refusals: &[Refusal]) -> String {
    let sentences: Vec<String> = refusals
        .iter()
        .map(|refusal| format!("{}: {}; {}", refusal.field, refusal.reason, refusal.remedy))
        .collect();
    sentences.join("\n")
}

/// When the job became Complete or Failed.
pub(super) fn finished_at(status: &JobStatus) -> Option<Time> {
    let ends = [condition::COMPLETE, condition::FAILED];
    let end = status.conditions.iter().find(|known| {
        ends.contains(&known.type_.as_str()) && known.status == ConditionStatus::True
    })?;
    Time::of(Some(&end.last_transition_time))
}

/// Whether only counts, times and messages differ.
fn is_minor(stored: &JobStatus, next: &JobStatus) -> bool {
    let words = |status: &JobStatus| -> Vec<(String, ConditionStatus, String)> {
        let told = |known: &Condition| (known.type_.clone(), known.status, known.reason.clone());
        status.conditions.iter().map(told).collect()
    };
    let retiring = |status: &JobStatus| -> Vec<Vec<u32>> {
        let groups = status.workers.groups.iter();
        groups.map(|group| group.retiring.clone()).collect()
    };
    let targets = |status: &JobStatus| -> Vec<Option<u32>> {
        status
            .workers
            .groups
            .iter()
            .map(|group| group.target)
            .collect()
    };
    let same_groups = stored.workers.groups.len() != next.workers.groups.len()
        || (retiring(stored) == retiring(next) && targets(stored) == targets(next));
    stored.attempt == next.attempt
        && stored.job_status == next.job_status
        && stored.retry_at == next.retry_at
        && stored.failure == next.failure
        && stored.observed_generation == next.observed_generation
        && same_groups
        && words(stored) == words(next)
}

/// One event for each condition that turned, and for a new attempt.
fn events(stored: &JobStatus, next: &JobStatus) -> Vec<Event> {
    let mut events = Vec::new();
    if next.attempt > stored.attempt {
        events.push(Event {
            warning: false,
            reason: "AttemptStarted".to_owned(),
            message: format!("attempt {} begins", next.attempt),
        });
    }
    for turning in &next.conditions {
        let before = stored
            .conditions
            .iter()
            .find(|known| known.type_ == turning.type_);
        let turned = before
            .is_none_or(|known| known.status != turning.status || known.reason != turning.reason);
        let ended_quietly = next.finished().is_some()
            && turning.status == ConditionStatus::False
            && turning.type_ != condition::ACCEPTED;
        if turned && !ended_quietly && turning.reason != reason::STARTING {
            events.push(event_of(turning));
        }
    }
    if let (Some(failure), None) = (&next.failure, next.finished())
        && stored.failure.as_ref() != Some(failure)
    {
        events.push(Event {
            warning: true,
            reason: failure.reason.clone(),
            message: format!("attempt {} failed: {}", stored.attempt, failure.message),
        });
    }
    events
}

fn event_of(turned: &Condition) -> Event {
    let bad = match turned.type_.as_str() {
        condition::FAILED => turned.status == ConditionStatus::True,
        condition::ACCEPTED | condition::CLUSTER_READY => turned.status == ConditionStatus::False,
        _ => false,
    };
    Event {
        warning: bad,
        reason: match turned.status {
            ConditionStatus::True => turned.type_.clone(),
            ConditionStatus::False | ConditionStatus::Unknown => turned.reason.clone(),
        },
        message: turned.message.clone(),
    }
}
