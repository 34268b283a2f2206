//! Starts that wait: for a quota, an image, a node. The job says for what, and goes on by itself or ends at its deadline.
//!
//! One test cordons the real node for a moment: pods of other tests that come just then start a little later.

use cluster::Cluster;
use contract::status::{ConditionStatus, FailureClass, JobStatus, Phase, condition, reason};
use serde_json::{Value, json};

use crate::jobs::{ADDS, job};
use crate::scene::{Scene, with_operator};

async fn limit_pods(scene: &Scene<'_>, method: &str, pods: &str) {
    let quota = json!({
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "pods"},
        "spec": {"hard": {"pods": pods}},
    });
    let collection = format!("/api/v1/namespaces/{}/resourcequotas", scene.namespace());
    let path = match method {
        "POST" => collection.clone(),
        _ => format!("{collection}/pods"),
    };
    let taken = scene.cluster.send(method, &path, &quota).await;
    taken.expect("the quota is taken");
    // It counts once the controller has seen it.
    scene
        .eventually("the quota holds", async || {
            let path = format!("{collection}/pods");
            let quota = scene.cluster.send("GET", &path, &json!({})).await;
            quota.expect("it is there")["status"]["hard"]["pods"] == pods
        })
        .await;
}

/// What the condition ClusterReady says while the cluster is not.
fn waits_for<'s>(status: &'s JobStatus, why: &str) -> Option<&'s str> {
    let ready = status.conditions.iter().find(|known| {
        known.type_ == condition::CLUSTER_READY
            && known.status == ConditionStatus::False
            && known.reason == why
    })?;
    Some(&ready.message)
}

#[test]
fn a_job_without_room_in_the_quota_says_so_and_goes_on_when_there_is() {
    with_operator("quota", async |scene| {
        limit_pods(scene, "POST", "2").await;
        scene.submit(&job(scene, "waits", ADDS)).await;
        let status = scene
            .until("waits", "it waits for the quota", |status| {
                waits_for(status, reason::QUOTA_EXCEEDED).is_some()
            })
            .await;
        let said = waits_for(&status, reason::QUOTA_EXCEEDED).expect("it waits");
        for told in ["waits-1-worker-default-0", "exceeded quota: pods"] {
            assert!(said.contains(told), "{said}");
        }
        assert_eq!(status.job_status, Phase::Starting);
        limit_pods(scene, "PUT", "3").await;
        scene.completes("waits").await;
    });
}

#[test]
#[ignore = "the wait and the deadline are tested apart"]
fn a_quota_that_leaves_no_room_until_the_deadline_is_the_cause() {
    with_operator("no-quota", async |scene| {
        limit_pods(scene, "POST", "0").await;
        let mut waits = job(scene, "waits", ADDS);
        waits["spec"]["startDeadlineSeconds"] = json!(12);
        scene.submit(&waits).await;
        let failure = scene.fails("waits").await;
        assert_eq!(
            (failure.class, failure.reason.as_str()),
            (FailureClass::Quota, reason::START_DEADLINE_EXCEEDED),
            "{failure:#?}"
        );
        assert!(failure.message.contains("exceeded quota"), "{failure:#?}");
    });
}

#[test]
fn an_image_that_does_not_exist_is_waited_for_until_the_deadline() {
    with_operator("image", async |scene| {
        let mut nowhere = job(scene, "nowhere", ADDS);
        nowhere["spec"]["workers"]["image"] = json!("localhost/no/such:1");
        // A kubelet may tell of an image only 15 s after it has asked for it.
        nowhere["spec"]["startDeadlineSeconds"] = json!(30);
        scene.submit(&nowhere).await;
        let status = scene
            .until("nowhere", "it waits for the image", |status| {
                waits_for(status, reason::IMAGE_UNAVAILABLE).is_some()
            })
            .await;
        let said = waits_for(&status, reason::IMAGE_UNAVAILABLE).expect("it waits");
        assert!(said.contains("localhost/no/such:1"), "{said}");
        let failure = scene.fails("nowhere").await;
        assert_eq!(
            (failure.class, failure.reason.as_str()),
            (FailureClass::Image, reason::START_DEADLINE_EXCEEDED),
            "{failure:#?}"
        );
        assert!(
            failure.message.contains("localhost/no/such:1"),
            "{failure:#?}"
        );
    });
}

