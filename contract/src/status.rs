//! What is known about a job: the `status` of a `DaskJob` and the output of
//! `daskjob run --output json`, the same shape on Kubernetes and on one machine.
//!
//! Invariants: bounded in size; of the conditions Complete and Failed at most one is ever True, and
//! once True it stays.

use crate::Role;
use crate::timestamp::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The most bytes of log a failure carries.
pub const LOG_TAIL_MAXIMUM_BYTES: usize = 4096;

/// Where the job is and how it got there. Written by the operator, or by `daskjob run`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {
        "rule": "!has(oldSelf.conditions) || oldSelf.conditions.all(o, !(o.type in ['Complete', 'Failed'] && o.status == 'True') || (has(self.conditions) && self.conditions.exists(c, c.type == o.type && c.status == 'True')))",
        "message": "a job that is Complete or Failed stays so"
    },
    {
        "rule": "!has(self.conditions) || !(self.conditions.exists(c, c.type == 'Complete' && c.status == 'True') && self.conditions.exists(c, c.type == 'Failed' && c.status == 'True'))",
        "message": "a job is either Complete or Failed, never both"
    }
]))]
pub struct JobStatus {
    /// The `metadata.generation` this status was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// What holds, each with reason and time: Accepted, ClusterReady, Running, Complete, Failed,
    /// Suspended, TornDown.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// One word for people, derived from the conditions.
    #[serde(default)]
    pub job_status: Phase,
    /// Where clients connect, `tcp://host:port`, while there is a scheduler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler_address: Option<String>,
    /// Number of the present attempt, from 1; 0 before the first.
    #[serde(default)]
    pub attempt: u32,
    /// Workers of all groups together, and by group.
    #[serde(default)]
    pub workers: Workers,
    /// When the steps of the present attempt were reached.
    #[serde(default)]
    pub timeline: Timeline,
    /// Why the job failed, or why its last attempt did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// How far the clean-up is, once it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub teardown: Option<Teardown>,
    /// Since when the job is not suspended: `activeDeadlineSeconds` counts from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,
    /// Attempts that failed and were followed by another.
    #[serde(default, skip_serializing_if = "Retries::is_none")]
    pub retries: Retries,
    /// The present attempt is over; the next begins then, once nothing is left of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<Timestamp>,
}

/// Attempts that failed and were followed by another, by what they count against.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct Retries {
    /// Failures of the program, bounded by `backoffLimit`.
    #[serde(default)]
    pub application: u32,
    /// Failures of what it ran on (eviction, lost node, lost scheduler), with a bound of their own.
    #[serde(default)]
    pub infrastructure: u32,
}

impl Retries {
    fn is_none(&self) -> bool {
        *self == Retries::default()
    }
}

/// One word for where a job is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum Phase {
    Suspended,
    #[default]
    Pending,
    Starting,
    Running,
    Complete,
    Failed,
}

/// Names of conditions.
pub mod condition {
    pub const ACCEPTED: &str = "Accepted";
    pub const CLUSTER_READY: &str = "ClusterReady";
    pub const RUNNING: &str = "Running";
    pub const COMPLETE: &str = "Complete";
    pub const FAILED: &str = "Failed";
    pub const SUSPENDED: &str = "Suspended";
    pub const TORN_DOWN: &str = "TornDown";
}

