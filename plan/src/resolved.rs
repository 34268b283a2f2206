//! A job as everything after reading it sees it: complete, checked, amounts as numbers.
//!
//! Values of these types are made by `resolve` only; who holds one need not check again.

use crate::environment::ResolvedEnv;
use crate::files::Files;
use crate::quantity::Amount;
use crd::{Engine, Template};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// A job that may run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedJob {
    pub name: JobName,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    pub engine: Engine,
    /// `None` is an interactive cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<Runner>,
    pub scheduler: ResolvedRole,
    /// The default group first, then the others as written.
    pub worker_groups: Vec<ResolvedWorkerGroup>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub network_policy_from: Vec<Value>,
    pub suspend: bool,
    pub backoff_limit: u32,
    #[serde(flatten)]
    pub deadlines: Deadlines,
}

impl ResolvedJob {
    /// Workers at the beginning, all groups together.
    pub fn number_of_workers(&self) -> u32 {
        self.worker_groups.iter().map(|group| group.count).sum()
    }
}

/// Name of a job: an RFC 1123 subdomain of at most 253 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct JobName(pub(crate) String);

impl JobName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for JobName {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The program that uses the cluster.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Runner {
    #[serde(flatten)]
    pub role: ResolvedRole,
    /// Never empty.
    pub command: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    #[serde(skip_serializing_if = "Files::is_empty")]
    pub files: Files,
}

/// What one role's containers get.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedRole {
    pub image: String,
    #[serde(flatten)]
    pub resources: Resources,
    /// Of every role first, then of this one; names are unique.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<ResolvedEnv>,
    /// Templates to merge, of every role first, then of this one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub templates: Vec<Template>,
}

/// Amounts by resource name. A request that was unset has its limit's amount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Resources {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub requests: BTreeMap<String, Amount>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, Amount>,
}

impl Resources {
    /// The limit of a resource, else its request.
    pub fn limit_or_request(&self, resource: &str) -> Option<Amount> {
        self.limits
            .get(resource)
            .or_else(|| self.requests.get(resource))
            .copied()
    }
}

/// One group of workers.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedWorkerGroup {
    pub name: String,
    #[serde(flatten)]
    pub role: ResolvedRole,
    /// At the beginning; stays unless the group scales.
    pub count: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    pub threads: u32,
    /// Dask's memory limit of each worker: the memory limit, else the request, else none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit_bytes: Option<u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub dask_resources: BTreeMap<String, f64>,
}

impl ResolvedWorkerGroup {
    /// `dask_resources` as a worker's flag wants them, `GPU=1 DISK=2`; `None` if there are none.
    pub fn resources_flag(&self) -> Option<String> {
        let resources: Vec<String> = self
            .dask_resources
            .iter()
            .map(|(name, amount)| format!("{name}={amount}"))
            .collect();
        (!resources.is_empty()).then(|| resources.join(" "))
    }
}

/// Bounds of a group that adapts to its load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Scaling {
    pub minimum: u32,
    pub maximum: u32,
}

/// When the job, the cluster or its record ends by itself; in seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deadlines {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_deadline_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_deadline_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_seconds_after_finished: Option<u64>,
}
