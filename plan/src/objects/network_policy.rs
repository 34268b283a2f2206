//! Who may connect to the pods of an attempt: themselves, the operator to the scheduler's HTTP port, and whom the job
//! names to the scheduler's ports. Whoever may connect to Dask may run code, so the policy is there from the start.
//!
//! Egress is not limited: what a job reads and writes is its own business. Workers keep random ports: among the pods of an
//! attempt all are open, and a worker that starts anew inside its pod never meets its own old port.

use super::{Attempt, labels, metadata};
use contract::ports;
use serde_json::{Map, Value, json};

pub(super) fn network_policy(attempt: Attempt<'_>) -> Value {
    let name = crate::names::network_policy(&attempt.owner.name, attempt.number);
    let own_pods = json!({"matchLabels": labels::selecting(attempt, None)});
    let mut ingress = vec![json!({"from": [{"podSelector": own_pods}]})];
    if let Some(operator) = operator(attempt) {
        ingress.push(json!({"from": [operator], "ports": [tcp(ports::DASHBOARD)]}));
    }
    // An empty list of peers would stand for everybody.
    if !attempt.job.network_policy_from.is_empty() {
        ingress.push(json!({
            "from": attempt.job.network_policy_from,
            "ports": [tcp(ports::CLIENT), tcp(ports::DASHBOARD)],
        }));
    }
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata::of_object(attempt, &name, None),
        // One policy for all pods: workers and the program listen on neither of the scheduler's ports.
        "spec": {"podSelector": own_pods, "policyTypes": ["Ingress"], "ingress": ingress},
    })
}

fn operator(attempt: Attempt<'_>) -> Option<Value> {
    let namespace = attempt.config.operator_namespace.as_ref()?;
    let mut pods = Map::new();
    if !attempt.config.operator_labels.is_empty() {
        pods.insert(
            "matchLabels".to_owned(),
            json!(attempt.config.operator_labels),
        );
    }
    Some(json!({
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "podSelector": pods,
    }))
}

fn tcp(port: u16) -> Value {
    json!({"protocol": "TCP", "port": port})
}
