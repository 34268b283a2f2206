//! What every test of a job has: a namespace, an operator for it, and what there is of its jobs.
//!
//! Invariant: a test that has passed leaves nothing, and has seen that of each of its jobs nothing was left that should
//! not be.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use cluster::{Cluster, Workplace, in_a_workplace, within};
use contract::status::{Failure, JobStatus, Phase, condition};
use contract::{Role, labels};
use serde_json::{Value, json};

use crate::cues::Cues;

/// How long any step of a job may take on a busy machine.
const LONGEST: Duration = Duration::from_secs(180);

/// Everything a job may be made of, beside its resource.
const KINDS: [(&str, &str); 4] = [
    ("pods", "/api/v1"),
    ("services", "/api/v1"),
    ("configmaps", "/api/v1"),
    ("networkpolicies", "/apis/networking.k8s.io/v1"),
];

pub struct Scene<'a> {
    workplace: Workplace<'a>,
    pub cues: Cues,
}

impl<'a> Deref for Scene<'a> {
    type Target = Workplace<'a>;

    fn deref(&self) -> &Workplace<'a> {
        &self.workplace
    }
}

impl<'a> DerefMut for Scene<'a> {
    fn deref_mut(&mut self) -> &mut Workplace<'a> {
        &mut self.workplace
    }
}

