//! The labels of what a job owns, the selectors that find them, and what a pod's labels say about it.
//!
//! Selectors go by the job's uid: a job that is deleted and made again under its name must not find the old one's pods.

use super::{Attempt, Part};
use contract::Role;
use contract::labels as keys;
use std::collections::BTreeMap;

/// Finds everything the operator makes, for its watches.
pub fn selector_of_all() -> String {
    let (key, value) = keys::MANAGED_BY;
    format!("{key}={value}")
}

/// Finds what one job owns, of all attempts.
pub fn selector_of_job(owner_uid: &str) -> String {
    format!("{}={owner_uid}", keys::JOB_UID)
}

/// Which pod of its job a pod is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodIdentity {
    pub attempt: u32,
    pub role: Role,
    /// Of a worker, as is its number.
    pub group: Option<String>,
    pub number: Option<u32>,
}

/// What a pod's labels say; `None` for a pod that is not one of ours, or whose labels somebody changed.
pub fn read(labels: &BTreeMap<String, String>) -> Option<PodIdentity> {
    let role = labels.get(keys::ROLE)?;
    let role = [Role::Scheduler, Role::Worker, Role::Runner]
        .into_iter()
        .find(|known| known.as_str() == role)?;
    let (group, number) = match role {
        Role::Worker => (
            Some(labels.get(keys::WORKER_GROUP)?.clone()),
            Some(labels.get(keys::WORKER_NUMBER)?.parse().ok()?),
        ),
        Role::Scheduler | Role::Runner => (None, None),
    };
    Some(PodIdentity {
        attempt: labels.get(keys::ATTEMPT)?.parse().ok()?,
        role,
        group,
        number,
    })
}

/// What selects the pods of an attempt, or those of one role in it.
pub(super) fn selecting(attempt: Attempt<'_>, role: Option<Role>) -> BTreeMap<String, String> {
    let mut labels = BTreeMap::from([
        (keys::JOB_UID.to_owned(), attempt.owner.uid.clone()),
        (keys::ATTEMPT.to_owned(), attempt.number.to_string()),
    ]);
    if let Some(role) = role {
        labels.insert(keys::ROLE.to_owned(), role.to_string());
    }
    labels
}

/// Labels of ours on an object that belongs to the attempt as a whole or to a role.
///
/// There is no `app.kubernetes.io/instance`: Argo CD takes an object that carries it for one of its own.
pub(super) fn of_object(attempt: Attempt<'_>, role: Option<Role>) -> BTreeMap<String, String> {
    let mut labels = selecting(attempt, role);
    for (key, value) in [keys::NAME, keys::MANAGED_BY] {
        labels.insert(key.to_owned(), value.to_owned());
    }
    labels.insert(
        keys::JOB_NAME.to_owned(),
        crate::names::label_value(&attempt.owner.name),
    );
    if let Some(role) = role {
        labels.insert(keys::COMPONENT.to_owned(), role.to_string());
    }
    labels
}

/// Labels of ours on a pod.
pub(super) fn of_pod(attempt: Attempt<'_>, part: Part<'_>) -> BTreeMap<String, String> {
    let mut labels = of_object(attempt, Some(part.role()));
    if let Part::Worker { group, number } = part {
        labels.insert(keys::WORKER_GROUP.to_owned(), group.name.clone());
        labels.insert(keys::WORKER_NUMBER.to_owned(), number.to_string());
    }
    labels
}
