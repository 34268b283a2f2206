//! `daskjob plan` where an operator is installed: it takes the operator's settings from its Deployment.

use std::fs;
use std::path::Path;
use std::process::Command;

use cluster::{Cluster, eventually, on_fake_nodes};
use contract::yaml;
use serde_json::{Value, json};

use crate::chart::{OnTheNode, Release};

/// What `daskjob plan` prints, and what it says.
fn plan(program: &Path, cluster: &Cluster, namespace: &str, manifest: &Value) -> (String, String) {
    let file = std::env::temp_dir().join(format!("daskjob-plan-{namespace}.yaml"));
    fs::write(&file, manifest.to_string()).expect("a file can be written");
    let output = Command::new(program)
        .args(["plan", "--output", "yaml", "--namespace", namespace])
        .arg(&file)
        .env("KUBECONFIG", cluster.kubeconfig())
        .output()
        .expect("the program can be started");
    fs::remove_file(&file).expect("it was written");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (printed, said) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{printed}{said}");
    (printed, said)
}

/// What a pod has from the operator's settings, and not from the job.
fn settings_of(pod: &Value) -> Value {
    let spec = &pod["spec"];
    let container = &spec["containers"][0];
    json!({
        "image": container["image"],
        "policy": container["imagePullPolicy"],
        "command": container["command"],
        "secrets": spec["imagePullSecrets"],
        "grace": spec["terminationGracePeriodSeconds"],
        "nonRoot": [spec["securityContext"]["runAsNonRoot"], container["securityContext"]["runAsNonRoot"]],
    })
}

#[test]
fn a_plan_shows_the_objects_that_the_installed_operator_makes() {
    Release::on_the_node("preview", async |node| {
        let OnTheNode {
            cluster,
            chart,
            release,
            mut values,
            program,
        } = node;
        values["jobs"] = json!({
            "imagePullPolicy": "IfNotPresent",
            "imagePullSecrets": ["registry"],
            "terminationGraceSeconds": 17,
            "runAsNonRoot": true,
        });
        release.install_without_definition(&chart, &values);
        let job = json!({
            "apiVersion": "daskjob.dev/v1alpha1",
            "kind": "DaskJob",
            "metadata": {"name": "seen"},
            "spec": {"job": {"command": ["x"]}, "template": {"spec": on_fake_nodes()}},
        });
        let namespace = &release.namespace;
        let (printed, said) = plan(&program, cluster, namespace, &job);
        assert!(!said.contains("settings cannot be seen"), "{said}");
        let documents = yaml::parse_documents(&printed).expect("it is YAML");
        let planned = |kind: &str, name: &str| {
            let mut objects = documents.iter().map(|(_, object)| object);
            let is_it =
                |object: &&Value| object["kind"] == kind && object["metadata"]["name"] == name;
            let found = objects.find(is_it);
            found.unwrap_or_else(|| panic!("{kind} {name} is not in {printed}"))
        };

        let path = Cluster::jobs_path(namespace);
        let taken = cluster.send("POST", &path, &job).await;
        taken.expect("the job is taken");
        let made = |kind: &str, name: &str| -> Option<Value> {
            let arguments = ["get", kind, name, "--namespace", namespace, "-o", "json"];
            let answer = cluster.kubectl(&arguments, "");
            answer
                .success
                .then(|| serde_json::from_str(&answer.stdout).expect("JSON"))
        };
        for name in [
            "seen-1-scheduler",
            "seen-1-runner",
            "seen-1-worker-default-0",
        ] {
            eventually("the pod is made", async || made("pod", name).is_some()).await;
            let pod = made("pod", name).expect("it was there");
            assert_eq!(
                settings_of(planned("Pod", name)),
                settings_of(&pod),
                "{name}"
            );
            assert_eq!(pod["spec"]["terminationGracePeriodSeconds"], 17);
        }
        let policy = made("networkpolicy", "seen-1-access").expect("it is made first");
        // Whom the operator lets in beside the job's own pods: itself, by its place and labels.
        let operator = &policy["spec"]["ingress"][1];
        let shown = &planned("NetworkPolicy", "seen-1-access")["spec"]["ingress"][1];
        assert_eq!(shown, operator);
        let from = operator.to_string();
        assert!(
            from.contains(namespace.as_str()),
            "the operator's place: {from}"
        );
        release.kubectl(&["delete", "daskjob", "seen", "--wait"]);
    });
}
