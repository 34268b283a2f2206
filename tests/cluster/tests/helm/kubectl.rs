//! `manifests/install`, for those who do not use Helm.

use std::fs;

use cluster::{Cluster, OPERATOR_IMAGE, Tier, WORKER_IMAGE, on_cluster};

use crate::chart::{objects, of_kind, the};
use crate::operators::hold_lease;

fn manifest(name: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../manifests/install");
    fs::read_to_string(format!("{path}/{name}")).expect("the manifest can be read")
}

/// In the test's namespace and with the images that are there.
fn adapted(namespace: &str) -> String {
    let text = manifest("daskjob-operator.yaml");
    let objects = objects(&text);
    let pod = &the(&objects, "Deployment")["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let image = container["image"].as_str().expect("it has an image");
    let environment = container["env"].as_array().expect("it has an environment");
    let worker = environment
        .iter()
        .find(|variable| variable["name"] == "DASKJOB_OPERATOR_WORKER_IMAGE")
        .and_then(|variable| variable["value"].as_str())
        .expect("it knows the worker image");
    text.replace("daskjob-system", namespace)
        .replace(image, OPERATOR_IMAGE)
        .replace(worker, WORKER_IMAGE)
}

/// It would run the jobs of all tests: somebody else holds its Lease.
#[test]
fn the_manifests_are_applied_in_both_ways_and_deleted() {
    on_cluster(Tier::Node, async |cluster| {
        cluster.install_definitions();
        cluster.install_images();
        let namespace = cluster.namespace("manifests").await;
        hold_lease(&cluster, namespace.name(), "daskjob-operator").await;
        let text = adapted(namespace.name());
        for how in ["--server-side=false", "--server-side=true"] {
            let said = cluster.kubectl(&["apply", how, "-f", "-"], &text);
            assert!(said.success, "{how}: {said:#?}");
            let deployment = "deployment/daskjob-operator";
            let timeout = "--timeout=120s";
            let wait = [
                "rollout",
                "status",
                deployment,
                timeout,
                "-n",
                namespace.name(),
            ];
            cluster.kubectl(&wait, "").expect_success();
        }
        delete_all_but_the_namespace(&cluster, &text);
    });
}

fn delete_all_but_the_namespace(cluster: &Cluster, text: &str) {
    let mut list = objects(text);
    list.retain(|object| object["kind"] != "Namespace");
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": list});
    let said = cluster.kubectl(&["delete", "-f", "-"], &list.to_string());
    let said = said.expect_success();
    assert_eq!(
        said.lines().count(),
        list["items"].as_array().map_or(0, Vec::len)
    );
}

/// Deleting the operator's must not delete the jobs.
#[test]
fn the_definition_is_in_a_file_of_its_own_and_first() {
    let operator = objects(&manifest("daskjob-operator.yaml"));
    assert!(of_kind(&operator, "CustomResourceDefinition").is_empty());
    let definition = objects(&manifest("daskjob-operator.crds.yaml"));
    assert_eq!(definition.len(), 1);
    let crds = concat!(env!("CARGO_MANIFEST_DIR"), "/../../manifests/crds");
    let path = format!("{crds}/daskjob.dev_daskjobs.yaml");
    let generated = objects(&fs::read_to_string(path).expect("the definition can be read"));
    assert_eq!(
        the(&definition, "CustomResourceDefinition")["spec"],
        the(&generated, "CustomResourceDefinition")["spec"]
    );
    // As `kubectl apply -f DIRECTORY` takes them.
    assert!("daskjob-operator.crds.yaml" < "daskjob-operator.yaml");
}

#[test]
fn nobody_is_told_that_helm_looks_after_what_kubectl_applied() {
    for name in ["daskjob-operator.yaml", "daskjob-operator.crds.yaml"] {
        let text = manifest(name);
        for mark in ["managed-by: Helm", "helm.sh/chart", "# Source:"] {
            assert!(!text.contains(mark), "{mark} in {name}");
        }
    }
}
