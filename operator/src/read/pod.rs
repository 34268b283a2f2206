//! A pod: of all that a pod is, what the life of a job depends on.
//!
//! Thousands of them are held, so nothing else is kept, not even for a moment: fields that are not named here are
//! skipped while the text is read.

use super::{owner_of, time_of, version_of};
use crate::store::{Child, Seen};
use contract::Role;
use contract::timestamp::Timestamp;
use k8s_openapi::api::core::v1::Pod as KubernetesPod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{
    ObjectMeta, OwnerReference, Time as MetaTime,
};
use kube::Resource;
use plan::life::{Container, Creating, Pod, PodPhase, Terminated, Waiting};
use plan::objects::labels::{self, PodIdentity};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What is read of a pod.
#[derive(Debug, Clone, Deserialize)]
#[serde(from = "Wire")]
pub struct SlimPod {
    metadata: ObjectMeta,
    node: Option<String>,
    status: Status,
}

#[derive(Debug, Deserialize)]
struct Wire {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    deletion_timestamp: Option<MetaTime>,
    labels: Option<BTreeMap<String, String>>,
    owner_references: Option<Vec<OwnerReference>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    phase: Option<String>,
    reason: Option<String>,
    message: Option<String>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    start_time: Option<Timestamp>,
    conditions: Vec<Condition>,
    init_container_statuses: Vec<ContainerStatus>,
    container_statuses: Vec<ContainerStatus>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Condition {
    #[serde(rename = "type")]
    type_: String,
    status: String,
    reason: Option<String>,
    message: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct ContainerStatus {
    name: String,
    image: String,
    ready: bool,
    state: State,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct State {
    waiting: Option<StateWaiting>,
    running: Option<StateRunning>,
    terminated: Option<StateTerminated>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct StateWaiting {
    reason: Option<String>,
    message: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StateRunning {
    started_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct StateTerminated {
    exit_code: i32,
    signal: Option<i32>,
    reason: Option<String>,
    message: Option<String>,
    finished_at: Option<Timestamp>,
}

impl From<Wire> for SlimPod {
    fn from(wire: Wire) -> Self {
        let metadata = wire.metadata;
        SlimPod {
            metadata: ObjectMeta {
                name: metadata.name,
                namespace: metadata.namespace,
                uid: metadata.uid,
                resource_version: metadata.resource_version,
                deletion_timestamp: metadata.deletion_timestamp,
                labels: metadata.labels,
                owner_references: metadata.owner_references,
                ..ObjectMeta::default()
            },
            node: wire.spec.node_name,
            status: wire.status,
        }
    }
}

impl Resource for SlimPod {
    type DynamicType = ();
    type Scope = <KubernetesPod as Resource>::Scope;

    fn kind(_: &()) -> Cow<'_, str> {
        KubernetesPod::kind(&())
    }

    fn group(_: &()) -> Cow<'_, str> {
        KubernetesPod::group(&())
    }

    fn version(_: &()) -> Cow<'_, str> {
        KubernetesPod::version(&())
    }

    fn plural(_: &()) -> Cow<'_, str> {
        KubernetesPod::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// What every container waits for.
const ORDINARY: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// The pod of a job; `None` for a pod that is not one, or whose labels somebody changed.
pub fn read_pod(slim: SlimPod) -> Option<Seen> {
    let (owner_uid, owner_name) = owner_of(&slim.metadata)?;
    let identity = labels::read(slim.metadata.labels.as_ref()?)?;
    let SlimPod {
        metadata,
        node,
        status,
    } = slim;
    let version = version_of(&metadata);
    let address = status
        .pod_ip
        .clone()
        .filter(|_| identity.role == Role::Scheduler);
    Some(Seen {
        namespace: metadata.namespace.unwrap_or_default(),
        owner_uid,
        owner_name,
        version,
        address,
        child: Child::Pod(pod_of(
            metadata.name?,
            metadata.uid?,
            metadata.deletion_timestamp.is_some(),
            identity,
            node,
            status,
        )),
    })
}

fn pod_of(
    name: String,
    uid: String,
    deleting: bool,
    identity: PodIdentity,
    node: Option<String>,
    status: Status,
) -> Pod {
    let phase = match status.phase.as_deref() {
        Some("Running") => PodPhase::Running,
        Some("Succeeded") => PodPhase::Succeeded,
        Some("Failed") => PodPhase::Failed,
        Some("Unknown") => PodPhase::Unknown,
        Some(_) | None => PodPhase::Pending,
    };
    let own = status
        .container_statuses
        .iter()
        .find(|container| container.name == identity.role.as_str());
    let is_ready = status.is_true("Ready").is_some();
    Pod {
        name,
        uid,
        attempt: identity.attempt,
        role: identity.role,
        worker: identity.group.zip(identity.number),
        phase,
        deleting,
        ready: own.map_or(is_ready, |container| container.ready || is_ready),
        has_address: status.pod_ip.is_some(),
        node,
        disruption: status
            .is_true("DisruptionTarget")
            .map(|condition| condition.reason.clone().unwrap_or_default()),
        unschedulable: status.unschedulable(),
        container: status.container(own, phase),
        waiting: status.waiting(),
        creating: status.creating(own),
        reason: status.reason,
        message: status.message,
    }
}

impl Status {
    fn is_true(&self, type_: &str) -> Option<&Condition> {
        self.conditions
            .iter()
            .find(|condition| condition.type_ == type_ && condition.status == "True")
    }

    fn unschedulable(&self) -> Option<String> {
        let placed = self
            .conditions
            .iter()
            .find(|condition| condition.type_ == "PodScheduled" && condition.status == "False")?;
        let why = placed.reason.as_deref().unwrap_or_default();
        ["Unschedulable", "SchedulingGated", "SchedulerError"]
            .contains(&why)
            .then(|| placed.message.clone().unwrap_or_else(|| why.to_owned()))
    }

    fn container(&self, own: Option<&ContainerStatus>, phase: PodPhase) -> Container {
        let started = || {
            self.start_time
                .as_ref()
                .and_then(time_of)
                .unwrap_or_default()
        };
        let Some(own) = own else {
            // A fake node says of no container that it runs.
            return match (phase, self.container_statuses.is_empty()) {
                (PodPhase::Running, true) => Container::Running { since: started() },
                (_, _) => Container::Waiting,
            };
        };
        match &own.state {
            State {
                terminated: Some(end),
                ..
            } => Container::Terminated(Terminated {
                exit_code: end.exit_code,
                signal: end.signal,
                reason: end.reason.clone(),
                message: end.message.clone(),
                finished: end.finished_at.as_ref().and_then(time_of),
            }),
            State {
                running: Some(run), ..
            } => Container::Running {
                since: run
                    .started_at
                    .as_ref()
                    .and_then(time_of)
                    .unwrap_or_else(started),
            },
            State { .. } => Container::Waiting,
        }
    }

    fn creating(&self, own: Option<&ContainerStatus>) -> Option<Creating> {
        let own = own?;
        let reason = own.state.waiting.as_ref()?.reason.as_deref()?;
        if !ORDINARY.contains(&reason) || own.image.is_empty() {
            return None;
        }
        let inits = &self.init_container_statuses;
        let has_run = |container: &ContainerStatus| {
            let ended = container.state.terminated.as_ref();
            ended.is_some_and(|ended| ended.exit_code == 0)
        };
        Some(Creating {
            image: own.image.clone(),
            only_image_is_missing: !inits.is_empty() && inits.iter().all(has_run),
        })
    }

    fn waiting(&self) -> Option<Waiting> {
        let all = self
            .init_container_statuses
            .iter()
            .chain(&self.container_statuses);
        all.filter_map(|container| container.state.waiting.as_ref())
            .find_map(|waiting| {
                let reason = waiting.reason.clone()?;
                (!ORDINARY.contains(&reason.as_str())).then(|| Waiting {
                    reason,
                    message: waiting.message.clone(),
                })
            })
    }
}

#[cfg(test)]
mod tests;
