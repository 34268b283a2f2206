//! Whether an attempt is over, and how.
//!
//! The runner's end decides where it is known: success is success whatever else broke. Otherwise what broke first is the
//! cause, and what is merely absent is believed only after a fresh look.

use super::Time;
use super::ends::{failure_of, failure_of_missing, ran_out_of_memory};
use super::observed::{Observed, Pod, PodPhase, WhyRefused};
use super::waits::{self, Wait};
use super::workers::Group;
use crate::{ResolvedJob, names};
use contract::Role;
use contract::status::{ConditionStatus, Failure, FailureClass, JobStatus, condition, reason};

/// A program may still be busy when it has shut its cluster down itself.
const AFTER_CLEAN_END_SECONDS: u64 = 60;
/// A program may fail because of its workers before anybody has heard of their end.
const WORKERS_ARE_HEARD_SECONDS: u64 = 6;
/// Words of the exception that Dask raises when a task took its workers down with it.
const BLAMES_WORKERS: &str = "KilledWorker";

pub(super) enum Verdict {
    GoesOn {
        /// When this may change by itself.
        again: Option<Time>,
    },
    Succeeded,
    /// An interactive cluster has been idle for as long as it may.
    Idle,
    Failed(Failure),
    /// Something is absent that must not be: look again before believing it.
    Unclear,
}

/// What a verdict rests on.
pub(super) struct Case<'a> {
    pub job_name: &'a str,
    pub job: &'a ResolvedJob,
    /// As stored.
    pub status: &'a JobStatus,
    pub seen: &'a Observed,
    pub groups: &'a [Group<'a>],
    pub idle_since: Option<Time>,
    pub wait: Option<&'a Wait>,
    pub now: Time,
}

pub(super) fn judge(case: &Case<'_>) -> Verdict {
    let runner = of_runner(case);
    if matches!(runner, Some(Verdict::Succeeded)) {
        return Verdict::Succeeded;
    }
    if let Some(refused) = case
        .seen
        .refused
        .iter()
        .find(|refused| refused.why == WhyRefused::Invalid)
    {
        let message = format!(
            "{} {}: {}",
            refused.kind.as_str(),
            refused.name,
            refused.message
        );
        return Verdict::Failed(Failure {
            role: refused.role.unwrap_or(Role::Runner),
            pod: Some(refused.name.clone()),
            class: FailureClass::Invalid,
            reason: reason::POD_REFUSED.to_owned(),
            message,
            exit_code: None,
            log: None,
            memory: None,
        });
    }
    let mut again = None;
    for verdict in [
        of_scheduler(case),
        runner,
        of_workers(case),
        of_deadlines(case),
        of_idleness(case),
    ] {
        match verdict {
            None => {}
            Some(Verdict::GoesOn { again: at }) => again = earlier(again, at),
            Some(decided) => return decided,
        }
    }
    Verdict::GoesOn { again }
}

fn of_runner(case: &Case<'_>) -> Option<Verdict> {
    case.job.job.as_ref()?;
    let attempt = case.status.attempt;
    let Some(pod) = case.seen.single(attempt, Role::Runner) else {
        case.status.timeline.runner_started.as_ref()?;
        return Some(absent(
            case,
            Role::Runner,
            names::runner(case.job_name, attempt),
        ));
    };
    if !pod.is_over() {
        return None;
    }
    let ended_well = match pod.terminated() {
        Some(terminated) => terminated.exit_code == 0,
        None => pod.phase == PodPhase::Succeeded,
    };
    if ended_well {
        return Some(Verdict::Succeeded);
    }
    let failure = failure_of(pod);
    let finished = pod.terminated().and_then(|terminated| terminated.finished);
    let until = finished.map(|at| at.plus(WORKERS_ARE_HEARD_SECONDS));
    if let Some(until) = until.filter(|until| *until > case.now)
        && blames_workers(&failure)
        && ended(case).next().is_none()
    {
        return Some(Verdict::GoesOn { again: Some(until) });
    }
    Some(Verdict::Failed(with_workers(case, failure)))
}

