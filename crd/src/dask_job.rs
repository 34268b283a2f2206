//! The native kind: a job and the Dask cluster that lives exactly as long as it.

#![expect(
    clippy::duplicated_attributes,
    reason = "each printer column has a type and a path; the lint takes them for copies"
)]

use crate::role::{RoleSpec, any_objects};
use crate::{EnvVar, Quantity, Template, WorkerGroupSpec, WorkersSpec, rules};
use contract::status::JobStatus;
use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// What may run and where. Everything has a default but the job's command.
///
/// After creation only worker counts, minimum and maximum, suspend, deadlines and the TTL may be
/// edited; everything while suspended.
#[derive(CustomResource, Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "daskjob.dev",
    version = "v1alpha1",
    kind = "DaskJob",
    plural = "daskjobs",
    shortname = "dj",
    category = "all",
    namespaced,
    derive = "PartialEq",
    status = "JobStatus",
    doc = "A job and a Dask cluster of its own, for exactly as long as the job runs.",
    scale(
        spec_replicas_path = ".spec.workers.numberOfWorkers",
        status_replicas_path = ".status.workers.ready"
    ),
    printcolumn(name = "Status", type_ = "string", json_path = ".status.jobStatus"),
    printcolumn(
        name = "Ready",
        type_ = "integer",
        json_path = ".status.workers.ready",
        description = "Workers that have registered"
    ),
    printcolumn(
        name = "Workers",
        type_ = "integer",
        json_path = ".status.workers.desired",
        description = "Workers wanted"
    ),
    printcolumn(name = "Attempt", type_ = "integer", json_path = ".status.attempt"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.failure.reason",
        description = "Why it failed",
        priority = 1
    ),
    printcolumn(
        name = "Scheduler",
        type_ = "string",
        json_path = ".status.schedulerAddress",
        priority = 1
    )
)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "!has(self.idleTimeoutSeconds) || !has(self.job)",
     "message": "idleTimeoutSeconds is for interactive clusters, a job ends by itself: remove it, or use activeDeadlineSeconds",
     "fieldPath": ".idleTimeoutSeconds"},
]))]
pub struct DaskJobSpec {
    /// Which programs form the cluster: `native` are daskjob's own, `dask` the image's `dask scheduler` and
    /// `dask worker`. Default: native.
    #[serde(default)]
    pub engine: Engine,
    /// Container image of every role. Default: the operator's worker image. Ignored by `daskjob run`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), extend("x-kubernetes-validations" = rules::of_image()))]
    pub image: Option<String>,
    /// Reserved for each container of every role: resource name to amount (`cpu: 500m`, `memory: 2Gi`). A role that
    /// sets requests or limits replaces both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16))]
    pub requests: Option<BTreeMap<String, Quantity>>,
    /// Upper bound for each container of every role: resource name to amount. Unset: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16))]
    pub limits: Option<BTreeMap<String, Quantity>>,
    /// Environment variables of every role; roles add to them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Vec<EnvVar>,
    /// Pod metadata and pod spec parts of every role. Ignored by `daskjob run`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
    /// The program to run beside the cluster. Left out, the cluster is interactive: it lives until it is idle
    /// for `idleTimeoutSeconds` or deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobSpec>,
    /// The scheduler.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduler: Option<SchedulerSpec>,
    /// The default group of workers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<WorkersSpec>,
    /// Further groups of workers, each with a name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub worker_groups: Vec<WorkerGroupSpec>,
    /// Who else may connect to the cluster; the job's own pods and the operator always may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network_policy: Option<NetworkPolicySpec>,
    /// Hold the job: no pods while true, and its clocks stand still. Default: false.
    #[serde(default)]
    pub suspend: bool,
    /// How often a failed job is tried again, each time with a fresh cluster, from 0. Default: 0.
    #[serde(default)]
    #[schemars(range(min = 0, max = 100))]
    pub backoff_limit: i32,
    /// Seconds, not suspended, until the program runs and a worker has registered. Default: no deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub start_deadline_seconds: Option<i64>,
    /// Seconds, not suspended, until the job has finished. Default: no deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub active_deadline_seconds: Option<i64>,
    /// Seconds without work after which an interactive cluster ends. Default: it stays until deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub idle_timeout_seconds: Option<i64>,
    /// Seconds after which a finished job is deleted, from 0. Default: it is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 31_536_000))]
    pub ttl_seconds_after_finished: Option<i64>,
}

/// Which programs form a cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum Engine {
    #[default]
    Native,
    Dask,
}

impl Engine {
    /// As a manifest writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Engine::Native => "native",
            Engine::Dask => "dask",
        }
    }
}

/// The program that uses the cluster.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct JobSpec {
    #[serde(flatten)]
    pub role: RoleSpec,
    /// Program and first arguments, one item each: `[python, main.py]`. Its exit code decides the job.
    #[schemars(
        length(min = 1, max = 64),
        inner(length(max = 65_536)),
        extend("x-kubernetes-validations" = rules::of_command())
    )]
    pub command: Vec<String>,
    /// Further arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 65_536)))]
    pub args: Vec<String>,
    /// Files for the program's working directory: relative path to text, together under 900 KiB. They are on the
    /// PYTHONPATH of every role.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(
        schema_with = "file_texts",
        extend("maxProperties" = 16, "x-kubernetes-validations" = rules::of_files())
    )]
    pub files: BTreeMap<String, String>,
}

/// The scheduler.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct SchedulerSpec {
    #[serde(flatten)]
    pub role: RoleSpec,
}

/// Who may connect.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct NetworkPolicySpec {
    /// Peers as in a NetworkPolicy (podSelector, namespaceSelector, ipBlock).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "any_objects")]
    pub from: Vec<Value>,
}

/// Paths to texts, each at most as long as all of them may be together.
fn file_texts(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "additionalProperties": {"type": "string", "maxLength": 921_600}})
}