/// Reasons of conditions and failures: CamelCase, stable, for programs to match on.
pub mod reason {
    pub const VALID: &str = "Valid";
    pub const INVALID: &str = "Invalid";
    pub const WORKERS_REGISTERED: &str = "WorkersRegistered";
    pub const STARTED: &str = "Started";
    pub const FINISHED: &str = "Finished";
    pub const SUCCEEDED: &str = "Succeeded";
    /// The program ended with a code other than 0.
    pub const NON_ZERO_EXIT: &str = "NonZeroExit";
    /// The program was ended by a signal.
    pub const KILLED_BY_SIGNAL: &str = "KilledBySignal";
    pub const OUT_OF_MEMORY: &str = "OutOfMemory";
    pub const SCHEDULER_LOST: &str = "SchedulerLost";
    /// A group lost more workers than it may.
    pub const WORKERS_LOST: &str = "WorkersLost";
    /// A program of the cluster could not be started.
    pub const START_FAILED: &str = "StartFailed";
    pub const START_DEADLINE_EXCEEDED: &str = "StartDeadlineExceeded";
    pub const ACTIVE_DEADLINE_EXCEEDED: &str = "ActiveDeadlineExceeded";
    pub const CANCELLED: &str = "Cancelled";
    pub const IDLE: &str = "Idle";
    pub const ALL_GONE: &str = "AllGone";
    /// Something of the job is still there.
    pub const IN_PROGRESS: &str = "InProgress";
    /// The manifest asks for it.
    pub const REQUESTED: &str = "Requested";
    pub const RESUMED: &str = "Resumed";
    /// The scheduler or the workers are on their way.
    pub const STARTING: &str = "Starting";
    /// The attempt is over and another follows.
    pub const RETRYING: &str = "Retrying";
    /// No node has room for a pod.
    pub const UNSCHEDULABLE: &str = "Unschedulable";
    /// A quota leaves no room for a pod.
    pub const QUOTA_EXCEEDED: &str = "QuotaExceeded";
    /// An image cannot be had.
    pub const IMAGE_UNAVAILABLE: &str = "ImageUnavailable";
    /// The cluster forbids a pod (Pod Security, an admission policy, missing rights).
    pub const FORBIDDEN: &str = "Forbidden";
    /// The API server fails to make a part of the job, again and again.
    pub const CREATE_FAILED: &str = "CreateFailed";
    /// The API server does not take a pod as the template makes it.
    pub const POD_REFUSED: &str = "PodRefused";
    /// A container cannot be made (a missing secret or config map, a volume).
    pub const CONTAINER_CONFIG: &str = "ContainerConfig";
    pub const EVICTED: &str = "Evicted";
    pub const PREEMPTED: &str = "Preempted";
    pub const NODE_LOST: &str = "NodeLost";
    /// Somebody deleted the pod.
    pub const POD_DELETED: &str = "PodDeleted";
}

/// One condition, as everywhere in Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct Condition {
    /// Name of the condition.
    #[serde(rename = "type")]
    #[schemars(length(max = 64))]
    pub type_: String,
    /// True, False or Unknown.
    pub status: ConditionStatus,
    /// CamelCase word for programs.
    #[schemars(length(max = 128))]
    pub reason: String,
    /// Sentence for people.
    #[serde(default)]
    #[schemars(length(max = 4096))]
    pub message: String,
    /// When `status` last changed.
    pub last_transition_time: Timestamp,
    /// The generation this condition was made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum ConditionStatus {
    True,
    False,
    Unknown,
}

/// How many workers there should be and how many have registered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct Workers {
    /// Wanted, all groups together.
    #[serde(default)]
    pub desired: u32,
    /// Registered with the scheduler, all groups together.
    #[serde(default)]
    pub ready: u32,
    /// Lost and replaced so far in this attempt.
    #[serde(default)]
    pub lost: u32,
    /// The same by group; `default` is `spec.workers`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 17), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub groups: Vec<GroupWorkers>,
}

