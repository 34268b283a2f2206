//! Templates: what of them arrives, and what they cannot change.

use super::*;

fn worker_of(spec: &str) -> Value {
    let job = job(spec);
    worker_pod(&config(), &owner("etl"), &job, 1, &job.worker_groups[0], 0)
}

/// A worker's pod with this pod spec as the template of all roles.
fn worker_with(template: Value) -> Value {
    worker_of(&json!({"image": "i", "template": {"spec": template}}).to_string())
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|item| item["name"].as_str().unwrap())
        .collect()
}

#[test]
fn what_only_a_template_says_arrives_as_it_is() {
    let pod = worker_with(json!({
        "serviceAccountName": "reader",
        "automountServiceAccountToken": true,
        "nodeSelector": {"disk": "fast"},
        "imagePullSecrets": [{"name": "registry"}],
        "priorityClassName": "high",
        "terminationGracePeriodSeconds": 30,
        "aFieldOfTomorrow": {"deep": [1, {"er": null}]},
    }));
    let spec = &pod["spec"];
    assert_eq!(spec["serviceAccountName"], "reader");
    assert_eq!(spec["automountServiceAccountToken"], true);
    assert_eq!(spec["nodeSelector"], json!({"disk": "fast"}));
    assert_eq!(spec["imagePullSecrets"], json!([{"name": "registry"}]));
    assert_eq!(spec["terminationGracePeriodSeconds"], 30);
    assert_eq!(spec["aFieldOfTomorrow"], json!({"deep": [1, {}]}));
}

