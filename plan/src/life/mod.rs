//! The life of a job on Kubernetes as one pure function: what is known, and the time, become what to create, what to
//! store, what to delete and when to look again.
//!
//! Total: it cannot fail and remembers nothing; whatever must be known later stands in the status. Two rules make faults
//! harmless: deletes rest on a status that is stored, and nothing that runs a program is made on the word of a watch
//! alone (`Observed::fresh`).

mod attempt;
mod conditions;
mod ends;
mod observed;
#[cfg(test)]
mod tests;
mod verdict;
mod waits;
mod workers;

pub use observed::{
    Container, Creating, Facts, Job, Object, ObjectKind, Observed, Pod, PodPhase, RefusedCreate,
    Terminated, Waiting, WhyRefused, WorkerFact,
};

use contract::status::{ConditionStatus, JobStatus, condition, reason};
use contract::timestamp::Timestamp;

/// A point in time: seconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub u64);

impl Time {
    pub fn timestamp(self) -> Timestamp {
        Timestamp::from_unix_seconds(self.0)
    }

    /// Seconds from an earlier time; zero if it is later.
    pub fn since(self, earlier: Time) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    pub fn plus(self, seconds: u64) -> Time {
        Time(self.0.saturating_add(seconds))
    }

    fn of(timestamp: Option<&Timestamp>) -> Option<Time> {
        timestamp?.unix_seconds().map(Time)
    }
}

/// What to do, in this order: create, store the status, delete, ask.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    pub create: Vec<Create>,
    /// The status to store, if it differs from the stored one.
    pub status: Option<StatusWrite>,
    /// Only once the status above is stored.
    pub delete: Vec<Delete>,
    /// The job's record has outlived its TTL.
    pub delete_job: bool,
    /// Workers to empty and close: their addresses. Repeating it does no harm.
    pub retire: Vec<String>,
    /// How often to ask the scheduler what goes on, in seconds; `None` is not at all.
    pub poll_seconds: Option<u64>,
    /// Look at the API server itself and plan again: this round would rest on an absence.
    pub look_closer: bool,
    /// Plan again at once: the stored status allows the next step.
    pub again_at_once: bool,
    /// Plan again then, if nothing happens before.
    pub again_at: Option<Time>,
    pub events: Vec<Event>,
}

