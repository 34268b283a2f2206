//! Metadata of what a job owns: name, owner, and the user's labels and annotations without what belongs to others.

use super::{Attempt, Owner, Part, labels};
use contract::Role;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Domains (and everything below them) whose labels and annotations say something about the DaskJob alone. Copied to a
/// pod, they make a tool take it for its own: some prune by label what their own lists do not name.
const DOMAINS_OF_OTHERS: [&str; 13] = [
    "applyset.kubernetes.io",
    "argocd.argoproj.io",
    "cattle.io",
    "config.k8s.io",
    "config.kubernetes.io",
    "dask.org",
    "daskjob.dev",
    "fluxcd.io",
    "helm.sh",
    "kapp.k14s.io",
    "kopf.zalando.org",
    "kubectl.kubernetes.io",
    "kueue.x-k8s.io",
];

/// The label that Argo CD and Helm find their objects by.
const INSTANCE: &str = "app.kubernetes.io/instance";

/// Which container `kubectl logs` shows where there are several.
const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// Keeps the cluster autoscaler from moving a pod whose loss costs the attempt.
const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict";

/// Does this label or annotation belong to somebody else, or is it reserved?
pub(super) fn is_of_others(key: &str) -> bool {
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    key == INSTANCE
        || DOMAINS_OF_OTHERS.iter().any(|other| {
            domain
                .strip_suffix(other)
                .is_some_and(|before| before.is_empty() || before.ends_with('.'))
        })
}

/// Is this label or annotation reserved, so that no template sets it?
pub(super) fn is_reserved(key: &str) -> bool {
    key.starts_with(contract::labels::PREFIX)
}

/// Metadata of an object that is no pod. Annotations of the user stay on pods: on a Service they would make other
/// controllers act.
pub(super) fn of_object(attempt: Attempt<'_>, name: &str, role: Option<Role>) -> Value {
    let mut all = copied(&attempt.owner.labels);
    all.extend(labels::of_object(attempt, role));
    json!({
        "name": name,
        "namespace": attempt.owner.namespace,
        "labels": all,
        "ownerReferences": [owner_reference(attempt.owner)],
    })
}

/// Metadata of a pod.
pub(super) fn of_pod(attempt: Attempt<'_>, part: Part<'_>) -> Value {
    let mut all = copied(&attempt.owner.labels);
    all.extend(labels::of_pod(attempt, part));
    let mut annotations = copied(&attempt.owner.annotations);
    annotations.insert(DEFAULT_CONTAINER.to_owned(), part.role().to_string());
    if part.role() != Role::Worker {
        annotations.insert(SAFE_TO_EVICT.to_owned(), "false".to_owned());
    }
    json!({
        "name": part.name(attempt),
        "namespace": attempt.owner.namespace,
        "labels": all,
        "annotations": annotations,
        "ownerReferences": [owner_reference(attempt.owner)],
    })
}

fn copied(of_user: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    of_user
        .iter()
        .filter(|(key, _)| !is_of_others(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

fn owner_reference(owner: &Owner) -> Value {
    json!({
        "apiVersion": crd::api_version(),
        "kind": crd::KIND,
        "name": owner.name,
        "uid": owner.uid,
        "controller": true,
        "blockOwnerDeletion": true,
    })
}