#[test]
fn a_container_of_the_roles_name_is_ours_and_any_other_a_side_car() {
    let pod = worker_with(json!({
        "containers": [
            {"name": "logs", "image": "side:1"},
            {
                "name": "worker",
                "securityContext": {"readOnlyRootFilesystem": true},
                "env": [{"name": "A", "value": "1"}, {"name": "TMPDIR", "valueFrom": {"fieldRef": {"fieldPath": "x"}}}],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "data", "mountPath": "/tmp"}],
                "resources": {"claims": [{"name": "card"}]},
                "lifecycle": {"preStop": {}},
            },
        ],
        "initContainers": [{"name": "fetch", "image": "f"}, {"name": "daskjob-program", "resources": {"limits": {"cpu": "1"}}}],
        "volumes": [{"name": "data", "emptyDir": {}}, {"name": "daskjob-scratch", "emptyDir": {"medium": "Memory"}}],
    }));
    assert_eq!(names(&pod["spec"]["containers"]), ["worker", "logs"]);
    assert_eq!(
        names(&pod["spec"]["initContainers"]),
        ["daskjob-program", "fetch"]
    );
    assert_eq!(
        pod["spec"]["initContainers"][0]["resources"]["limits"]["cpu"],
        "1"
    );
    let main = main_container(&pod);
    assert_eq!(main["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(main["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(main["resources"]["claims"], json!([{"name": "card"}]));
    assert_eq!(env(&pod, "A").unwrap()["value"], "1");
    assert!(
        env(&pod, "DASKJOB_NAME").is_some(),
        "what a template does not name stays"
    );
    let replaced = env(&pod, "TMPDIR").unwrap();
    assert!(
        replaced["value"].is_null() && replaced["valueFrom"].is_object(),
        "a variable has one source"
    );
    let mounts = main["volumeMounts"].as_array().unwrap();
    let at_tmp: Vec<_> = mounts
        .iter()
        .filter(|mount| mount["mountPath"] == "/tmp")
        .collect();
    assert_eq!(at_tmp, [&json!({"name": "data", "mountPath": "/tmp"})]);
    assert!(
        mounts
            .iter()
            .any(|mount| mount["mountPath"] == "/daskjob/program")
    );
    let volumes = pod["spec"]["volumes"].as_array().unwrap();
    let scratch: Vec<_> = volumes
        .iter()
        .filter(|volume| volume["name"] == "daskjob-scratch")
        .collect();
    assert_eq!(
        scratch,
        [&json!({"name": "daskjob-scratch", "emptyDir": {"medium": "Memory"}})]
    );
}

#[test]
fn image_command_arguments_ports_restart_policy_and_labels_of_ours_stay() {
    let pod = worker_of(
        &json!({
            "image": "i",
            "template": {
                "metadata": {
                    "labels": {"daskjob.dev/job-uid": "forged", "daskjob.dev/new": "1", "app.kubernetes.io/name": null,
                        "app.kubernetes.io/component": "mine", "team": "b"},
                    "annotations": {"note": "x"},
                    "name": "other", "finalizers": ["x/y"],
                },
                "spec": {
                    "restartPolicy": "Always",
                    "containers": [{
                        "name": "worker", "image": "evil", "command": ["sh"], "args": ["-c"],
                        "ports": [{"name": "http-worker", "containerPort": 1}, {"containerPort": 8790}, {"name": "mine", "containerPort": 2}],
                    }],
                },
            },
        })
        .to_string(),
    );
    let plain = worker_of("{image: i}");
    for field in ["image", "command", "args"] {
        assert_eq!(main_container(&pod)[field], main_container(&plain)[field]);
    }
    assert_eq!(
        main_container(&pod)["ports"],
        json!([
            {"name": "http-worker", "containerPort": 8790, "protocol": "TCP"},
            {"name": "mine", "containerPort": 2},
        ])
    );
    assert_eq!(pod["spec"]["restartPolicy"], "Never");
    let mut labels = labels_of(&pod);
    assert_eq!(labels.remove("team").as_deref(), Some("b"));
    assert_eq!(labels, labels_of(&plain));
    assert_eq!(pod["metadata"]["annotations"]["note"], "x");
    assert_eq!(pod["metadata"]["name"], plain["metadata"]["name"]);
    assert!(pod["metadata"]["finalizers"].is_null());
}

#[test]
fn an_image_of_a_template_counts_where_no_field_has_one() {
    const TEMPLATE: &str = "template: {spec: {containers: [{name: worker, image: mine}, {name: runner, image: other}]}}";
    let image = |spec: &str| main_container(&worker_of(spec))["image"].clone();
    assert_eq!(image(&format!("{{{TEMPLATE}}}")), "mine");
    assert_eq!(image(&format!("{{image: ours, {TEMPLATE}}}")), "ours");
    assert_eq!(
        image(&format!("{{{TEMPLATE}, workers: {{image: ours}}}}")),
        "ours"
    );
    let own = "workers: {template: {spec: {containers: [{name: worker, image: own}]}}}";
    assert_eq!(image(&format!("{{{TEMPLATE}, {own}}}")), "own");
}

#[test]
fn the_template_of_a_role_comes_after_that_of_all() {
    let spec = "
template:
  metadata: {labels: {a: all, b: all}}
  spec:
    tolerations: [{key: x}]
    priorityClassName: low
    nodeSelector: {a: all, b: all}
workers:
  template:
    metadata: {labels: {b: own}}
    spec:
      tolerations: [{key: y}, {key: x}]
      priorityClassName: high
      nodeSelector: {b: own, a: null}
";
    let pod = worker_of(spec);
    assert_eq!(pod["metadata"]["labels"]["a"], "all");
    assert_eq!(pod["metadata"]["labels"]["b"], "own");
    assert_eq!(
        pod["spec"]["tolerations"],
        json!([{"key": "x"}, {"key": "y"}])
    );
    assert_eq!(pod["spec"]["priorityClassName"], "high");
    assert_eq!(pod["spec"]["nodeSelector"], json!({"b": "own"}));
    let scheduler = scheduler_pod(&config(), &owner("etl"), &job(spec), 1);
    assert_eq!(scheduler["spec"]["priorityClassName"], "low");
}

#[test]
fn null_takes_away_what_we_set() {
    let pod = worker_with(json!({
        "securityContext": null,
        "containers": [{"name": "worker", "securityContext": {"capabilities": null}}],
    }));
    assert!(pod["spec"].get("securityContext").is_none());
    let context = main_container(&pod)["securityContext"].as_object().unwrap();
    assert!(
        !context.contains_key("capabilities") && context.contains_key("allowPrivilegeEscalation")
    );
}

#[test]
fn a_template_that_makes_no_sense_is_handed_on_for_the_api_server_to_refuse() {
    for (template, field) in [
        (json!({"containers": "sh"}), "containers"),
        (json!({"volumes": {"a": 1}}), "volumes"),
        (json!({"securityContext": 7}), "securityContext"),
    ] {
        let pod = worker_with(template.clone());
        assert_eq!(pod["spec"][field], template[field]);
    }
    let twice = worker_with(
        json!({"containers": [{"name": "a"}, {"name": "a"}, 3, {"image": "nameless"}]}),
    );
    assert_eq!(twice["spec"]["containers"].as_array().unwrap().len(), 5);
}