#[test]
#[ignore = "the same with a deadline that lets the kubelet speak first is tested always"]
fn a_deadline_that_is_sooner_than_the_kubelets_word_names_the_image() {
    with_operator("image-soon", async |scene| {
        let mut nowhere = job(scene, "nowhere", ADDS);
        nowhere["spec"]["workers"]["image"] = json!("localhost/no/such:1");
        nowhere["spec"]["startDeadlineSeconds"] = json!(9);
        scene.submit(&nowhere).await;
        let failure = scene.fails("nowhere").await;
        assert_eq!(failure.reason, reason::START_DEADLINE_EXCEEDED);
        for named in ["nowhere-1-worker-default-0", "localhost/no/such:1"] {
            assert!(failure.message.contains(named), "{failure:#?}");
        }
        println!("{failure:#?}");
    });
}

/// The real node takes no pods until this is dropped.
struct Cordoned<'a>(&'a Cluster, &'a str);

impl<'a> Cordoned<'a> {
    fn new(cluster: &'a Cluster, node: &'a str) -> Self {
        let cordoned = Cordoned(cluster, node);
        cluster.kubectl(&["cordon", node], "").expect_success();
        cordoned
    }
}

impl Drop for Cordoned<'_> {
    fn drop(&mut self) {
        self.0.kubectl(&["uncordon", self.1], "");
    }
}

#[test]
#[ignore = "it holds up every other test on the node"]
fn a_cordoned_node_is_waited_for() {
    with_operator("cordon", async |scene| {
        let mut waits = job(scene, "waits", ADDS);
        // Not on the fake nodes, which are tainted anyway.
        waits["spec"]["template"] =
            json!({"spec": {"nodeSelector": {"kubernetes.io/hostname": "node0"}}});
        let cordoned = Cordoned::new(scene.cluster, "node0");
        scene.submit(&waits).await;
        let status = scene
            .until("waits", "it waits for a node", |status| {
                waits_for(status, reason::UNSCHEDULABLE).is_some()
            })
            .await;
        drop(cordoned);
        let said = waits_for(&status, reason::UNSCHEDULABLE).expect("it waits");
        assert!(said.contains("unschedulable"), "{said}");
        scene.completes("waits").await;
    });
}

#[test]
fn what_the_namespace_forbids_is_told_with_the_rule_that_does() {
    with_operator("forbidden", async |scene| {
        let label = json!({"metadata": {"labels": {
            "pod-security.kubernetes.io/enforce": "restricted",
        }}});
        restrict(scene, &label).await;
        let mut forbidden = job(scene, "forbidden", ADDS);
        forbidden["spec"]["template"] = json!({"spec": {"hostNetwork": true}});
        forbidden["spec"]["startDeadlineSeconds"] = json!(20);
        scene.submit(&forbidden).await;
        let failure = scene.fails("forbidden").await;
        assert_eq!(
            (failure.class, failure.reason.as_str()),
            (FailureClass::Quota, reason::START_DEADLINE_EXCEEDED),
            "{failure:#?}"
        );
        assert!(failure.message.contains("host namespaces"), "{failure:#?}");
    });
}

/// Changes the test's own namespace.
pub async fn restrict(scene: &Scene<'_>, patch: &Value) {
    let path = format!("/api/v1/namespaces/{}", scene.namespace());
    let taken = scene.cluster.send("PATCH", &path, patch).await;
    taken.expect("the namespace can be changed");
}
