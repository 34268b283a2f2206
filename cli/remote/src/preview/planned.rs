//! What a job would be made of, as the operator makes it: each object once, with how many there are of it. Pure.

use contract::Role;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use plan::objects::{self, ObjectConfig, Owner};
use plan::{ResolvedJob, ResolvedWorkerGroup};
use serde_json::Value;

/// One object.
#[derive(Debug, Clone)]
pub struct Planned {
    /// As permissions name it: `pods`, `networkpolicies.networking.k8s.io`.
    pub resource: &'static str,
    pub object: Value,
    /// How many like it there are at the beginning.
    pub count: u64,
    /// Of a pod.
    pub role: Option<Role>,
    /// Of a worker.
    pub group: Option<String>,
}

/// The first attempt, scheduler first as it is made.
pub fn of_job(config: &ObjectConfig, owner: &Owner, job: &ResolvedJob) -> Vec<Planned> {
    let attempt = 1;
    let thing = |resource, object| Planned {
        resource,
        object,
        count: 1,
        role: None,
        group: None,
    };
    let pod = |role, object| Planned {
        role: Some(role),
        ..thing("pods", object)
    };
    let mut all = vec![thing(
        "services",
        objects::scheduler_service(config, owner, job, attempt),
    )];
    all.extend(
        objects::files_config_map(config, owner, job, attempt)
            .map(|object| thing("configmaps", object)),
    );
    all.push(thing(
        "networkpolicies.networking.k8s.io",
        objects::network_policy(config, owner, job, attempt),
    ));
    all.push(pod(
        Role::Scheduler,
        objects::scheduler_pod(config, owner, job, attempt),
    ));
    all.extend(
        objects::runner_pod(config, owner, job, attempt).map(|object| pod(Role::Runner, object)),
    );
    for group in &job.worker_groups {
        all.push(Planned {
            count: u64::from(group.count),
            group: Some(group.name.clone()),
            ..pod(Role::Worker, worker(config, owner, job, group))
        });
    }
    all
}

fn worker(
    config: &ObjectConfig,
    owner: &Owner,
    job: &ResolvedJob,
    group: &ResolvedWorkerGroup,
) -> Value {
    objects::worker_pod(config, owner, job, 1, group, 0)
}

impl Planned {
    pub fn name(&self) -> &str {
        self.object["metadata"]["name"].as_str().unwrap_or_default()
    }

    pub fn kind(&self) -> &str {
        self.object["kind"].as_str().unwrap_or_default()
    }

    /// What it is to the person who wrote the manifest.
    pub fn title(&self) -> String {
        match (&self.role, &self.group) {
            (Some(Role::Worker), Some(group)) if group != crd::DEFAULT_GROUP => {
                format!("worker of {group}")
            }
            (Some(role), _) => role.to_string(),
            (None, _) => format!("{} {}", self.kind(), self.name()),
        }
    }

    /// The field of the manifest that says what a pod asks for.
    pub fn field(&self) -> String {
        match (&self.role, &self.group) {
            (Some(Role::Worker), Some(group)) if group != crd::DEFAULT_GROUP => {
                format!("spec.workerGroups[{group}]")
            }
            (Some(Role::Worker), _) => "spec.workers".to_owned(),
            (Some(Role::Scheduler), _) => "spec.scheduler".to_owned(),
            (Some(Role::Runner), _) => "spec.job".to_owned(),
            (None, _) => "spec".to_owned(),
        }
    }

    /// Of a pod, as far as it is one that makes sense.
    pub fn pod_spec(&self) -> Option<PodSpec> {
        self.role?;
        let pod: Pod = serde_json::from_value(self.object.clone()).ok()?;
        pod.spec
    }

    /// Where it is sent.
    pub fn path(&self, namespace: &str) -> String {
        let (plural, group) = self.resource.split_once('.').unwrap_or((self.resource, ""));
        match group {
            "" => format!("/api/v1/namespaces/{namespace}/{plural}"),
            group => format!("/apis/{group}/v1/namespaces/{namespace}/{plural}"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use plan::Defaults;
    use serde_json::json;

    /// What a spec would be made of.
    pub fn planned(spec: Value) -> Vec<Planned> {
        let manifest = json!({"apiVersion": crd::api_version(), "kind": crd::KIND, "metadata": {"name": "etl"}, "spec": spec});
        let job = plan::resolve_manifest(&manifest, &Defaults::default()).unwrap();
        let owner = Owner {
            name: "etl".to_owned(),
            namespace: "team".to_owned(),
            uid: "u-1".to_owned(),
            ..Owner::default()
        };
        of_job(&ObjectConfig::default(), &owner, &job)
    }

    #[test]
    fn each_object_is_there_once_with_its_count() {
        let all = planned(json!({
            "job": {"command": ["x"], "files": {"a.py": ""}},
            "workers": {"numberOfWorkers": 3},
            "workerGroups": [{"name": "gpu", "numberOfWorkers": 2}],
        }));
        let seen: Vec<(String, u64, String)> = all
            .iter()
            .map(|planned| (planned.title(), planned.count, planned.path("team")))
            .collect();
        let pods = "/api/v1/namespaces/team/pods".to_owned();
        let row = |title: &str, count, path: &str| (title.to_owned(), count, path.to_owned());
        assert_eq!(
            seen,
            [
                row(
                    "Service etl-1-scheduler",
                    1,
                    "/api/v1/namespaces/team/services"
                ),
                row(
                    "ConfigMap etl-1-files",
                    1,
                    "/api/v1/namespaces/team/configmaps"
                ),
                row(
                    "NetworkPolicy etl-1-access",
                    1,
                    "/apis/networking.k8s.io/v1/namespaces/team/networkpolicies"
                ),
                row("scheduler", 1, &pods),
                row("runner", 1, &pods),
                row("worker", 3, &pods),
                row("worker of gpu", 2, &pods),
            ]
        );
        assert!(
            all.iter()
                .filter(|planned| planned.role.is_some())
                .all(|planned| planned.pod_spec().is_some())
        );
    }
}
