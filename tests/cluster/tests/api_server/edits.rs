//! What of a stored job may be edited, and by whom.

use cluster::{Cluster, Refusal, Tier, on_cluster};
use serde_json::{Value, json};

use crate::table::{cases, job};

/// Stores the old spec and tries to put the new one in its place.
async fn edit(cluster: &Cluster, path: &str, case: &Value) -> Result<Value, Refusal> {
    let stored = cluster
        .send("POST", path, &job("edited", &case["old"]))
        .await;
    let mut edited = stored.unwrap_or_else(|refusal| panic!("{}: {refusal:?}", case["rule"]));
    edited["spec"] = case["new"].clone();
    let one = format!("{path}/edited");
    let answer = cluster.send("PUT", &one, &edited).await;
    cluster
        .send("DELETE", &one, &json!({}))
        .await
        .expect("it can be deleted");
    answer
}

#[test]
fn edits_are_taken_or_refused_as_the_table_says() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        cluster.install_definitions();
        let namespace = cluster.namespace("edits").await;
        let path = Cluster::jobs_path(namespace.name());
        for case in cases("edits") {
            let rule = &case["rule"];
            match edit(&cluster, &path, &case).await {
                Ok(_) => assert_eq!(case["allowed"], true, "{rule}: was taken"),
                Err(refusal) => {
                    assert_eq!(case["allowed"], false, "{rule}: {refusal:?}");
                    let field = case["field"]
                        .as_str()
                        .expect("a refused edit names its field");
                    let cause = refusal.causes.iter().find(|(named, _)| named == field);
                    let (_, sentence) = cause.unwrap_or_else(|| panic!("{rule}: {refusal:?}"));
                    let says = case["says"]
                        .as_str()
                        .unwrap_or("only while the job is suspended");
                    assert!(sentence.contains(says), "{rule}: {sentence}");
                }
            }
        }
    });
}

#[test]
fn kubectl_scale_changes_the_number_of_workers() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        cluster.install_definitions();
        let namespace = cluster.namespace("scale").await;
        let path = Cluster::jobs_path(namespace.name());
        let spec = json!({"job": {"command": ["x"]}, "workers": {"numberOfWorkers": 2}});
        cluster
            .send("POST", &path, &job("scaled", &spec))
            .await
            .expect("it is accepted");
        let one = format!("{path}/scaled");
        let scale = cluster
            .send("GET", &format!("{one}/scale"), &json!({}))
            .await;
        assert_eq!(scale.expect("it has a scale")["spec"]["replicas"], 2);
        let arguments = ["scale", "dj/scaled", "--replicas=5", "-n", namespace.name()];
        cluster.kubectl(&arguments, "").expect_success();
        let scaled = cluster
            .send("GET", &one, &json!({}))
            .await
            .expect("it is there");
        assert_eq!(scaled["spec"]["workers"]["numberOfWorkers"], 5);
    });
}

#[test]
fn kubectl_scale_is_refused_with_the_remedy_where_it_cannot_work() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        cluster.install_definitions();
        let namespace = cluster.namespace("no-scale").await;
        let path = Cluster::jobs_path(namespace.name());
        for (name, workers, remedy) in [
            (
                "adaptive",
                json!({"numberOfWorkers": 1, "maximum": 9}),
                "maximum",
            ),
            (
                "snake",
                json!({"number_of_workers": 2}),
                "write one of them",
            ),
            (
                "none",
                json!({"numberOfWorkers": 2}),
                "greater than or equal to 1",
            ),
        ] {
            let spec = json!({"job": {"command": ["x"]}, "workers": workers});
            cluster
                .send("POST", &path, &job(name, &spec))
                .await
                .expect("it is accepted");
            let replicas = if name == "none" {
                "--replicas=0"
            } else {
                "--replicas=5"
            };
            let one = format!("dj/{name}");
            let answer = cluster.kubectl(&["scale", &one, replicas, "-n", namespace.name()], "");
            assert!(
                !answer.success && answer.stderr.contains(remedy),
                "{name}: {answer:?}"
            );
        }
    });
}