fn blames_workers(failure: &Failure) -> bool {
    failure.class == FailureClass::Application
        && failure
            .log
            .as_deref()
            .is_some_and(|log| log.contains(BLAMES_WORKERS))
}

/// Workers that were lost and are still there to be looked at.
fn ended<'c>(case: &'c Case<'_>) -> impl Iterator<Item = &'c Pod> {
    case.groups
        .iter()
        .flat_map(|group| group.ended.iter().copied())
}

/// Dask's KilledWorker says that the workers are the cause; theirs is the more telling failure.
fn with_workers(case: &Case<'_>, failure: Failure) -> Failure {
    let worker = ended(case)
        .find(|pod| ran_out_of_memory(pod))
        .or_else(|| ended(case).next());
    match worker {
        Some(pod) if blames_workers(&failure) => {
            let cause = failure_of(pod);
            Failure {
                message: format!("{}; {}", cause.message, failure.message),
                exit_code: failure.exit_code,
                log: failure.log,
                ..cause
            }
        }
        Some(_) | None => failure,
    }
}

fn of_scheduler(case: &Case<'_>) -> Option<Verdict> {
    let attempt = case.status.attempt;
    let Some(pod) = case.seen.single(attempt, Role::Scheduler) else {
        case.status.timeline.scheduler_ready.as_ref()?;
        return Some(absent(
            case,
            Role::Scheduler,
            names::scheduler(case.job_name, attempt),
        ));
    };
    if !pod.is_over() {
        return None;
    }
    let patience = clean_end(pod).map(|at| at.plus(AFTER_CLEAN_END_SECONDS));
    match patience {
        Some(until) if runner_is_up(case) && until > case.now => {
            Some(Verdict::GoesOn { again: Some(until) })
        }
        Some(_) if case.job.job.is_none() && case.status.timeline.scheduler_ready.is_some() => {
            // An interactive cluster whose user shut it down has done its work.
            Some(Verdict::Succeeded)
        }
        Some(_) => Some(Verdict::Failed(Failure {
            class: FailureClass::SchedulerLost,
            reason: reason::SCHEDULER_LOST.to_owned(),
            message: format!(
                "the scheduler ({}) ended before the job's program did",
                pod.name
            ),
            ..failure_of(pod)
        })),
        None => Some(Verdict::Failed(failure_of(pod))),
    }
}

/// When the scheduler ended of its own accord, as after `client.shutdown()`.
fn clean_end(pod: &Pod) -> Option<Time> {
    let terminated = pod.terminated()?;
    (terminated.exit_code == 0).then_some(terminated.finished?)
}

fn runner_is_up(case: &Case<'_>) -> bool {
    case.seen
        .single(case.status.attempt, Role::Runner)
        .is_some_and(|pod| !pod.is_over())
}

/// It was there, and is not any more.
fn absent(case: &Case<'_>, role: Role, name: String) -> Verdict {
    if case.seen.fresh {
        Verdict::Failed(failure_of_missing(role, &name))
    } else {
        Verdict::Unclear
    }
}

fn of_workers(case: &Case<'_>) -> Option<Verdict> {
    let group = case.groups.iter().find(|group| group.lost_too_many())?;
    if !case.seen.fresh {
        return Some(Verdict::Unclear);
    }
    let latest = group.ended.first().map(|pod| failure_of(pod));
    let why = latest.as_ref().map_or_else(String::new, |cause| {
        format!("; the last: {}", cause.message)
    });
    Some(Verdict::Failed(Failure {
        role: Role::Worker,
        pod: latest.as_ref().and_then(|cause| cause.pod.clone()),
        class: FailureClass::WorkersLost,
        reason: reason::WORKERS_LOST.to_owned(),
        message: format!(
            "group {} lost {} workers{why}",
            group.spec.name, group.status.lost
        ),
        exit_code: latest.as_ref().and_then(|cause| cause.exit_code),
        log: latest.and_then(|cause| cause.log),
        memory: None,
    }))
}

