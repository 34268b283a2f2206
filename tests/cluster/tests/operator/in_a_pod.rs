//! The operator as it is installed: in a pod of its own image, with no more rights than it needs.

use cluster::{OPERATOR_IMAGE, WORKER_IMAGE};

use crate::scene::{Scene, without_operator};

/// One operator for one namespace, in that namespace.
fn manifest(namespace: &str) -> String {
    include_str!("operator.yaml")
        .replace("NAMESPACE", namespace)
        .replace("OPERATOR_IMAGE", OPERATOR_IMAGE)
        .replace("WORKER_IMAGE", WORKER_IMAGE)
}

fn kubectl(scene: &Scene<'_>, arguments: &[&str], input: &str) -> String {
    let mut all = arguments.to_vec();
    all.extend(["-n", scene.namespace()]);
    scene.cluster.kubectl(&all, input).expect_success()
}

#[test]
fn the_quickstart_is_applied_and_completes() {
    without_operator("in-a-pod", async |scene| {
        kubectl(scene, &["apply", "-f", "-"], &manifest(scene.namespace()));
        let available = ["wait", "--for=condition=Available", "--timeout=120s"];
        let available = [&available[..], &["deployment/daskjob-operator"]].concat();
        kubectl(scene, &available, "");
        let applied = ["apply", "-f", "manifests/examples/quickstart.yaml"];
        kubectl(scene, &applied, "");
        scene.completes("quickstart").await;
        assert_eq!(
            scene.log("quickstart-1-runner").trim_end(),
            "the squares of 0 to 999 sum up to 332833500"
        );
        kubectl(scene, &["delete", "daskjob", "quickstart"], "");
        scene.is_gone("quickstart").await;
        let log = kubectl(scene, &["logs", "deployment/daskjob-operator"], "");
        for bad in ["forbidden", "panicked"] {
            assert!(!log.contains(bad), "{log}");
        }
        kubectl(scene, &["delete", "deployment", "daskjob-operator"], "");
    });
}
