//! What the API server holds of a job's status: the operator may err, but not against these.

use cluster::{Cluster, Refusal, Tier, on_cluster};
use serde_json::{Value, json};

use crate::table::job;

/// A condition, and the status it is in.
fn conditions(all: &[(&str, &str)]) -> Value {
    let conditions: Vec<_> = all
        .iter()
        .map(|(name, status)| {
            json!({
                "type": name,
                "status": status,
                "reason": "Tested",
                "lastTransitionTime": "2026-01-02T03:04:05Z",
            })
        })
        .collect();
    json!({"status": {"conditions": conditions}})
}

async fn write(cluster: &Cluster, one: &str, status: Value) -> Result<Value, Refusal> {
    cluster
        .send("PATCH", &format!("{one}/status"), &status)
        .await
}

async fn stored_job(cluster: &Cluster, namespace: &str) -> String {
    let path = Cluster::jobs_path(namespace);
    let spec = json!({"job": {"command": ["x"]}});
    cluster
        .send("POST", &path, &job("told", &spec))
        .await
        .expect("it is accepted");
    format!("{path}/told")
}

#[test]
fn a_terminal_condition_never_reverts() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        cluster.install_definitions();
        for terminal in ["Complete", "Failed"] {
            let namespace = cluster.namespace("terminal").await;
            let one = stored_job(&cluster, namespace.name()).await;
            let running = conditions(&[("Running", "True"), (terminal, "False")]);
            write(&cluster, &one, running).await.expect("it may run");
            let done = conditions(&[("Running", "False"), (terminal, "True")]);
            write(&cluster, &one, done).await.expect("it may end");
            for again in [
                conditions(&[("Running", "True"), (terminal, "False")]),
                conditions(&[("Running", "True")]),
                conditions(&[]),
                json!({"status": {"conditions": null}}),
                json!({"status": null}),
            ] {
                let answer = write(&cluster, &one, again.clone()).await;
                let refusal = answer.expect_err(&format!("{terminal} reverted: {again}"));
                assert!(refusal.message.contains("stays"), "{refusal:?}");
            }
            let torn_down = conditions(&[(terminal, "True"), ("TornDown", "True")]);
            write(&cluster, &one, torn_down)
                .await
                .expect("it may be torn down");
        }
    });
}

#[test]
fn a_job_is_never_both_complete_and_failed() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        cluster.install_definitions();
        let namespace = cluster.namespace("both").await;
        let one = stored_job(&cluster, namespace.name()).await;
        let both = conditions(&[("Complete", "True"), ("Failed", "True")]);
        let refusal = write(&cluster, &one, both)
            .await
            .expect_err("both were taken");
        assert!(refusal.message.contains("never both"), "{refusal:?}");
        let complete = conditions(&[("Complete", "True"), ("Failed", "False")]);
        write(&cluster, &one, complete)
            .await
            .expect("one of them is taken");
    });
}

#[test]
fn the_fullest_status_a_job_can_have_is_taken() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        cluster.install_definitions();
        let namespace = cluster.namespace("full").await;
        let one = stored_job(&cluster, namespace.name()).await;
        let names = [
            "Accepted",
            "ClusterReady",
            "Running",
            "Complete",
            "Failed",
            "Suspended",
            "TornDown",
        ];
        let all: Vec<_> = names.iter().map(|name| (*name, "False")).collect();
        let mut status = conditions(&all);
        status["status"]["failure"] = json!({
            "class": "Application", "reason": "ExitCode", "role": "runner", "pod": "p".repeat(253),
            "exitCode": 1, "message": "m".repeat(4096), "log": "l".repeat(4096),
        });
        let groups: Vec<_> = (0..17)
            .map(|number| json!({"name": format!("g{number}"), "desired": 10_000, "ready": 1, "lost": 2}))
            .collect();
        status["status"]["workers"] =
            json!({"desired": 170_000, "ready": 17, "lost": 34, "groups": groups});
        write(&cluster, &one, status).await.expect("it is taken");
    });
}
