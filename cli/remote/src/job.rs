//! A DaskJob as the API server has it. Its spec stays data, for a newer release may have stored it; what of its status
//! cannot be read counts as not there.

use crate::problem::Problem;
use contract::status::{ConditionStatus, JobStatus, Phase, condition, reason};
use kube::api::{ApiResource, DynamicObject};
use serde_json::Value;

/// What a start waits for that does not pass by itself.
const WAITS: [&str; 6] = [
    reason::CONTAINER_CONFIG,
    reason::FORBIDDEN,
    reason::IMAGE_UNAVAILABLE,
    reason::POD_REFUSED,
    reason::QUOTA_EXCEEDED,
    reason::UNSCHEDULABLE,
];

/// One job.
#[derive(Debug, Clone)]
pub struct Job {
    pub object: DynamicObject,
    pub status: JobStatus,
}

/// Our kind, for a client of any kinds.
pub fn resource() -> ApiResource {
    ApiResource::erase::<crd::DaskJob>(&())
}

impl From<DynamicObject> for Job {
    fn from(object: DynamicObject) -> Self {
        let status = object.data.get("status").cloned().unwrap_or_default();
        let status = serde_json::from_value(status).unwrap_or_default();
        Job { object, status }
    }
}

impl Job {
    pub fn name(&self) -> &str {
        self.object.metadata.name.as_deref().unwrap_or_default()
    }

    pub fn namespace(&self) -> &str {
        self.object
            .metadata
            .namespace
            .as_deref()
            .unwrap_or_default()
    }

    pub fn uid(&self) -> &str {
        self.object.metadata.uid.as_deref().unwrap_or_default()
    }

    pub fn spec(&self) -> &Value {
        &self.object.data["spec"]
    }

    pub fn is_interactive(&self) -> bool {
        self.spec()["job"].is_null()
    }

    pub fn is_finished(&self) -> bool {
        self.status.finished().is_some()
    }

    pub fn is_being_deleted(&self) -> bool {
        self.object.metadata.deletion_timestamp.is_some()
    }

    /// Whether an operator has looked at it since it was last edited.
    pub fn is_observed(&self) -> bool {
        self.status.observed_generation.is_some()
            && self.status.observed_generation >= self.object.metadata.generation
    }

    /// What its start waits for, if that is more than time: reason and message.
    pub fn waits_for(&self) -> Option<(&str, &str)> {
        let ready = self
            .status
            .conditions
            .iter()
            .find(|condition| condition.type_ == condition::CLUSTER_READY)?;
        let waits = ready.status == ConditionStatus::False
            && !self.is_finished()
            && WAITS.contains(&ready.reason.as_str());
        waits.then_some((&ready.reason, &ready.message))
    }

    /// The one word for people.
    pub fn state(&self) -> String {
        match (self.is_being_deleted(), self.status.job_status) {
            (true, _) => "Deleting".to_owned(),
            (false, phase) => word_of(phase).to_owned(),
        }
    }
}

/// A phase as the status writes it.
pub fn word_of(phase: Phase) -> &'static str {
    match phase {
        Phase::Suspended => "Suspended",
        Phase::Pending => "Pending",
        Phase::Starting => "Starting",
        Phase::Running => "Running",
        Phase::Complete => "Complete",
        Phase::Failed => "Failed",
    }
}

/// A job whose end cannot be changed any more.
pub fn refuse_finished(job: &Job, asked: &str) -> Result<(), Problem> {
    match job.status.finished() {
        None => Ok(()),
        Some(phase) => Err(Problem::refused(
            format!(
                "{} is {} already: it cannot {asked}",
                job.name(),
                word_of(phase)
            ),
            "submit it again under another name",
        )),
    }
}

/// The name of a job on the command line; `daskjob/NAME`, as kubectl prints it, is understood too.
pub fn name_argument(text: &str) -> Result<String, String> {
    let name = match text.split_once('/') {
        None => text,
        Some(("dj" | "daskjob" | "daskjobs" | "daskjob.daskjob.dev", name)) => name,
        Some((other, _)) => {
            return Err(format!(
                "{other} is not a kind of ours: write the name of a DaskJob"
            ));
        }
    };
    match name.is_empty() {
        true => Err("the name of the job is empty".to_owned()),
        false => Ok(name.to_owned()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    /// A job with this spec and status.
    pub fn job(spec: Value, status: Value) -> Job {
        let object: DynamicObject = serde_json::from_value(json!({
            "apiVersion": crd::api_version(),
            "kind": crd::KIND,
            "metadata": {
                "name": "etl", "namespace": "team", "uid": "u-1", "generation": 2,
                "creationTimestamp": "2026-11-21T12:00:00Z",
            },
            "spec": spec,
            "status": status,
        }))
        .unwrap();
        Job::from(object)
    }

    #[test]
    fn a_status_nobody_can_read_counts_as_none() {
        let odd = job(json!({}), json!({"attempt": "first"}));
        assert_eq!(odd.status, JobStatus::default());
        assert_eq!(odd.state(), "Pending");
    }

    #[test]
    fn a_name_may_be_written_as_kubectl_prints_it() {
        assert_eq!(name_argument("etl").unwrap(), "etl");
        assert_eq!(name_argument("daskjob.daskjob.dev/etl").unwrap(), "etl");
        assert!(name_argument("pod/etl").is_err());
        assert!(name_argument("dj/").is_err());
    }

    #[test]
    fn an_edit_is_observed_once_its_generation_is() {
        let observed =
            |generation| job(json!({}), json!({"observedGeneration": generation})).is_observed();
        assert!(!observed(1) && observed(2));
        assert!(!job(json!({}), json!({})).is_observed());
    }
}
