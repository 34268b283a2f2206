//! Operators as the chart installs them, on the real node.

use cluster::{Cluster, eventually};
use serde_json::{Value, json};

use crate::chart::{OnTheNode, Release};

/// Somebody holds the Lease, and will for long: who waits for it reads everything and writes nothing.
pub async fn hold_lease(cluster: &Cluster, namespace: &str, name: &str) {
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": name},
        "spec": {
            "holderIdentity": "a-test",
            "leaseDurationSeconds": 86_400,
            "acquireTime": "2020-01-01T00:00:00.000000Z",
            "renewTime": now(cluster),
            "leaseTransitions": 1,
        },
    });
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases");
    let made = cluster.send("POST", &path, &lease).await;
    made.expect("a Lease can be made");
}

/// The cluster's own time, as the heartbeat of a node tells it.
fn now(cluster: &Cluster) -> String {
    let path = "jsonpath={.spec.renewTime}";
    let ask = ["get", "lease", "node0", "-n", "kube-node-lease", "-o", path];
    cluster.kubectl(&ask, "").expect_success()
}

#[test]
fn an_operator_of_all_namespaces_has_the_rights_to_list_what_it_needs() {
    Release::on_the_node("everywhere", async |node| {
        let OnTheNode {
            cluster,
            chart,
            release,
            mut values,
            ..
        } = node;
        hold_lease(cluster, &release.namespace, "everywhere-daskjob-operator").await;
        values["watchNamespaces"] = json!([]);
        values["replicas"] = json!(2);
        // Ready is who has listed everything.
        release.install_without_definition(&chart, &values);
        let logs = [
            "logs",
            "--selector=app.kubernetes.io/instance=everywhere",
            "--prefix",
        ];
        let said = release.kubectl(&logs);
        assert_eq!(said.matches("the operator starts").count(), 2, "{said}");
        for bad in ["forbidden", "jobs are looked at", "panicked"] {
            assert!(!said.contains(bad), "{bad}: {said}");
        }
        let budget = release.kubectl(&["get", "poddisruptionbudgets", "-o", "json"]);
        let budget: Value = serde_json::from_str(&budget).expect("JSON");
        let status = &budget["items"][0]["status"];
        assert_eq!(status["expectedPods"], 2, "{status}");
        eventually("one may go at a time", async || {
            let allowed = "jsonpath={.items[0].status.disruptionsAllowed}";
            release.kubectl(&["get", "poddisruptionbudgets", "-o", allowed]) == "1"
        })
        .await;
    });
}

#[test]
fn the_second_replica_goes_on_where_the_first_was_told_to_stop() {
    Release::on_the_node("pair", async |node| {
        let OnTheNode {
            cluster,
            chart,
            release,
            mut values,
            ..
        } = node;
        values["replicas"] = json!(2);
        release.install_without_definition(&chart, &values);
        let holder = || {
            let path = "jsonpath={.spec.holderIdentity}";
            release.kubectl(&["get", "lease", "pair-daskjob-operator", "-o", path])
        };
        let mut first = String::new();
        eventually("one of them leads", async || {
            first = holder();
            first.starts_with("pair-daskjob-operator")
        })
        .await;
        release.kubectl(&["delete", "pod", &first, "--wait=false"]);
        eventually("the other one leads", async || {
            let holder = holder();
            holder != first && holder.starts_with("pair-daskjob-operator")
        })
        .await;
        eventually("it acts", async || {
            // It may be one that was made in place of the first.
            let logs = ["logs", &holder(), "--namespace", &release.namespace];
            let said = cluster.kubectl(&logs, "");
            said.stdout.contains("jobs are looked at")
        })
        .await;
    });
}

/// As Prometheus would read it, through the API server.
pub async fn metrics(cluster: &Cluster, namespace: &str, pod: &str) -> String {
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}:8080/proxy/metrics");
    let answer = cluster.kubectl(&["get", "--raw", &path], "");
    answer.expect_success()
}
