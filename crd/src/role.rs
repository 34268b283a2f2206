//! What every role of a job (scheduler, workers, runner) may say about its containers.

use crate::{Quantity, rules};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Image, resources, environment and pod template of one role.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RoleSpec {
    /// Container image. Default: `spec.image`. Ignored by `daskjob run`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024), extend("x-kubernetes-validations" = rules::of_image()))]
    pub image: Option<String>,
    /// Reserved for the container: resource name to amount (`cpu: 500m`, `memory: 2Gi`). A role that sets
    /// requests or limits replaces both of `spec`; a request that is unset takes the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16))]
    pub requests: Option<BTreeMap<String, Quantity>>,
    /// Upper bound for the container: resource name to amount. Unset: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 16))]
    pub limits: Option<BTreeMap<String, Quantity>>,
    /// Environment variables, added to those of `spec.env`; the same name here wins.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 128), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub env: Vec<EnvVar>,
    /// Pod metadata and pod spec parts: service account, pull secrets, tolerations, volumes, side cars.
    /// Containers, env, volumes and mounts merge by name. Ignored by `daskjob run`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
}

/// One environment variable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline, extend("x-kubernetes-validations" = rules::of_variable()))]
pub struct EnvVar {
    /// Name of the variable.
    #[schemars(
        length(min = 1, max = 253),
        extend("x-kubernetes-validations" = rules::of_variable_name())
    )]
    pub name: String,
    /// Text; `$(OTHER)` is replaced by a variable that is defined before, `$$` stands for `$`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65_536))]
    pub value: Option<String>,
    /// Where the cluster has the value, as in a pod (secretKeyRef, configMapKeyRef, fieldRef).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub value_from: Option<Value>,
}

/// Parts of a pod, merged into ours. Their fields are checked by the API server when pods are made.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(inline)]
pub struct Template {
    /// Labels and annotations of the pods.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub metadata: Option<Value>,
    /// Parts of the pod spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "any_object")]
    pub spec: Option<Value>,
}

/// Any object: typed, the pod template alone would make the CRD larger than `kubectl apply` takes.
pub(crate) fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "object", "x-kubernetes-preserve-unknown-fields": true})
}

/// A list of any objects.
pub(crate) fn any_objects(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": 16,
        "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    })
}