/// One object to make, or to complete; the operator renders it from the job.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Create {
    Service,
    /// Of the Service that is there: what it leads to.
    Selector {
        service_name: String,
        service_uid: String,
    },
    Files,
    NetworkPolicy,
    Scheduler,
    Runner,
    Worker {
        group: String,
        number: u32,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct StatusWrite {
    pub status: JobStatus,
    /// Only counts and times differ: it may wait some seconds for others to join it.
    pub can_wait: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Delete {
    pub kind: ObjectKind,
    pub name: String,
    pub uid: String,
    /// Instead of the pod's own.
    pub grace_seconds: Option<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub warning: bool,
    pub reason: String,
    pub message: String,
}

/// How long scheduler and workers get to end: what they hold is of no use any more.
pub(crate) const TEARDOWN_GRACE_SECONDS: u32 = 1;

/// Plans the next step of a job.
pub fn plan(job: &Job, seen: &Observed, now: Time) -> Plan {
    let mut draft = Draft {
        job,
        seen,
        now,
        status: job.status.clone(),
        plan: Plan::default(),
    };
    if job.deleting {
        draft.remove_everything();
        return draft.plan;
    }
    draft.status.observed_generation = Some(job.generation);
    match (draft.status.finished(), &job.resolved) {
        (Some(_), resolved) => draft.after_the_end(resolved.as_ref().ok()),
        (None, Err(refusals)) => draft.refuse(refusals),
        (None, Ok(resolved)) => draft.go_on(resolved),
    }
    draft.finish()
}

/// A plan in the making.
struct Draft<'a> {
    job: &'a Job,
    seen: &'a Observed,
    now: Time,
    /// The status to be.
    status: JobStatus,
    plan: Plan,
}

impl Draft<'_> {
    fn go_on(&mut self, resolved: &crate::ResolvedJob) {
        self.set(
            condition::ACCEPTED,
            ConditionStatus::True,
            reason::VALID,
            "the manifest is valid",
        );
        if let Some(said) = &self.job.cancelled {
            let failure = verdict::cancelled(said);
            self.fail(failure);
        } else if resolved.suspend {
            self.suspend();
        } else if self.status.attempt == 0 || self.status.holds(condition::SUSPENDED) {
            self.begin();
        } else if self.status.retry_at.is_some() {
            self.retry(resolved);
        } else {
            self.attend(resolved);
        }
    }

    /// Takes the cluster away and waits until nothing of it is left.
    fn suspend(&mut self) {
        if !self.status.holds(condition::SUSPENDED) {
            self.set(
                condition::SUSPENDED,
                ConditionStatus::True,
                reason::REQUESTED,
                "the manifest says suspend: true",
            );
            self.forget_attempt(reason::REQUESTED, "suspended");
            self.status.start_time = None;
            self.status.retry_at = None;
        }
        self.remove_all(Keep::Nothing);
    }

    /// The next attempt, once nothing is left of earlier ones. Its number is stored before anything of it is made.
    fn begin(&mut self) {
        if self.remove_all(Keep::Nothing) {
            return;
        }
        if !self.seen.fresh && self.status.attempt > 0 {
            self.plan.look_closer = true;
            return;
        }
        if self.status.holds(condition::SUSPENDED) {
            self.set(
                condition::SUSPENDED,
                ConditionStatus::False,
                reason::RESUMED,
                "the manifest no longer says suspend",
            );
        }
        self.status.attempt += 1;
        self.status.retry_at = None;
        self.status.timeline = contract::status::Timeline {
            created: Some(self.now.timestamp()),
            ..Default::default()
        };
        self.status
            .start_time
            .get_or_insert_with(|| self.now.timestamp());
        self.set(
            condition::CLUSTER_READY,
            ConditionStatus::False,
            reason::STARTING,
            "the cluster is on its way",
        );
        self.plan.again_at_once = true;
    }

    fn retry(&mut self, resolved: &crate::ResolvedJob) {
        match verdict::active_deadline(resolved, &self.status) {
            Some((at, failure)) if at <= self.now => return self.fail(failure),
            Some((at, _)) => self.look_again(at),
            None => {}
        }
        let at = Time::of(self.status.retry_at.as_ref()).unwrap_or(self.now);
        if at <= self.now {
            self.begin();
        } else if !self.remove_all(Keep::Nothing) {
            self.look_again(at);
        }
    }

    fn refuse(&mut self, refusals: &[crate::Refusal]) {
        let text = conditions::sentence_of(refusals);
        self.set(
            condition::ACCEPTED,
            ConditionStatus::False,
            reason::INVALID,
            &text,
        );
        // While it is suspended everything may still be edited, so nothing is lost yet.
        let suspended = self.status.holds(condition::SUSPENDED);
        if !suspended {
            self.fail(verdict::invalid(text));
        }
    }

    /// Complete or Failed stands: takes down what is left, then waits for the record's time to pass.
    fn after_the_end(&mut self, resolved: Option<&crate::ResolvedJob>) {
        self.status.retry_at = None;
        let left = self.remove_all(Keep::FinishedRunner);
        self.note_teardown(left);
        let ttl = resolved.and_then(|job| job.deadlines.ttl_seconds_after_finished);
        let finished = conditions::finished_at(&self.status);
        if let (Some(ttl), Some(finished), false) = (ttl, finished, left) {
            let at = finished.plus(ttl);
            if at <= self.now {
                self.plan.delete_job = true;
            } else {
                self.look_again(at);
            }
        }
    }

    fn look_again(&mut self, at: Time) {
        let at = at.max(self.now.plus(1));
        self.plan.again_at = Some(self.plan.again_at.map_or(at, |known| known.min(at)));
    }
}

/// What a clean-up leaves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    Nothing,
    /// The runner's pod once its program has ended: it has the log, and runs nothing.
    FinishedRunner,
}

impl Draft<'_> {
    /// Deletes what there is of the job; false if there is nothing.
    fn remove_all(&mut self, keep: Keep) -> bool {
        let attempt = self.status.attempt;
        let mut left = false;
        for pod in &self.seen.pods {
            let is_record = keep == Keep::FinishedRunner
                && pod.role == contract::Role::Runner
                && pod.attempt == attempt
                && pod.is_over()
                && !pod.deleting;
            if is_record {
                continue;
            }
            left = true;
            self.delete_pod(pod);
        }
        for object in &self.seen.objects {
            left = true;
            if !object.deleting {
                self.plan.delete.push(Delete {
                    kind: object.kind,
                    name: object.name.clone(),
                    uid: object.uid.clone(),
                    grace_seconds: None,
                });
            }
        }
        left
    }

    fn delete_pod(&mut self, pod: &Pod) {
        if pod.deleting {
            return;
        }
        self.plan.delete.push(Delete {
            kind: ObjectKind::Pod,
            name: pod.name.clone(),
            uid: pod.uid.clone(),
            grace_seconds: (pod.role != contract::Role::Runner).then_some(TEARDOWN_GRACE_SECONDS),
        });
    }

    /// The resource is going or gone: garbage collection would take its time.
    fn remove_everything(&mut self) {
        self.remove_all(Keep::Nothing);
        for delete in &mut self.plan.delete {
            if delete.kind == ObjectKind::Pod {
                delete.grace_seconds = Some(TEARDOWN_GRACE_SECONDS);
            }
        }
    }
}
