//! The present attempt: makes what is missing, keeps the counts, follows the verdict.

use super::observed::{Container, Facts, ObjectKind, Pod, PodPhase};
use super::verdict::{Case, Verdict, judge};
use super::waits::{self, Wait};
use super::workers::{self, Group};
use super::{Create, Draft, Keep, Time};
use crate::{ResolvedJob, names};
use contract::Role;
use contract::status::{ConditionStatus, Failure, FailureClass, condition, reason};
use contract::timestamp::Timestamp;

/// How often an attempt is repeated because of what it ran on.
const INFRASTRUCTURE_RETRIES: u32 = 3;
/// The first delay before another attempt; it doubles up to the second.
const RETRY_AFTER_SECONDS: (u64, u64) = (10, 360);
/// A refused create is tried again after so long.
const REFUSED_AGAIN_SECONDS: u64 = 10;

/// How often to ask a scheduler, in seconds.
mod poll {
    pub const STARTING: u64 = 1;
    pub const RETIRING: u64 = 2;
    pub const ADAPTING: u64 = 5;
    pub const STEADY: u64 = 15;
}

impl Draft<'_> {
    pub(super) fn attend(&mut self, job: &ResolvedJob) {
        let seen = self.seen;
        let attempt = self.status.attempt;
        let facts = workers::usable_facts(seen, attempt, self.now);
        let mut groups = workers::count(job, &self.status, seen, self.now);
        let wait = waits::find(seen, attempt);
        self.note_progress(job, facts, &groups);
        let verdict = judge(&Case {
            job_name: &self.job.name,
            job,
            status: &self.status,
            seen,
            groups: &groups,
            idle_since: facts.and_then(|facts| facts.idle_since),
            wait: wait.as_ref(),
            now: self.now,
        });
        match verdict {
            Verdict::Unclear => self.plan.look_closer = true,
            Verdict::Succeeded => {
                self.complete(reason::SUCCEEDED, "the job's program ended with code 0")
            }
            Verdict::Idle => {
                self.complete(reason::IDLE, "the cluster was idle for as long as it may")
            }
            Verdict::Failed(failure) => self.attempt_failed(failure, job),
            Verdict::GoesOn { again } => {
                if let Some(at) = again {
                    self.look_again(at);
                }
                self.keep_going(job, &mut groups, facts);
                self.note_conditions(job, &groups, wait);
                self.poll(job, &groups, facts);
            }
        }
    }

    /// The next attempt where the bound of its class allows one, else the end.
    fn attempt_failed(&mut self, failure: Failure, job: &ResolvedJob) {
        let retries = &mut self.status.retries;
        let (used, bound) = match failure.class {
            FailureClass::Application | FailureClass::OutOfMemory => {
                (&mut retries.application, job.backoff_limit)
            }
            FailureClass::Evicted
            | FailureClass::NodeLost
            | FailureClass::SchedulerLost
            | FailureClass::WorkersLost => (&mut retries.infrastructure, INFRASTRUCTURE_RETRIES),
            FailureClass::Image
            | FailureClass::Quota
            | FailureClass::Deadline
            | FailureClass::Cancelled
            | FailureClass::Invalid => return self.fail(failure),
        };
        if *used >= bound {
            return self.fail(failure);
        }
        *used += 1;
        let (first, longest) = RETRY_AFTER_SECONDS;
        let delay = first.saturating_mul(1 << (*used - 1).min(16)).min(longest);
        let at = self.now.plus(delay);
        let message = format!("{}; the next attempt begins in {delay} s", failure.message);
        self.status.failure = Some(failure);
        self.status.retry_at = Some(at.timestamp());
        self.forget_attempt(reason::RETRYING, &message);
        self.remove_all(Keep::Nothing);
        self.look_again(at);
    }

    /// Makes what is missing, retires and removes workers that are too many.
    fn keep_going(&mut self, job: &ResolvedJob, groups: &mut [Group<'_>], facts: Option<&Facts>) {
        let attempt = self.status.attempt;
        if self.remove_earlier() {
            return;
        }
        self.create_objects(job, attempt);
        let scheduler = self.seen.single(attempt, Role::Scheduler);
        let runner = self.seen.single(attempt, Role::Runner);
        let missing = scheduler.is_none() || (runner.is_none() && job.job.is_some());
        if missing && !self.seen.fresh {
            self.plan.look_closer = true;
            return;
        }
        if scheduler.is_none() {
            self.plan.create.push(Create::Scheduler);
        }
        if runner.is_none() && job.job.is_some() {
            self.plan.create.push(Create::Runner);
        }
        let nobody_needs_them =
            scheduler.is_some_and(Pod::is_over) || runner.is_some_and(Pod::is_over);
        for group in groups {
            let wishes = group.wishes(facts, self.now);
            if !nobody_needs_them {
                self.make_workers(&group.spec.name, wishes.make);
            }
            if let Some(at) = wishes.again {
                self.look_again(at);
            }
            self.plan.retire.extend(wishes.retire);
            for pod in wishes.remove {
                self.delete_pod(pod);
            }
        }
        if !self.seen.refused.is_empty() {
            self.look_again(self.now.plus(REFUSED_AGAIN_SECONDS));
        }
    }

    fn make_workers(&mut self, group: &str, numbers: Vec<u32>) {
        self.plan
            .create
            .extend(numbers.into_iter().map(|number| Create::Worker {
                group: group.to_owned(),
                number,
            }));
    }

    fn create_objects(&mut self, job: &ResolvedJob, attempt: u32) {
        let has_files = job
            .job
            .as_ref()
            .is_some_and(|runner| !runner.files.is_empty());
        let wanted = [
            (ObjectKind::Service, Create::Service, true),
            (ObjectKind::ConfigMap, Create::Files, has_files),
            (ObjectKind::NetworkPolicy, Create::NetworkPolicy, true),
        ];
        for (kind, create, is_wanted) in wanted {
            let there = self
                .seen
                .objects
                .iter()
                .any(|object| object.kind == kind && object.attempt == attempt);
            if is_wanted && !there {
                self.plan.create.push(create);
            }
        }
        self.complete_service(attempt);
    }

    fn complete_service(&mut self, attempt: u32) {
        let seen = self.seen;
        let service = seen.objects.iter().find(|object| {
            object.kind == ObjectKind::Service && object.attempt == attempt && !object.deleting
        });
        let leads_somewhere = seen
            .single(attempt, Role::Scheduler)
            .is_some_and(|pod| pod.has_address && !pod.is_over());
        if let Some(service) = service
            && !service.has_selector
            && leads_somewhere
        {
            self.plan.create.push(Create::Selector {
                service_name: service.name.clone(),
                service_uid: service.uid.clone(),
            });
        }
    }

    /// What earlier attempts left goes first: true while some of it is there.
    fn remove_earlier(&mut self) -> bool {
        let attempt = self.status.attempt;
        let mut left = false;
        let seen = self.seen;
        for pod in seen.pods.iter().filter(|pod| pod.attempt != attempt) {
            left = true;
            self.delete_pod(pod);
        }
        left
    }

    fn note_progress(&mut self, job: &ResolvedJob, facts: Option<&Facts>, groups: &[Group<'_>]) {
        let seen = self.seen;
        let now = self.now.timestamp();
        let scheduler = seen.single(self.status.attempt, Role::Scheduler);
        let is_up = |pod: &Pod| pod.phase == PodPhase::Running && pod.ready && !pod.is_over();
        let answers = facts.is_some() && scheduler.is_some_and(|pod| !pod.is_over());
        let ready: u32 = groups.iter().map(|group| group.status.ready).sum();
        let desired: u32 = groups.iter().map(|group| group.status.desired).sum();
        let timeline = &mut self.status.timeline;
        if answers || scheduler.is_some_and(is_up) {
            timeline.scheduler_ready.get_or_insert_with(|| now.clone());
        }
        if timeline.scheduler_ready.is_some() {
            self.status.scheduler_address = Some(names::scheduler_address(
                &self.job.name,
                &self.job.namespace,
                &self.job.cluster_domain,
                self.status.attempt,
            ));
            if ready > 0 {
                timeline.first_worker.get_or_insert_with(|| now.clone());
            }
            if ready > 0 && ready >= desired {
                timeline.all_workers.get_or_insert_with(|| now.clone());
            }
        }
        if job.job.is_some()
            && let Some(since) = seen
                .single(self.status.attempt, Role::Runner)
                .and_then(started)
        {
            timeline.runner_started.get_or_insert(since);
        }
    }

    fn note_conditions(&mut self, job: &ResolvedJob, groups: &[Group<'_>], wait: Option<Wait>) {
        let workers = &mut self.status.workers;
        workers.groups = groups.iter().map(|group| group.status.clone()).collect();
        workers.desired = workers.groups.iter().map(|group| group.desired).sum();
        workers.ready = workers.groups.iter().map(|group| group.ready).sum();
        workers.lost = workers.groups.iter().map(|group| group.lost).sum();
        let (ready, desired) = (workers.ready, workers.desired);
        let timeline = &self.status.timeline;
        let was_complete = timeline.all_workers.is_some();
        let is_up = timeline.scheduler_ready.is_some();
        let runs = timeline.first_worker.is_some()
            && (timeline.runner_started.is_some() || job.job.is_none());
        if is_up && (ready >= desired || (was_complete && ready > 0)) {
            self.set(
                condition::CLUSTER_READY,
                ConditionStatus::True,
                reason::WORKERS_REGISTERED,
                "scheduler and workers are up",
            );
        } else {
            let (why, message) = wait.map_or_else(
                || (reason::STARTING, "the cluster is on its way".to_owned()),
                |wait| (wait.reason, wait.message),
            );
            self.set(
                condition::CLUSTER_READY,
                ConditionStatus::False,
                why,
                &message,
            );
        }
        if runs {
            let message = match job.job {
                Some(_) => "the job's program runs",
                None => "the cluster takes clients",
            };
            self.set(
                condition::RUNNING,
                ConditionStatus::True,
                reason::STARTED,
                message,
            );
        }
    }

    fn poll(&mut self, job: &ResolvedJob, groups: &[Group<'_>], facts: Option<&Facts>) {
        let is_up = self
            .seen
            .single(self.status.attempt, Role::Scheduler)
            .is_some_and(|pod| pod.phase == PodPhase::Running && !pod.is_over());
        if !is_up {
            return;
        }
        let incomplete = groups
            .iter()
            .any(|group| group.status.ready < group.status.desired);
        let mut seconds = poll::STEADY;
        if let Some(timeout) = job.deadlines.idle_timeout_seconds {
            seconds = seconds.min((timeout / 4).max(1));
        }
        if groups.iter().any(|group| group.spec.scaling.is_some()) {
            seconds = seconds.min(poll::ADAPTING);
        }
        if groups.iter().any(|group| !group.retiring.is_empty()) {
            seconds = seconds.min(poll::RETIRING);
        }
        // A cluster that was complete once is watched calmly: its losses are seen as pods.
        if facts.is_none() || (incomplete && self.status.timeline.all_workers.is_none()) {
            seconds = poll::STARTING;
        }
        self.plan.poll_seconds = Some(seconds);
    }
}

/// When the container of the role began.
fn started(pod: &Pod) -> Option<Timestamp> {
    match &pod.container {
        Container::Running { since } => Some(Time::timestamp(*since)),
        Container::Terminated(terminated) => Some(terminated.finished?.timestamp()),
        Container::Waiting => None,
    }
}