fn of_deadlines(case: &Case<'_>) -> Option<Verdict> {
    let deadlines = &case.job.deadlines;
    let timeline = &case.status.timeline;
    let started = timeline.first_worker.is_some()
        && (timeline.runner_started.is_some() || case.job.job.is_none());
    let start = deadlines
        .start_deadline_seconds
        .filter(|_| !started)
        .and_then(|seconds| Some((Time::of(timeline.created.as_ref())?.plus(seconds), seconds)));
    let active = active_deadline(case.job, case.status);
    if let Some((at, failure)) = &active
        && *at <= case.now
    {
        return Some(Verdict::Failed(failure.clone()));
    }
    if let Some((_, seconds)) = start.filter(|(at, _)| *at <= case.now) {
        let seen = case.wait.map(|wait| (wait.class, wait.message.clone()));
        let (class, why) = seen
            .or_else(|| refused_before(case.status))
            .or_else(|| waits::busy_with(case.seen, case.status.attempt))
            .unwrap_or((
                FailureClass::Deadline,
                "the cluster was not ready".to_owned(),
            ));
        let message =
            format!("the job did not start within its startDeadlineSeconds of {seconds}: {why}");
        return Some(Verdict::Failed(late(
            class,
            reason::START_DEADLINE_EXCEEDED,
            message,
        )));
    }
    let next = earlier(start.map(|(at, _)| at), active.map(|(at, _)| at));
    Some(Verdict::GoesOn { again: next })
}

/// What the start waited for so far, where only a refusal shows it: a round that ends the wait makes nothing.
fn refused_before(status: &JobStatus) -> Option<(FailureClass, String)> {
    let known = status.conditions.iter().find(|known| {
        known.type_ == condition::CLUSTER_READY && known.status == ConditionStatus::False
    })?;
    let class = match known.reason.as_str() {
        reason::QUOTA_EXCEEDED | reason::FORBIDDEN => FailureClass::Quota,
        reason::CREATE_FAILED => FailureClass::Deadline,
        _ => return None,
    };
    Some((class, known.message.clone()))
}

/// When the job must have finished, and what it is if it has not.
pub(super) fn active_deadline(job: &ResolvedJob, status: &JobStatus) -> Option<(Time, Failure)> {
    let seconds = job.deadlines.active_deadline_seconds?;
    let at = Time::of(status.start_time.as_ref())?.plus(seconds);
    let message = format!("the job did not finish within its activeDeadlineSeconds of {seconds}");
    Some((
        at,
        late(
            FailureClass::Deadline,
            reason::ACTIVE_DEADLINE_EXCEEDED,
            message,
        ),
    ))
}

fn of_idleness(case: &Case<'_>) -> Option<Verdict> {
    let timeout = case.job.deadlines.idle_timeout_seconds?;
    // Before its first worker it takes no clients: how long that may last is for `startDeadlineSeconds` to say.
    let open = Time::of(case.status.timeline.first_worker.as_ref())?;
    let until = case.idle_since?.max(open).plus(timeout);
    Some(if until <= case.now {
        Verdict::Idle
    } else {
        Verdict::GoesOn { again: Some(until) }
    })
}

fn late(class: FailureClass, reason: &str, message: String) -> Failure {
    Failure {
        role: Role::Runner,
        pod: None,
        class,
        reason: reason.to_owned(),
        message,
        exit_code: None,
        log: None,
        memory: None,
    }
}

pub(super) fn cancelled(said: &str) -> Failure {
    let message = match said {
        "" | "true" => "somebody cancelled the job".to_owned(),
        said => format!("cancelled: {said}"),
    };
    late(FailureClass::Cancelled, reason::CANCELLED, message)
}

pub(super) fn invalid(message: String) -> Failure {
    late(FailureClass::Invalid, reason::INVALID, message)
}

fn earlier(one: Option<Time>, other: Option<Time>) -> Option<Time> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
