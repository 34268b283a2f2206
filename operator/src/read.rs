//! From what the API server sends to what the plan is made from. Pure and total: whatever an object holds, reading it
//! gives a value, or nothing for what is not ours.

mod job;
mod pod;

pub use job::{RawJob, UndecodableStatus, read_job};
pub use pod::{SlimPod, read_pod};

use crate::store::{Child, Seen, Uid, version_number};
use contract::timestamp::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use plan::life::{Object, ObjectKind, Time};

/// Service, ConfigMap or NetworkPolicy of a job, from its metadata.
pub fn read_object(kind: ObjectKind, metadata: &ObjectMeta) -> Option<Seen> {
    let (owner_uid, owner_name) = owner_of(metadata)?;
    let attempt = metadata
        .labels
        .as_ref()
        .and_then(|labels| labels.get(contract::labels::ATTEMPT))
        .and_then(|number| number.parse().ok());
    let has_selector = metadata
        .annotations
        .as_ref()
        .is_some_and(|annotations| annotations.contains_key(contract::labels::HAS_SELECTOR));
    Some(Seen {
        namespace: metadata.namespace.clone().unwrap_or_default(),
        owner_uid,
        owner_name,
        version: version_of(metadata),
        address: None,
        child: Child::Object(Object {
            kind,
            name: metadata.name.clone()?,
            uid: metadata.uid.clone()?,
            attempt: attempt.unwrap_or_default(),
            deleting: metadata.deletion_timestamp.is_some(),
            has_selector,
        }),
    })
}

/// The job that an object belongs to: labels may be anybody's, its controller is the API server's to check.
pub fn owner_of(metadata: &ObjectMeta) -> Option<(Uid, String)> {
    let owner = metadata.owner_references.iter().flatten().find(|owner| {
        owner.controller == Some(true)
            && owner.kind == crd::KIND
            && owner.api_version.starts_with(&format!("{}/", crd::GROUP))
    })?;
    Some((Uid::from(owner.uid.as_str()), owner.name.clone()))
}

fn version_of(metadata: &ObjectMeta) -> Option<u64> {
    version_number(metadata.resource_version.as_deref()?)
}

fn time_of(timestamp: &Timestamp) -> Option<Time> {
    timestamp.unix_seconds().map(Time)
}