/// Workers of one group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct GroupWorkers {
    /// Name of the group.
    #[schemars(length(max = 63))]
    pub name: String,
    /// Wanted.
    pub desired: u32,
    /// Registered with the scheduler.
    pub ready: u32,
    /// Lost and replaced so far in this attempt.
    #[serde(default)]
    pub lost: u32,
    /// How many worker numbers this attempt has given out; a number is never used again.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub issued: u32,
    /// Workers that were told to hand over their results and go, and are gone.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retired: u32,
    /// Numbers of workers that are handing over their results.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 10_000))]
    pub retiring: Vec<u32>,
    /// Wanted by a group that adapts to its load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<u32>,
    /// When `target` last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_since: Option<Timestamp>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// When an attempt reached its steps.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct Timeline {
    /// The attempt began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// The scheduler answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler_ready: Option<Timestamp>,
    /// The first worker registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_worker: Option<Timestamp>,
    /// Every wanted worker was registered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_workers: Option<Timestamp>,
    /// The job's command began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runner_started: Option<Timestamp>,
    /// The job's command ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished: Option<Timestamp>,
}

/// What kind of failure it was; it decides what is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub enum FailureClass {
    /// The program itself failed: counts against `backoffLimit`.
    Application,
    /// The program or its workers ran out of memory: counts against `backoffLimit`.
    OutOfMemory,
    /// Evicted or pre-empted: has a bound of its own.
    Evicted,
    /// The node is gone: has a bound of its own.
    NodeLost,
    /// The scheduler is gone: has a bound of its own.
    SchedulerLost,
    /// More workers were lost than a group may lose.
    WorkersLost,
    /// An image could not be had, or a program not be started.
    Image,
    /// Quota or room was missing.
    Quota,
    /// A deadline of the manifest passed.
    Deadline,
    /// Somebody cancelled the job.
    Cancelled,
    /// The manifest was refused.
    Invalid,
}

/// Why a job, or its last attempt, failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct Failure {
    /// Which part failed first.
    pub role: Role,
    /// Pod, or process on one machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 253))]
    pub pod: Option<String>,
    /// Kind of failure.
    pub class: FailureClass,
    /// CamelCase word for programs.
    #[schemars(length(max = 128))]
    pub reason: String,
    /// Sentence for people.
    #[schemars(length(max = 4096))]
    pub message: String,
    /// Exit code; 128 + signal for a program ended by a signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// For a failure of class OutOfMemory, as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryUse>,
    /// The last lines of its log, at most 4 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 4096))]
    pub log: Option<String>,
}

/// What a role was allowed and what it took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct MemoryUse {
    /// Its limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<i64>,
    /// The most it ever used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<i64>,
}

/// How far the clean-up is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct Teardown {
    /// Pods, or processes, that are still there.
    pub pods_remaining: u32,
    /// When the last was gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<Timestamp>,
}

impl JobStatus {
    /// Sets a condition; its time moves only when its status does. A terminal condition that holds
    /// is never taken back.
    pub fn set_condition(
        &mut self,
        type_: &str,
        status: ConditionStatus,
        reason: &str,
        message: &str,
        now: &Timestamp,
    ) {
        let terminal = type_ == condition::COMPLETE || type_ == condition::FAILED;
        if terminal && self.finished().is_some() {
            return;
        }
        let mut next = Condition {
            type_: type_.to_owned(),
            status,
            reason: reason.to_owned(),
            message: message.to_owned(),
            last_transition_time: now.clone(),
            observed_generation: self.observed_generation,
        };
        match self
            .conditions
            .iter_mut()
            .find(|condition| condition.type_ == type_)
        {
            Some(known) => {
                if known.status == status {
                    next.last_transition_time = known.last_transition_time.clone();
                }
                *known = next;
            }
            None => self.conditions.push(next),
        }
    }

    /// Whether a condition is True.
    pub fn holds(&self, type_: &str) -> bool {
        self.conditions
            .iter()
            .any(|condition| condition.type_ == type_ && condition.status == ConditionStatus::True)
    }

    /// The terminal phase, once reached.
    pub fn finished(&self) -> Option<Phase> {
        if self.holds(condition::COMPLETE) {
            return Some(Phase::Complete);
        }
        self.holds(condition::FAILED).then_some(Phase::Failed)
    }

