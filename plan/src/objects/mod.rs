//! Which Kubernetes objects one attempt of a job is made of, and what is in them. Which of them exist at a time is the
//! life cycle's to say.
//!
//! Objects are JSON values: templates of users may hold fields newer than any typed API, and none of them may be lost.
//! Pure and total: a template that makes no sense gives an object that the API server refuses with the field's name.
//!
//! Invariants: an attempt's number is in every name and in every selector, so that attempts never meet; every object has
//! the job as its controller; the same input gives the same bytes.

mod command;
mod container;
mod environment;
mod files;
pub mod labels;
mod metadata;
mod network_policy;
mod pod;
mod program;
mod service;
mod template;

use crate::resolved::{ResolvedJob, ResolvedRole, ResolvedWorkerGroup, Runner};
use contract::Role;
use serde_json::Value;
use std::collections::BTreeMap;

pub use service::scheduler_address;

/// What the operator's configuration says about objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectConfig {
    /// The image that carries our program; the same as [`crate::Defaults::image`].
    pub worker_image: String,
    /// Of every container of ours; the kubelet's default where unset.
    pub image_pull_policy: Option<String>,
    /// Names of secrets in the jobs' namespaces, beside those of templates.
    pub image_pull_secrets: Vec<String>,
    /// Domain of Services: `cluster.local` unless the cluster was made with another.
    pub cluster_domain: String,
    /// Where the operator's pods are; `None` for an operator outside the cluster.
    pub operator_namespace: Option<String>,
    /// Labels of the operator's pods; none stands for all pods of its namespace.
    pub operator_labels: BTreeMap<String, String>,
    /// How long a pod may take to end before it is killed.
    pub termination_grace_seconds: u32,
    /// Ask the kubelet to refuse images that run as root. Off, because a user's image may.
    pub run_as_non_root: bool,
}

impl Default for ObjectConfig {
    fn default() -> Self {
        ObjectConfig {
            worker_image: crate::Defaults::default().image,
            image_pull_policy: None,
            image_pull_secrets: Vec::new(),
            cluster_domain: "cluster.local".to_owned(),
            operator_namespace: None,
            operator_labels: BTreeMap::new(),
            termination_grace_seconds: 5,
            run_as_non_root: false,
        }
    }
}

/// Whose objects: the `metadata` of the DaskJob.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owner {
    pub name: String,
    pub namespace: String,
    pub uid: String,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

/// The pod of the scheduler.
pub fn scheduler_pod(
    config: &ObjectConfig,
    owner: &Owner,
    job: &ResolvedJob,
    attempt: u32,
) -> Value {
    let attempt = Attempt::new(config, owner, job, attempt);
    pod::pod(attempt, Part::Scheduler(&job.scheduler))
}

/// The pod of the job's program; none for an interactive cluster.
pub fn runner_pod(
    config: &ObjectConfig,
    owner: &Owner,
    job: &ResolvedJob,
    attempt: u32,
) -> Option<Value> {
    let attempt = Attempt::new(config, owner, job, attempt);
    let runner = job.job.as_ref()?;
    Some(pod::pod(attempt, Part::Runner(runner)))
}

/// The pod of one worker of a group, by a number that the attempt never used before.
pub fn worker_pod(
    config: &ObjectConfig,
    owner: &Owner,
    job: &ResolvedJob,
    attempt: u32,
    group: &ResolvedWorkerGroup,
    number: u32,
) -> Value {
    let attempt = Attempt::new(config, owner, job, attempt);
    pod::pod(attempt, Part::Worker { group, number })
}

/// The Service whose name is the scheduler's address.
pub fn scheduler_service(
    config: &ObjectConfig,
    owner: &Owner,
    job: &ResolvedJob,
    attempt: u32,
) -> Value {
    service::service(Attempt::new(config, owner, job, attempt))
}

/// The change that gives that Service its selector, once the scheduler's pod has an address.
pub fn service_selector(
    config: &ObjectConfig,
    owner: &Owner,
    job: &ResolvedJob,
    attempt: u32,
    service_uid: &str,
) -> Value {
    service::selector(Attempt::new(config, owner, job, attempt), service_uid)
}

/// The ConfigMap with the job's files; none for a job without.
pub fn files_config_map(
    config: &ObjectConfig,
    owner: &Owner,
    job: &ResolvedJob,
    attempt: u32,
) -> Option<Value> {
    files::config_map(Attempt::new(config, owner, job, attempt))
}

/// The NetworkPolicy: who may connect to the attempt's pods.
pub fn network_policy(
    config: &ObjectConfig,
    owner: &Owner,
    job: &ResolvedJob,
    attempt: u32,
) -> Value {
    network_policy::network_policy(Attempt::new(config, owner, job, attempt))
}

/// One attempt, and what its objects are made from.
#[derive(Debug, Clone, Copy)]
struct Attempt<'a> {
    config: &'a ObjectConfig,
    owner: &'a Owner,
    job: &'a ResolvedJob,
    number: u32,
}

impl<'a> Attempt<'a> {
    fn new(config: &'a ObjectConfig, owner: &'a Owner, job: &'a ResolvedJob, number: u32) -> Self {
        Attempt {
            config,
            owner,
            job,
            number,
        }
    }

    fn has_files(&self) -> bool {
        self.job
            .job
            .as_ref()
            .is_some_and(|runner| !runner.files.is_empty())
    }
}

/// One pod of an attempt.
#[derive(Debug, Clone, Copy)]
enum Part<'a> {
    Scheduler(&'a ResolvedRole),
    Runner(&'a Runner),
    Worker {
        group: &'a ResolvedWorkerGroup,
        number: u32,
    },
}

impl<'a> Part<'a> {
    fn role(self) -> Role {
        match self {
            Part::Scheduler(_) => Role::Scheduler,
            Part::Runner(_) => Role::Runner,
            Part::Worker { .. } => Role::Worker,
        }
    }

    fn settings(self) -> &'a ResolvedRole {
        match self {
            Part::Scheduler(role) => role,
            Part::Runner(runner) => &runner.role,
            Part::Worker { group, .. } => &group.role,
        }
    }

    fn name(self, attempt: Attempt<'_>) -> String {
        let job = &attempt.owner.name;
        match self {
            Part::Scheduler(_) => crate::names::scheduler(job, attempt.number),
            Part::Runner(_) => crate::names::runner(job, attempt.number),
            Part::Worker { group, number } => {
                crate::names::worker(job, attempt.number, &group.name, number)
            }
        }
    }
}

#[cfg(test)]
mod tests;
