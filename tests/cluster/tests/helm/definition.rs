//! The definition's own life: with a release, after it, and where it was there before.
//!
//! Each test has a kind of its own: the real one with another name, so that all that is said of it here is true of that.

use cluster::{Cluster, Tier, eventually, on_cluster};
use serde_json::{Value, json};

use crate::chart::{Chart, Release, on_no_node, on_the_node};

const OWNER: &str = "meta.helm.sh/release-name";

async fn stored(cluster: &Cluster, chart: &Chart) -> Value {
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let path = format!("{path}/{}", chart.definition);
    let stored = cluster.send("GET", &path, &json!({})).await;
    stored.expect("the definition is there")
}

/// The bound of one field: what the tests change.
async fn most_retries(cluster: &Cluster, chart: &Chart) -> f64 {
    let stored = stored(cluster, chart).await;
    let schema = &stored["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let field = &schema["properties"]["spec"]["properties"]["backoffLimit"];
    field["maximum"].as_f64().expect("it has a bound")
}

fn with_most_retries(definition: &str, most: &str) -> String {
    let (before, after) = definition.split_once("backoffLimit:").expect("the field");
    format!("{before}backoffLimit:{}", after.replacen("100.0", most, 1))
}

/// An object of the kind, with so many retries.
fn job(chart: &Chart, namespace: &str, retries: u32) -> (String, Value) {
    let group = chart.definition.split_once('.').expect("a group").1;
    let object = json!({
        "apiVersion": format!("{group}/v1alpha1"),
        "kind": "ChartJob",
        "metadata": {"name": format!("retries-{retries}")},
        "spec": {"job": {"command": ["x"]}, "backoffLimit": retries},
    });
    let path = format!("/apis/{group}/v1alpha1/namespaces/{namespace}/chartjobs");
    (path, object)
}

#[test]
fn the_definition_and_its_objects_outlive_the_release_and_belong_to_the_next() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        let namespace = cluster.namespace("kept").await;
        let chart = Chart::with_own_definition("kept");
        let release = Release::new(&cluster, "first", &namespace);
        let values = on_no_node(&[namespace.name()]);
        release.install(&chart, &values).expect_success();
        assert!(release.has_definition());
        let (path, object) = job(&chart, namespace.name(), 3);
        eventually("the kind is served", async || {
            cluster.send("POST", &path, &object).await.is_ok()
        })
        .await;
        let said = release.uninstall().expect_success();
        assert!(said.contains("kept due to the resource policy"), "{said}");
        let path = format!("{path}/retries-3");
        let kept = cluster.send("GET", &path, &json!({})).await;
        let uid = kept.expect("the object is there")["metadata"]["uid"].clone();
        release.install(&chart, &values).expect_success();
        assert!(release.has_definition());
        let kept = cluster.send("GET", &path, &json!({})).await;
        assert_eq!(kept.expect("the object is there")["metadata"]["uid"], uid);
        chart.undefine(&cluster);
    });
}

#[test]
fn an_upgrade_changes_the_definition_and_a_rollback_changes_it_back() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        let namespace = cluster.namespace("changed").await;
        let chart = Chart::with_own_definition("changed");
        let release = Release::new(&cluster, "first", &namespace);
        let values = on_no_node(&[namespace.name()]);
        release.install(&chart, &values).expect_success();
        let (path, object) = job(&chart, namespace.name(), 50);
        eventually("the kind is served", async || {
            cluster.send("POST", &path, &object).await.is_ok()
        })
        .await;
        chart.change_definition(|definition| with_most_retries(definition, "7.0"));
        release.upgrade(&chart, &values).expect_success();
        assert_eq!(most_retries(&cluster, &chart).await, 7.0);
        let (path, more) = job(&chart, namespace.name(), 8);
        // An API server serves a new schema a moment after it has stored it.
        eventually("the bound holds", async || {
            let path = format!("{path}?dryRun=All");
            let refused = cluster.send("POST", &path, &more).await.err();
            refused.is_some_and(|why| why.message.contains("should be less than or equal to 7"))
        })
        .await;
        release.helm("rollback", &["1", "--wait"]).expect_success();
        assert_eq!(most_retries(&cluster, &chart).await, 100.0);
        eventually("the bound is gone", async || {
            let path = format!("{path}?dryRun=All");
            cluster.send("POST", &path, &more).await.is_ok()
        })
        .await;
        chart.undefine(&cluster);
    });
}