    /// The one word for people, from the conditions.
    pub fn phase(&self) -> Phase {
        if let Some(finished) = self.finished() {
            return finished;
        }
        if self.holds(condition::SUSPENDED) {
            return Phase::Suspended;
        }
        if self.holds(condition::RUNNING) {
            return Phase::Running;
        }
        if self.attempt > 0 {
            Phase::Starting
        } else {
            Phase::Pending
        }
    }
}

/// The last lines of a log that fit into a failure, cut at a line where there is one.
pub fn log_tail(log: &str) -> String {
    let log = log.trim_end();
    if log.len() <= LOG_TAIL_MAXIMUM_BYTES {
        return log.to_owned();
    }
    let tail = &log[log.ceil_char_boundary(log.len() - LOG_TAIL_MAXIMUM_BYTES)..];
    match tail.find('\n') {
        Some(end_of_line) if end_of_line + 1 < tail.len() => tail[end_of_line + 1..].to_owned(),
        Some(_) | None => tail.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(seconds: u64) -> Timestamp {
        Timestamp::from_unix_seconds(seconds)
    }

    #[test]
    fn the_time_of_a_condition_moves_only_with_its_status() {
        let mut status = JobStatus::default();
        status.set_condition(
            condition::RUNNING,
            ConditionStatus::True,
            reason::STARTED,
            "",
            &time(1),
        );
        status.set_condition(
            condition::RUNNING,
            ConditionStatus::True,
            reason::STARTED,
            "still",
            &time(2),
        );
        assert_eq!(status.conditions[0].last_transition_time, time(1));
        assert_eq!(status.conditions[0].message, "still");
        status.set_condition(
            condition::RUNNING,
            ConditionStatus::False,
            reason::FINISHED,
            "",
            &time(3),
        );
        assert_eq!(status.conditions[0].last_transition_time, time(3));
        assert_eq!(status.conditions.len(), 1);
    }

    #[test]
    fn a_terminal_condition_never_reverts_and_never_has_company() {
        let mut status = JobStatus::default();
        status.set_condition(
            condition::COMPLETE,
            ConditionStatus::True,
            reason::SUCCEEDED,
            "",
            &time(1),
        );
        status.set_condition(
            condition::FAILED,
            ConditionStatus::True,
            reason::CANCELLED,
            "",
            &time(2),
        );
        status.set_condition(
            condition::COMPLETE,
            ConditionStatus::False,
            reason::CANCELLED,
            "",
            &time(2),
        );
        assert_eq!(status.finished(), Some(Phase::Complete));
        assert!(!status.holds(condition::FAILED));
    }

    #[test]
    fn the_phase_follows_from_the_conditions() {
        let mut status = JobStatus::default();
        assert_eq!(status.phase(), Phase::Pending);
        status.attempt = 1;
        assert_eq!(status.phase(), Phase::Starting);
        status.set_condition(
            condition::RUNNING,
            ConditionStatus::True,
            reason::STARTED,
            "",
            &time(1),
        );
        assert_eq!(status.phase(), Phase::Running);
        status.set_condition(
            condition::FAILED,
            ConditionStatus::True,
            reason::NON_ZERO_EXIT,
            "",
            &time(2),
        );
        assert_eq!(status.phase(), Phase::Failed);
    }

    #[test]
    fn the_tail_of_a_log_is_bounded_and_begins_with_a_whole_line() {
        let log: String = (0..1_000).map(|line| format!("line {line} é\n")).collect();
        let tail = log_tail(&log);
        assert!(tail.len() <= LOG_TAIL_MAXIMUM_BYTES && tail.len() > LOG_TAIL_MAXIMUM_BYTES - 20);
        assert!(tail.starts_with("line ") && tail.ends_with("line 999 é"));
        assert_eq!(log_tail("short\n"), "short");
        assert_eq!(log_tail(&"é".repeat(5_000)).len(), LOG_TAIL_MAXIMUM_BYTES);
    }
}
