//! Groups of workers: `spec.workers` is the group `default`, `spec.workerGroups` are further ones.

use crate::{RoleSpec, rules};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Name of the group that `spec.workers` describes.
pub const DEFAULT_GROUP: &str = "default";

/// How many workers of one kind, and what each can do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline, extend("x-kubernetes-validations" = [
    {"rule": "!(has(self.number_of_workers) && has(self.numberOfWorkers))",
     "message": "number_of_workers and numberOfWorkers are the same setting: write one of them",
     "fieldPath": ".number_of_workers"},
    {"rule": "!has(self.minimum) || has(self.maximum)",
     "message": "minimum needs a maximum: add maximum, or write numberOfWorkers for a fixed count",
     "fieldPath": ".minimum"},
    {"rule": "!has(self.minimum) || !has(self.maximum) || self.minimum <= self.maximum",
     "message": "minimum is larger than maximum: lower minimum or raise maximum",
     "fieldPath": ".minimum"},
    {"rule": "!has(self.maximum) || !has(self.numberOfWorkers) || (self.numberOfWorkers <= self.maximum && (!has(self.minimum) || self.numberOfWorkers >= self.minimum))",
     "message": "numberOfWorkers is outside minimum and maximum: write a count between the two",
     "fieldPath": ".numberOfWorkers"},
    {"rule": "!has(self.maximum) || !has(self.number_of_workers) || (self.number_of_workers <= self.maximum && (!has(self.minimum) || self.number_of_workers >= self.minimum))",
     "message": "number_of_workers is outside minimum and maximum: write a count between the two",
     "fieldPath": ".number_of_workers"},
]))]
pub struct WorkersSpec {
    #[serde(flatten)]
    pub role: RoleSpec,
    /// How many workers, from 1; default 1. With `maximum` it is the count to begin with.
    /// `kubectl scale` writes this field, so a manifest that uses `number_of_workers` cannot be scaled that way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub number_of_workers: Option<i32>,
    /// The same as `numberOfWorkers` in the spelling of the job protobuf. Write one of the two.
    #[serde(
        default,
        rename = "number_of_workers",
        skip_serializing_if = "Option::is_none"
    )]
    #[schemars(range(min = 1, max = 10_000))]
    pub number_of_workers_snake_case: Option<i32>,
    /// Threads of each worker that run tasks, from 1. Default: the cpu limit (else the request) rounded up, else 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub threads: Option<i32>,
    /// Dask's abstract resources of each worker: name to amount, for tasks annotated with `resources`.
    /// A limit on nvidia.com/gpu advertises GPU unless it is set here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 16, "x-kubernetes-validations" = rules::of_dask_resources()))]
    pub dask_resources: BTreeMap<String, f64>,
    /// Fewest workers when the group adapts to its load. Needs `maximum`; default 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10_000))]
    pub minimum: Option<i32>,
    /// Most workers when the group adapts to its load. Unset: the group keeps its count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub maximum: Option<i32>,
}

/// A further group of workers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct WorkerGroupSpec {
    /// Name of the group: lower-case letters, digits and `-`, beginning with a letter; not `default`.
    #[schemars(
        length(min = 1, max = 32),
        extend("x-kubernetes-validations" = rules::of_group_name())
    )]
    pub name: String,
    #[serde(flatten)]
    pub workers: WorkersSpec,
}
