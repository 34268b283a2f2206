//! The operator as it is installed: in a pod of its own image, by the chart, with no more rights than it needs.

use cluster::{OPERATOR_IMAGE, WORKER_IMAGE};

use crate::scene::{Scene, without_operator};

/// Repository and tag as the chart's values want them.
fn values_of(key: &str, image: &str) -> [String; 2] {
    let (repository, tag) = image.rsplit_once(':').expect("the image has a tag");
    [
        format!("{key}.repository={repository}"),
        format!("{key}.tag={tag}"),
    ]
}

fn install(scene: &Scene<'_>) {
    let namespace = scene.namespace();
    let mut values = vec![
        format!("watchNamespaces={{{namespace}}}"),
        // Both are the cluster's, and other tests have their own idea of them.
        "crds.install=false".to_owned(),
        "rbac.aggregateRoles=false".to_owned(),
    ];
    values.extend(values_of("image", OPERATOR_IMAGE));
    values.extend(values_of("workerImage", WORKER_IMAGE));
    let values = values.join(",");
    let chart = "charts/daskjob-operator";
    let helm = [
        "install", "operator", chart, "-n", namespace, "--set", &values,
    ];
    let wait = ["--wait", "--timeout", "120s"];
    let helm = [&helm[..], &wait].concat();
    scene.cluster.run("helm", &helm).expect_success();
}

fn kubectl(scene: &Scene<'_>, arguments: &[&str]) -> String {
    let all = [arguments, &["-n", scene.namespace()]].concat();
    scene.cluster.kubectl(&all, "").expect_success()
}

#[test]
fn the_quickstart_is_applied_and_completes() {
    without_operator("in-a-pod", async |scene| {
        install(scene);
        kubectl(
            scene,
            &["apply", "-f", "manifests/examples/quickstart.yaml"],
        );
        scene.completes("quickstart").await;
        assert_eq!(
            scene.log("quickstart-1-runner").trim_end(),
            "the squares of 0 to 999 sum up to 332833500"
        );
        kubectl(scene, &["delete", "daskjob", "quickstart"]);
        scene.is_gone("quickstart").await;
        let selector = "app.kubernetes.io/instance=operator";
        let log = kubectl(scene, &["logs", "--selector", selector, "--tail=-1"]);
        assert!(log.contains("a job has moved on"), "{log}");
        for bad in ["forbidden", "panicked", "WARN", "ERROR"] {
            assert!(!log.contains(bad), "{log}");
        }
        let gone = ["uninstall", "operator", "-n", scene.namespace(), "--wait"];
        scene.cluster.run("helm", &gone).expect_success();
    });
}