/// Runs a test with an operator of its own.
pub fn with_operator(purpose: &str, test: impl AsyncFnOnce(&mut Scene<'_>)) {
    without_operator(purpose, async |scene| {
        scene.start_operator();
        test(scene).await;
    });
}

/// The same for a test that brings the operator itself.
pub fn without_operator(purpose: &str, test: impl AsyncFnOnce(&mut Scene<'_>)) {
    in_a_workplace(purpose, env!("CARGO_TARGET_TMPDIR"), async |workplace| {
        let mut scene = Scene {
            workplace,
            cues: Cues::listen().await,
        };
        test(&mut scene).await;
        scene.end().await;
    });
}

// The job's resource.
impl Scene<'_> {
    pub async fn submit(&self, job: &Value) {
        let path = Cluster::jobs_path(self.namespace());
        let taken = self.cluster.send("POST", &path, job).await;
        taken.expect("the API server takes the job");
    }

    /// The whole resource, while there is one.
    pub async fn resource(&self, job: &str) -> Option<Value> {
        let path = format!("{}/{job}", Cluster::jobs_path(self.namespace()));
        match self.cluster.send("GET", &path, &json!({})).await {
            Ok(resource) => Some(resource),
            Err(refusal) if refusal.code == 404 => None,
            Err(refusal) => panic!("{refusal:?}"),
        }
    }

    pub async fn status(&self, job: &str) -> JobStatus {
        let mut resource = self.resource(job).await.expect("the job is there");
        match resource["status"].take() {
            Value::Null => JobStatus::default(),
            status => serde_json::from_value(status).expect("the status is ours"),
        }
    }

    /// A merge patch: what is in it, in place of what was there.
    pub async fn patch(&self, job: &str, patch: &Value) {
        let path = format!("{}/{job}", Cluster::jobs_path(self.namespace()));
        let taken = self.cluster.send("PATCH", &path, patch).await;
        taken.expect("the API server takes the change");
    }

    pub async fn delete(&self, job: &str) {
        let path = format!("{}/{job}", Cluster::jobs_path(self.namespace()));
        let taken = self.cluster.send("DELETE", &path, &json!({})).await;
        taken.expect("the job can be deleted");
    }

    /// Waits until the job's status is as it should be; shows what is, where it never is.
    pub async fn until(
        &self,
        job: &str,
        what: &str,
        mut so: impl FnMut(&JobStatus) -> bool,
    ) -> JobStatus {
        let mut last = JobStatus::default();
        let is_so = within(LONGEST, async || {
            last = self.status(job).await;
            so(&last)
        });
        if !is_so.await {
            self.give_up(what).await;
        }
        last
    }

    /// Waits until something else is so.
    pub async fn eventually(&self, what: &str, so: impl AsyncFnMut() -> bool) {
        if !within(LONGEST, so).await {
            self.give_up(what).await;
        }
    }

    async fn give_up(&self, what: &str) -> ! {
        let path = Cluster::jobs_path(self.namespace());
        let jobs = self.cluster.send("GET", &path, &json!({})).await;
        let statuses: Vec<Value> = jobs.map_or_else(
            |_| Vec::new(),
            |mut jobs| {
                let items = jobs["items"].as_array_mut().expect("a list has items");
                items.iter_mut().map(|job| job["status"].take()).collect()
            },
        );
        let pods = ["get", "pods", "-o", "wide", "-n", self.namespace()];
        panic!(
            "not within {LONGEST:?}: {what}\n{:#}\n{}\n{}",
            Value::from(statuses),
            self.cluster.kubectl(&pods, "").stdout,
            self.end_of_operator_log()
        );
    }

    /// The job's last status, once nothing of its cluster is left.
    pub async fn finished(&self, job: &str) -> JobStatus {
        let is_over =
            |status: &JobStatus| status.finished().is_some() && status.holds(condition::TORN_DOWN);
        let status = self.until(job, "it is over and torn down", is_over).await;
        self.eventually("only the runner's record is left", async || {
            let left = self.left_of(job).await;
            left.iter().all(|name| *name == record(job, &status))
        })
        .await;
        status
    }

    pub async fn completes(&self, job: &str) -> JobStatus {
        let status = self.finished(job).await;
        assert_eq!(status.job_status, Phase::Complete, "{status:#?}");
        assert_eq!(status.failure, None, "{status:#?}");
        status
    }

    /// Why the job failed.
    pub async fn fails(&self, job: &str) -> Failure {
        let status = self.finished(job).await;
        assert_eq!(status.job_status, Phase::Failed, "{status:#?}");
        status.failure.expect("a failed job says why")
    }

    /// Waits until a job that was deleted is gone, and all it was made of.
    pub async fn is_gone(&self, job: &str) {
        self.eventually("nothing of the job is left", async || {
            self.resource(job).await.is_none() && self.left_of(job).await.is_empty()
        })
        .await;
    }
}

/// The one pod that a finished job keeps: it has the log, and runs nothing.
fn record(job: &str, status: &JobStatus) -> String {
    format!("pods {job}-{}-runner", status.attempt)
}

// What the job is made of.
impl Scene<'_> {
    async fn list(&self, kind: &str, group: &str, selector: &str) -> Vec<Value> {
        let namespace = self.namespace();
        let path = format!("{group}/namespaces/{namespace}/{kind}?labelSelector={selector}");
        let mut list = self
            .cluster
            .send("GET", &path, &json!({}))
            .await
            .expect("it can be listed");
        match list["items"].take() {
            Value::Array(items) => items,
            _ => Vec::new(),
        }
    }

    /// Everything that carries the name of a job, as `kind name`.
    pub async fn left_of(&self, job: &str) -> Vec<String> {
        let selector = format!("{}%3D{job}", labels::JOB_NAME.replace('/', "%2F"));
        let mut left = Vec::new();
        for (kind, group) in KINDS {
            let objects = self.list(kind, group, &selector).await;
            let names = objects.iter().map(name_of);
            left.extend(names.map(|name| format!("{kind} {name}")));
        }
        left
    }

    pub async fn pods(&self, job: &str, role: Role) -> Vec<Value> {
        let selector = format!(
            "{}%3D{job},{}%3D{role}",
            labels::JOB_NAME.replace('/', "%2F"),
            labels::ROLE.replace('/', "%2F")
        );
        self.list("pods", "/api/v1", &selector).await
    }

    /// Deletes a pod as somebody with kubectl does.
    pub async fn delete_pod(&self, name: &str) {
        let path = format!("/api/v1/namespaces/{}/pods/{name}", self.namespace());
        let taken = self.cluster.send("DELETE", &path, &json!({})).await;
        taken.expect("the pod can be deleted");
    }

    /// What a container of ours has printed.
    pub fn log(&self, pod: &str) -> String {
        let answer = self
            .cluster
            .kubectl(&["logs", pod, "-n", self.namespace()], "");
        answer.expect_success()
    }

    /// Whether a container of the job runs now.
    pub async fn runs_anything(&self, job: &str) -> bool {
        for role in [Role::Scheduler, Role::Worker, Role::Runner] {
            for pod in self.pods(job, role).await {
                let containers = pod["status"]["containerStatuses"].as_array();
                let mut states = containers.into_iter().flatten();
                if states.any(|container| container["state"]["running"].is_object()) {
                    return true;
                }
            }
        }
        false
    }

    /// Deletes every job and sees all of it go.
    async fn end(&mut self) {
        let path = Cluster::jobs_path(self.namespace());
        let jobs = self.cluster.send("GET", &path, &json!({})).await;
        let jobs = jobs.expect("jobs can be listed");
        for job in jobs["items"].as_array().into_iter().flatten() {
            let name = name_of(job);
            if !self.has_operator() {
                self.start_operator();
            }
            self.delete(&name).await;
            self.is_gone(&name).await;
        }
    }
}

pub fn name_of(object: &Value) -> String {
    let name = object["metadata"]["name"].as_str();
    name.expect("every object has a name").to_owned()
}