/// On the node, for the hook that takes it over is the operator's program.
#[test]
fn a_definition_that_kubectl_applied_is_upgraded_and_taken_over() {
    on_cluster(Tier::Node, async |cluster| {
        cluster.install_definitions();
        cluster.install_images();
        let namespace = cluster.namespace("taken").await;
        let chart = Chart::with_own_definition("taken");
        let older = with_most_retries(&chart.definition_text(), "7.0");
        cluster
            .kubectl(&["apply", "-f", "-"], &older)
            .expect_success();
        let (path, object) = job(&chart, namespace.name(), 3);
        eventually("the kind is served", async || {
            cluster.send("POST", &path, &object).await.is_ok()
        })
        .await;
        let release = Release::new(&cluster, "first", &namespace);
        let values = on_the_node(&[namespace.name()]);
        let said = release.install(&chart, &values).expect_success();
        assert!(said.contains("belongs to this release now"), "{said}");
        assert_eq!(most_retries(&cluster, &chart).await, 100.0);
        let annotations = stored(&cluster, &chart).await["metadata"]["annotations"].clone();
        assert_eq!(annotations[OWNER], "first", "{annotations}");
        assert_eq!(annotations["helm.sh/resource-policy"], "keep");
        let jobs = release.kubectl(&["get", "job,configmap,serviceaccount", "-o", "name"]);
        assert!(!jobs.contains("definition"), "{jobs}");

        // Helm 4 applies on the server's side, and forces nothing.
        let as_helm_4 = [
            "apply",
            "--server-side",
            "--field-manager=helm-4",
            "-f",
            "-",
        ];
        let said = cluster.kubectl(
            &as_helm_4,
            &with_most_retries(&chart.definition_text(), "8.0"),
        );
        assert!(said.success, "{said:#?}");
        assert_eq!(most_retries(&cluster, &chart).await, 8.0);

        // From now on it is Helm's like everything else.
        chart.change_definition(|definition| with_most_retries(definition, "9.0"));
        let said = release.upgrade(&chart, &values).expect_success();
        assert!(!said.contains("belongs to"), "{said}");
        assert!(release.has_definition());
        assert_eq!(most_retries(&cluster, &chart).await, 9.0);

        // And back: what the hook applied then, it applies again.
        release.helm("rollback", &["1", "--wait"]).expect_success();
        assert_eq!(most_retries(&cluster, &chart).await, 100.0);
        release.uninstall().expect_success();
        let path = format!("{path}/retries-3");
        let kept = cluster.send("GET", &path, &json!({})).await;
        kept.expect("the object is there");
        chart.undefine(&cluster);
    });
}

#[test]
fn a_definition_of_another_release_is_left_alone_unless_it_is_asked_for() {
    on_cluster(Tier::Node, async |cluster| {
        cluster.install_definitions();
        cluster.install_images();
        let (one, two) = (
            cluster.namespace("owner").await,
            cluster.namespace("guest").await,
        );
        let chart = Chart::with_own_definition("owner");
        // Of one name, and nothing of theirs that belongs to no namespace meets.
        let owner = Release::new(&cluster, "same", &one);
        let values = on_no_node(&[one.name()]);
        owner.install(&chart, &values).expect_success();
        chart.change_definition(|definition| with_most_retries(definition, "7.0"));
        let guest = Release::new(&cluster, "same", &two);
        let mut values = on_the_node(&[two.name()]);
        let said = guest.install(&chart, &values).expect_success();
        assert!(said.contains("belongs to another release"), "{said}");
        assert!(!guest.has_definition());
        assert_eq!(most_retries(&cluster, &chart).await, 100.0);

        owner.uninstall().expect_success();
        values["crds"] = json!({"takeOver": true});
        let said = guest.upgrade(&chart, &values).expect_success();
        assert!(said.contains("belongs to this release now"), "{said}");
        assert_eq!(most_retries(&cluster, &chart).await, 7.0);
        chart.undefine(&cluster);
    });
}

/// As Argo CD and pipes do it: nobody asks the cluster while rendering.
#[test]
fn what_is_rendered_is_applied_over_a_definition_that_is_there() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        let namespace = cluster.namespace("piped").await;
        let chart = Chart::with_own_definition("piped");
        let older = with_most_retries(&chart.definition_text(), "7.0");
        cluster
            .kubectl(&["apply", "-f", "-"], &older)
            .expect_success();
        let values = on_no_node(&[namespace.name()]);
        let rendered = chart
            .render(&cluster, namespace.name(), &values)
            .expect_success();
        assert!(!rendered.contains("helm.sh/hook"));
        for how in ["--server-side=false", "--server-side=true"] {
            let said = cluster.kubectl(&["apply", how, "-f", "-"], &rendered);
            assert!(said.success, "{how}: {said:#?}");
            assert_eq!(most_retries(&cluster, &chart).await, 100.0);
        }
        let keep = "--selector=app.kubernetes.io/instance=rendered";
        for kinds in ["clusterrole", "clusterrolebinding"] {
            let delete = ["delete", kinds, keep, "--ignore-not-found"];
            cluster.kubectl(&delete, "").expect_success();
        }
        chart.undefine(&cluster);
    });
}
