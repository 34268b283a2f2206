//! What other tests rely on: rights are checked, pods are placed and run, orphans are collected.

use cluster::{Cluster, Tier, eventually, on_cluster};
use serde_json::{Value, json};

/// A pod for a fake node.
fn pod(name: &str) -> Value {
    let mut spec = cluster::on_fake_nodes();
    spec["containers"] = json!([{"name": "main", "image": "nothing"}]);
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
}

#[test]
fn a_pod_on_a_fake_node_ends_as_its_annotation_says() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        let namespace = cluster.namespace("ends").await;
        let pods = format!("/api/v1/namespaces/{}/pods", namespace.name());
        for (name, code, phase) in [("well", 0, "Succeeded"), ("badly", 7, "Failed")] {
            let mut ending = pod(name);
            ending["metadata"]["annotations"] = json!({
                "daskjob.dev/test-exit-code": code.to_string(),
                "daskjob.dev/test-exit-after": "100ms",
            });
            cluster
                .send("POST", &pods, &ending)
                .await
                .expect("it is accepted");
            eventually("it ended", async || {
                let pod = cluster
                    .send("GET", &format!("{pods}/{name}"), &json!({}))
                    .await;
                let status = pod.expect("it is there")["status"].clone();
                let exit = &status["containerStatuses"][0]["state"]["terminated"]["exitCode"];
                status["phase"] == phase && *exit == code
            })
            .await;
        }
    });
}

#[test]
fn a_pod_is_placed_on_a_fake_node_and_runs() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        let namespace = cluster.namespace("pods").await;
        let pods = format!("/api/v1/namespaces/{}/pods", namespace.name());
        cluster
            .send("POST", &pods, &pod("fake"))
            .await
            .expect("it is accepted");
        eventually("the pod runs", async || {
            let pod = cluster
                .send("GET", &format!("{pods}/fake"), &json!({}))
                .await;
            pod.expect("it is there")["status"]["phase"] == "Running"
        })
        .await;
    });
}

#[test]
fn a_pod_that_does_not_ask_for_a_fake_node_stays_away_from_them() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        let namespace = cluster.namespace("away").await;
        let pods = format!("/api/v1/namespaces/{}/pods", namespace.name());
        let mut real = pod("real");
        real["spec"]["tolerations"] = json!([]);
        cluster
            .send("POST", &pods, &real)
            .await
            .expect("it is accepted");
        eventually("the scheduler says why", async || {
            let pod = cluster
                .send("GET", &format!("{pods}/real"), &json!({}))
                .await;
            let pod = pod.expect("it is there");
            let why = pod["status"]["conditions"][0]["message"]
                .as_str()
                .unwrap_or_default();
            why.contains("untolerated taint")
        })
        .await;
    });
}

#[test]
fn a_service_account_without_a_role_may_do_nothing() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        let namespace = cluster.namespace("rights").await;
        let who = format!("--as=system:serviceaccount:{}:default", namespace.name());
        let arguments = ["get", "pods", "-n", namespace.name(), &who];
        let answer = cluster.kubectl(&arguments, "");
        assert!(
            !answer.success && answer.stderr.contains("forbidden"),
            "{answer:?}"
        );
    });
}

#[test]
fn what_a_job_owns_goes_with_it() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        cluster.install_definitions();
        let namespace = cluster.namespace("owned").await;
        let jobs = Cluster::jobs_path(namespace.name());
        let owner = crate::table::job("owner", &json!({}));
        let owner = cluster
            .send("POST", &jobs, &owner)
            .await
            .expect("it is accepted");
        let maps = format!("/api/v1/namespaces/{}/configmaps", namespace.name());
        let owned = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {
            "name": "owned",
            "ownerReferences": [{
                "apiVersion": crd::api_version(), "kind": crd::KIND, "name": "owner",
                "uid": owner["metadata"]["uid"], "controller": true, "blockOwnerDeletion": true,
            }],
        }});
        cluster
            .send("POST", &maps, &owned)
            .await
            .expect("it is accepted");
        cluster
            .send("DELETE", &format!("{jobs}/owner"), &json!({}))
            .await
            .expect("it is deleted");
        eventually("the config map is gone", async || {
            let map = cluster
                .send("GET", &format!("{maps}/owned"), &json!({}))
                .await;
            map.is_err_and(|refusal| refusal.code == 404)
        })
        .await;
    });
}
