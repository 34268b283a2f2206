//! A DaskJob as it is stored, and what it means.
//!
//! Its spec is read as data: one that no release of ours understands becomes refusals, which the plan turns into a
//! condition, instead of an object that nobody can tell from one that is not there.

use crate::store::StoredJob;
use contract::labels;
use contract::status::JobStatus;
use crd::DaskJob;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use plan::Defaults;
use plan::life::Job;
use plan::objects::Owner;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::borrow::Cow;

/// A DaskJob whose spec and status are any JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RawJob {
    pub metadata: ObjectMeta,
    #[serde(default)]
    pub spec: Value,
    #[serde(default)]
    pub status: Value,
}

impl Resource for RawJob {
    type DynamicType = ();
    type Scope = <DaskJob as Resource>::Scope;

    fn kind(_: &()) -> Cow<'_, str> {
        DaskJob::kind(&())
    }

    fn group(_: &()) -> Cow<'_, str> {
        DaskJob::group(&())
    }

    fn version(_: &()) -> Cow<'_, str> {
        DaskJob::version(&())
    }

    fn plural(_: &()) -> Cow<'_, str> {
        DaskJob::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Where a job was cannot be read, so nothing may be done with it.
#[derive(Debug, thiserror::Error)]
#[error("read the status of the job")]
pub struct UndecodableStatus(#[from] serde_json::Error);

/// What a stored job is and means.
pub fn read_job(
    raw: RawJob,
    defaults: &Defaults,
    cluster_domain: &str,
) -> Result<StoredJob, UndecodableStatus> {
    let RawJob {
        metadata,
        spec,
        status,
    } = raw;
    let status: JobStatus = match status {
        Value::Null => JobStatus::default(),
        status => serde_json::from_value(status)?,
    };
    let name = metadata.name.unwrap_or_default();
    let namespace = metadata.namespace.unwrap_or_default();
    let uid = metadata.uid.unwrap_or_default();
    let annotations = metadata.annotations.unwrap_or_default();
    let manifest = json!({
        "apiVersion": crd::api_version(),
        "kind": crd::KIND,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    });
    let mut resolved = plan::resolve_manifest(&manifest, defaults);
    if status.finished().is_some()
        && let Ok(job) = &mut resolved
        && let Some(runner) = &mut job.job
    {
        // Nothing is made of them any more, and they may be large.
        runner.files = plan::Files::default();
    }
    let cancelled = annotations
        .get(labels::CANCEL)
        .filter(|said| said.as_str() != "false");
    Ok(StoredJob {
        version: metadata.resource_version.unwrap_or_default(),
        job: Job {
            name: name.clone(),
            namespace: namespace.clone(),
            cluster_domain: cluster_domain.to_owned(),
            uid: uid.clone(),
            generation: metadata.generation.unwrap_or_default(),
            deleting: metadata.deletion_timestamp.is_some(),
            cancelled: cancelled.cloned(),
            resolved,
            status,
        },
        owner: Owner {
            name,
            namespace,
            uid,
            labels: metadata.labels.unwrap_or_default(),
            annotations,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(job: Value) -> StoredJob {
        let raw = serde_json::from_value(job).unwrap();
        read_job(raw, &Defaults::default(), "cluster.local").unwrap()
    }

    fn manifest(spec: Value) -> Value {
        json!({
            "apiVersion": crd::api_version(), "kind": crd::KIND, "spec": spec,
            "metadata": {"name": "etl", "namespace": "team", "uid": "u", "generation": 3, "resourceVersion": "7"},
        })
    }

    #[test]
    fn a_job_without_a_status_is_new() {
        let stored = read(manifest(json!({"job": {"command": ["a"]}})));
        assert!(stored.job.resolved.is_ok());
        assert_eq!(stored.job.status, JobStatus::default());
        assert_eq!((stored.job.generation, stored.version.as_str()), (3, "7"));
        assert!(!stored.job.deleting && stored.job.cancelled.is_none());
    }

    #[test]
    fn a_spec_that_makes_no_sense_is_refused_not_lost() {
        for spec in [
            json!({"job": {"command": "a"}}),
            json!([]),
            json!({"color": "red"}),
        ] {
            let stored = read(manifest(spec.clone()));
            assert!(stored.job.resolved.is_err(), "{spec}");
        }
    }

    #[test]
    fn a_job_is_cancelled_by_its_annotation() {
        for (said, cancelled) in [
            ("too slow", true),
            ("", true),
            ("true", true),
            ("false", false),
        ] {
            let mut job = manifest(json!({"job": {"command": ["a"]}}));
            job["metadata"]["annotations"] = json!({labels::CANCEL: said});
            assert_eq!(read(job).job.cancelled.is_some(), cancelled, "{said:?}");
        }
    }

    #[test]
    fn a_status_nobody_can_read_is_an_error() {
        let mut job = manifest(json!({}));
        job["status"] = json!({"attempt": "first"});
        let raw = serde_json::from_value(job).unwrap();
        assert!(read_job(raw, &Defaults::default(), "cluster.local").is_err());
    }
}
