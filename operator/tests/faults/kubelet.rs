//! What the cluster does with pods, one step a second: they start, register, end and go.

use crate::storage::{NAMESPACE, Storage, is_over};
use contract::labels;
use contract::timestamp::Timestamp;
use futures::future::BoxFuture;
use operator::facts::{AskError, Question, Said, Schedulers};
use plan::life::WorkerFact;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

/// What the cluster does beside what is stored.
#[derive(Default)]
pub struct Cluster {
    pub retired: BTreeSet<String>,
    pub desired_workers: Option<u32>,
    pub idle_since: Option<f64>,
    /// Runners whose program has begun, by name.
    pub runners_begun: BTreeSet<String>,
}

pub fn name_of(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap().to_owned()
}

fn is_deleting(pod: &Value) -> bool {
    !pod["metadata"]["deletionTimestamp"].is_null()
}

/// Pending pods start, those that are being deleted go, retired workers end.
pub fn step(storage: &mut Storage, cluster: &mut Cluster, wall_seconds: u64) {
    let pods: Vec<Value> = storage.of("pods").cloned().collect();
    let now = Timestamp::from_unix_seconds(wall_seconds);
    for pod in pods {
        let name = name_of(&pod);
        if is_deleting(&pod) {
            storage.remove("pods", &name);
        } else if pod["status"]["phase"] == "Pending" {
            start(storage, &name, &now);
            let role = &pod["metadata"]["labels"][labels::ROLE];
            assert!(
                role != "runner" || cluster.runners_begun.insert(name.clone()),
                "{name} runs twice"
            );
        } else if cluster.retired.contains(&name) && !is_over(&pod) {
            end(storage, &name, 0, &now);
        }
    }
}

fn start(storage: &mut Storage, name: &str, now: &Timestamp) {
    let address = format!("10.0.0.{name}");
    storage.change("pods", name, |pod| {
        let role = pod["metadata"]["labels"][labels::ROLE].clone();
        pod["spec"]["nodeName"] = "n1".into();
        pod["status"] = json!({
            "phase": "Running", "podIP": address, "startTime": now,
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": role, "ready": true, "state": {"running": {"startedAt": now}}}],
        });
    });
}

/// The container of a pod ends.
pub fn end(storage: &mut Storage, name: &str, exit_code: i32, now: &Timestamp) {
    storage.change("pods", name, |pod| {
        let role = pod["metadata"]["labels"][labels::ROLE].clone();
        let (phase, reason) = match exit_code {
            0 => ("Succeeded", "Completed"),
            137 => ("Failed", "OOMKilled"),
            _ => ("Failed", "Error"),
        };
        let terminated = json!({"exitCode": exit_code, "reason": reason, "finishedAt": now});
        pod["status"] = json!({
            "phase": phase,
            "containerStatuses": [{"name": role, "ready": false, "state": {"terminated": terminated}}],
        });
    });
}

/// Schedulers as the storage has them: one answers while its pod runs.
pub struct FakeSchedulers {
    pub server: crate::server::Server,
    pub cluster: Arc<Mutex<Cluster>>,
}

impl FakeSchedulers {
    fn said(&self, host: &str) -> Option<Said> {
        let storage = self.server.storage();
        let scheduler = storage
            .of("pods")
            .find(|pod| pod["status"]["podIP"] == host)?;
        let of_pod = |pod: &Value, label: &str| pod["metadata"]["labels"][label].clone();
        let attempt = of_pod(scheduler, labels::ATTEMPT);
        let leads_here = |service: &Value| {
            let selector = service["spec"]["selector"].as_object();
            selector.is_some_and(|selector| {
                let labels = &scheduler["metadata"]["labels"];
                selector.iter().all(|(key, value)| labels[key] == *value)
            })
        };
        // They register at the name of the Service.
        let is_found = storage.of("services").any(leads_here);
        let workers = storage.of("pods").filter(|pod| {
            is_found
                && of_pod(pod, labels::ROLE) == "worker"
                && of_pod(pod, labels::ATTEMPT) == attempt
                && pod["status"]["phase"] == "Running"
        });
        let fact = |pod: &Value| {
            let name = name_of(pod);
            let address = format!("tcp://{name}");
            let (processing, result_bytes) = (0, 0);
            (
                name,
                WorkerFact {
                    address,
                    processing,
                    result_bytes,
                },
            )
        };
        let cluster = self.cluster.lock().unwrap();
        Some(Said {
            workers: workers.map(fact).collect(),
            desired_workers: cluster.desired_workers,
            idle_since: cluster.idle_since,
        })
    }
}

impl Schedulers for FakeSchedulers {
    fn ask(&self, question: Question) -> BoxFuture<'static, Result<Said, AskError>> {
        assert_ne!(question.host, NAMESPACE);
        let said = self.said(&question.host).ok_or(AskError::Refused(502));
        Box::pin(std::future::ready(said))
    }

    fn retire(
        &self,
        _: Question,
        workers: Vec<String>,
    ) -> BoxFuture<'static, Result<(), AskError>> {
        let names = workers
            .iter()
            .map(|address| address.trim_start_matches("tcp://").to_owned());
        self.cluster.lock().unwrap().retired.extend(names);
        Box::pin(std::future::ready(Ok(())))
    }
}
