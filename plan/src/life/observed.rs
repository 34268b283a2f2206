//! What is known of a job and of what belongs to it when a plan is made. Values only: who looked, and how, is the
//! operator's part.

use super::Time;
use crate::{Refusal, ResolvedJob};
use contract::Role;
use contract::status::JobStatus;
use std::collections::BTreeMap;

/// The job itself, as stored.
#[derive(Debug, Clone)]
pub struct Job {
    pub name: String,
    pub namespace: String,
    /// `cluster.local`, as a rule.
    pub cluster_domain: String,
    pub uid: String,
    pub generation: i64,
    /// It has a deletionTimestamp, or is gone already.
    pub deleting: bool,
    /// Somebody asked for its end: the text of the annotation.
    pub cancelled: Option<String>,
    /// What its spec means, or why it means nothing.
    pub resolved: Result<ResolvedJob, Vec<Refusal>>,
    /// As stored: deletes rest on it.
    pub status: JobStatus,
}

/// What there is of a job beside its resource.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    pub pods: Vec<Pod>,
    pub objects: Vec<Object>,
    /// Creates that the API server refused in this round.
    pub refused: Vec<RefusedCreate>,
    /// What the scheduler of the present attempt said last.
    pub facts: Option<Facts>,
    /// Job and pods were read from the API server just now, not from a watch that may lag behind. What rests on the
    /// absence of something waits for such a look.
    pub fresh: bool,
}

/// A pod of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Pod {
    pub name: String,
    pub uid: String,
    pub attempt: u32,
    pub role: Role,
    /// Of a worker: its group and its number in it.
    pub worker: Option<(String, u32)>,
    pub phase: PodPhase,
    /// It has a deletionTimestamp.
    pub deleting: bool,
    pub ready: bool,
    pub has_address: bool,
    pub node: Option<String>,
    /// `status.reason`: Evicted, NodeLost, DeadlineExceeded …
    pub reason: Option<String>,
    pub message: Option<String>,
    /// Reason of a true condition DisruptionTarget.
    pub disruption: Option<String>,
    /// Why the cluster's scheduler finds no node.
    pub unschedulable: Option<String>,
    /// The container of the role.
    pub container: Container,
    /// The first container that cannot start, init containers included.
    pub waiting: Option<Waiting>,
    /// What the container of the role still needs on its node, where nobody says that it cannot be had.
    pub creating: Option<Creating>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodPhase {
    Pending,
    Running,
    Succeeded,
    Failed,
    Unknown,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Container {
    /// Not started, or nothing is known of it.
    Waiting,
    Running {
        since: Time,
    },
    Terminated(Terminated),
}

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Terminated {
    pub exit_code: i32,
    pub signal: Option<i32>,
    /// The kubelet's word: Completed, Error, OOMKilled …
    pub reason: Option<String>,
    /// The termination message: ours as JSON, or the last lines of the log.
    pub message: Option<String>,
    pub finished: Option<Time>,
}

/// A container that is being made. A kubelet that cannot pull an image may be silent about it for twenty seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Creating {
    pub image: String,
    /// Init containers have run: network and volumes are there, and only the image can be missing.
    pub only_image_is_missing: bool,
}

/// Why a container does not start: ImagePullBackOff and its like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub reason: String,
    pub message: Option<String>,
}

/// A Service, ConfigMap or NetworkPolicy of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    pub kind: ObjectKind,
    pub name: String,
    pub uid: String,
    pub attempt: u32,
    pub deleting: bool,
    /// Of a Service: it leads to its pod.
    pub has_selector: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectKind {
    Service,
    ConfigMap,
    NetworkPolicy,
    Pod,
}

impl ObjectKind {
    pub fn as_str(self) -> &'static str {
        match self {
            ObjectKind::Service => "Service",
            ObjectKind::ConfigMap => "ConfigMap",
            ObjectKind::NetworkPolicy => "NetworkPolicy",
            ObjectKind::Pod => "Pod",
        }
    }
}

/// A create that the API server refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedCreate {
    pub kind: ObjectKind,
    pub name: String,
    pub role: Option<Role>,
    pub why: WhyRefused,
    /// The server's sentence.
    pub message: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyRefused {
    /// A quota is used up: may pass.
    Quota,
    /// Pod Security, an admission policy or missing rights: may pass when somebody changes them.
    Forbidden,
    /// The server failed, again and again: may pass when somebody mends it (a webhook nobody answers, as a rule).
    Failing,
    /// The object is not one the server takes: a template is at fault and stays so.
    Invalid,
}

/// What a scheduler said over HTTP.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    pub attempt: u32,
    pub at: Time,
    /// Registered workers by name, which is that of their pods.
    pub workers: BTreeMap<String, WorkerFact>,
    /// How many workers the present work could use.
    pub desired_workers: Option<u32>,
    /// Since when there has been nothing to do.
    pub idle_since: Option<Time>,
}

/// A registered worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerFact {
    pub address: String,
    /// Tasks given to it and not finished.
    pub processing: u64,
    pub result_bytes: u64,
}

impl Pod {
    /// Nothing in it runs or will run again.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, PodPhase::Succeeded | PodPhase::Failed)
            || matches!(self.container, Container::Terminated(_))
    }

    pub fn terminated(&self) -> Option<&Terminated> {
        match &self.container {
            Container::Terminated(terminated) => Some(terminated),
            Container::Waiting | Container::Running { .. } => None,
        }
    }
}

impl Observed {
    /// The pod of a role that there is one of in an attempt.
    pub fn single(&self, attempt: u32, role: Role) -> Option<&Pod> {
        self.pods
            .iter()
            .find(|pod| pod.attempt == attempt && pod.role == role)
    }

    pub fn workers<'a>(
        &'a self,
        attempt: u32,
        group: &'a str,
    ) -> impl Iterator<Item = (u32, &'a Pod)> {
        self.pods.iter().filter_map(move |pod| match &pod.worker {
            Some((own, number)) if own == group && pod.attempt == attempt => Some((*number, pod)),
            Some(_) | None => None,
        })
    }
}
