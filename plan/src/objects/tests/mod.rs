//! What holds for every object of every job, and the fixtures of the tests about one.

mod any;
mod pods;
mod templates;

use super::*;
use contract::labels as keys;
use serde_json::json;

/// The job of a spec written as YAML.
pub(super) fn job(spec: &str) -> ResolvedJob {
    let manifest = json!({
        "apiVersion": crd::api_version(),
        "kind": crd::KIND,
        "metadata": {"name": "x"},
        "spec": contract::yaml::parse(spec).unwrap(),
    });
    crate::resolve_manifest(&manifest, &crate::Defaults::default()).unwrap()
}

pub(super) fn owner(name: &str) -> Owner {
    Owner {
        name: name.to_owned(),
        namespace: "team-a".to_owned(),
        uid: format!("uid-of-{}", crate::names::hash(name)),
        ..Owner::default()
    }
}

pub(super) fn config() -> ObjectConfig {
    ObjectConfig {
        operator_namespace: Some("daskjob-system".to_owned()),
        operator_labels: BTreeMap::from([("app".to_owned(), "operator".to_owned())]),
        ..ObjectConfig::default()
    }
}

/// The pods of an attempt with as many workers as the job begins with, scheduler first.
pub(super) fn pods(
    config: &ObjectConfig,
    owner: &Owner,
    job: &ResolvedJob,
    attempt: u32,
) -> Vec<Value> {
    let mut pods = vec![scheduler_pod(config, owner, job, attempt)];
    pods.extend(runner_pod(config, owner, job, attempt));
    for group in &job.worker_groups {
        pods.extend(
            (0..group.count).map(|number| worker_pod(config, owner, job, attempt, group, number)),
        );
    }
    pods
}

pub(super) fn objects(
    config: &ObjectConfig,
    owner: &Owner,
    job: &ResolvedJob,
    attempt: u32,
) -> Vec<Value> {
    let mut objects = pods(config, owner, job, attempt);
    objects.push(scheduler_service(config, owner, job, attempt));
    objects.extend(files_config_map(config, owner, job, attempt));
    objects.push(network_policy(config, owner, job, attempt));
    objects
}

/// The container that carries the role, by its name.
pub(super) fn main_container(pod: &Value) -> &Value {
    let role = &pod["metadata"]["labels"][keys::ROLE];
    let containers = pod["spec"]["containers"].as_array().unwrap();
    containers
        .iter()
        .find(|container| container["name"] == *role)
        .unwrap()
}

pub(super) fn env<'a>(pod: &'a Value, name: &str) -> Option<&'a Value> {
    let env = main_container(pod)["env"].as_array().unwrap();
    env.iter().find(|variable| variable["name"] == name)
}

pub(super) fn words(value: &Value) -> Vec<&str> {
    value
        .as_array()
        .unwrap()
        .iter()
        .map(|word| word.as_str().unwrap())
        .collect()
}

/// What follows a flag in a command line.
pub(super) fn after<'a>(words: &[&'a str], flag: &str) -> Option<&'a str> {
    words
        .iter()
        .position(|word| *word == flag)
        .map(|at| words[at + 1])
}

fn labels_of(object: &Value) -> BTreeMap<String, String> {
    serde_json::from_value(object["metadata"]["labels"].clone()).unwrap()
}

fn matches(selector: &Value, pod: &Value) -> bool {
    let labels = &pod["metadata"]["labels"];
    selector
        .as_object()
        .unwrap()
        .iter()
        .all(|(key, value)| labels[key] == *value)
}

/// Jobs of all kinds: the examples, and what the examples do not have.
fn jobs() -> Vec<ResolvedJob> {
    let examples = [
        include_str!("../../../../examples/array.yaml"),
        include_str!("../../../../examples/dataframe.yaml"),
        include_str!("../../../../examples/quickstart.yaml"),
        include_str!("../../../../examples/resources.yaml"),
        include_str!("../../../../examples/retries.yaml"),
        include_str!("../../../../examples/word-count.yaml"),
    ];
    let others = [
        "{}",
        "{engine: dask, job: {command: [x]}}",
        "{idleTimeoutSeconds: 300, workers: {maximum: 3}}",
        "{image: other:1, requests: {cpu: 100m, memory: 64Mi}, limits: {cpu: 2, memory: 1Gi}, job: {command: [x], files: {a/b.py: ''}}}",
        "{engine: dask, image: other:1, job: {command: [x], image: third:2}, workerGroups: [{name: gpu, numberOfWorkers: 2, limits: {nvidia.com/gpu: 1}}]}",
        "{workerGroups: [{name: a23456789-123456789-123456789-12}], job: {command: [x]}, networkPolicy: {from: [{ipBlock: {cidr: 10.0.0.0/8}}]}, activeDeadlineSeconds: 60}",
    ];
    let of_text = |text: &str| match crate::read(text, &crate::Defaults::default())
        .remove(0)
        .outcome
    {
        crate::Outcome::Job(job) => *job,
        other => panic!("{other:?}"),
    };
    examples
        .into_iter()
        .map(of_text)
        .chain(others.into_iter().map(job))
        .collect()
}

fn owners() -> [Owner; 5] {
    let long = "x".repeat(253);
    let dotted = "1.2-etl.".repeat(20);
    [
        "quickstart",
        "2026.11.21",
        &long,
        dotted.trim_end_matches('.'),
        "a",
    ]
    .map(owner)
}

fn each(mut look: impl FnMut(&Owner, &ResolvedJob)) {
    for job in jobs() {
        for owner in owners() {
            look(&owner, &job);
        }
    }
}

fn is_label_value(text: &str) -> bool {
    let inner = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    text.len() <= 63
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text.ends_with(|last: char| last.is_ascii_alphanumeric())
        && text.chars().all(inner)
}

#[test]
fn every_object_has_a_valid_name_valid_labels_and_the_job_as_its_controller() {
    each(|owner, job| {
        for object in objects(&config(), owner, job, 9_999) {
            let name = object["metadata"]["name"].as_str().unwrap();
            let rfc_1035 = is_label_value(name)
                && name.starts_with(|first: char| first.is_ascii_lowercase())
                && !name.contains(|letter: char| {
                    letter == '.' || letter == '_' || letter.is_ascii_uppercase()
                });
            assert!(rfc_1035, "{name}");
            assert_eq!(object["metadata"]["namespace"], "team-a");
            for (key, value) in labels_of(&object) {
                assert!(is_label_value(&value), "{name}: {key}={value}");
            }
            let expected = json!([{
                "apiVersion": "daskjob.dev/v1alpha1", "kind": "DaskJob", "name": owner.name, "uid": owner.uid,
                "controller": true, "blockOwnerDeletion": true,
            }]);
            assert_eq!(object["metadata"]["ownerReferences"], expected);
        }
    });
}

/// A field whose name we mistook would not come back from the types.
#[test]
fn every_field_is_one_that_kubernetes_has() {
    fn comes_back<T: serde::Serialize + serde::de::DeserializeOwned>(object: &Value) {
        let typed: T = serde_json::from_value(object.clone()).unwrap();
        assert_eq!(serde_json::to_value(typed).unwrap(), *object);
    }
    each(|owner, job| {
        let strict = ObjectConfig {
            image_pull_policy: Some("IfNotPresent".to_owned()),
            image_pull_secrets: vec!["registry".to_owned()],
            run_as_non_root: true,
            ..config()
        };
        for object in objects(&strict, owner, job, 1) {
            match object["kind"].as_str().unwrap() {
                "Pod" => comes_back::<k8s_openapi::api::core::v1::Pod>(&object),
                "Service" => comes_back::<k8s_openapi::api::core::v1::Service>(&object),
                "ConfigMap" => comes_back::<k8s_openapi::api::core::v1::ConfigMap>(&object),
                "NetworkPolicy" => {
                    comes_back::<k8s_openapi::api::networking::v1::NetworkPolicy>(&object);
                }
                other => panic!("{other}"),
            }
        }
    });
}

#[test]
fn two_attempts_share_no_name_and_two_objects_of_a_kind_neither() {
    each(|owner, job| {
        let mut names: Vec<(String, String)> = [1, 2, 12]
            .into_iter()
            .flat_map(|attempt| objects(&config(), owner, job, attempt))
            .map(|object| {
                (
                    object["kind"].to_string(),
                    object["metadata"]["name"].to_string(),
                )
            })
            .collect();
        let made = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), made);
    });
}

#[test]
fn selectors_find_the_pods_of_their_own_attempt_of_their_own_job_alone() {
    each(|owner, job| {
        let again = Owner {
            uid: "another".to_owned(),
            ..owner.clone()
        };
        let service = service_selector(&config(), owner, job, 1, "uid-of-service");
        let policy = network_policy(&config(), owner, job, 1);
        for pod in pods(&config(), owner, job, 1) {
            let is_scheduler = pod["metadata"]["labels"][keys::ROLE] == "scheduler";
            assert_eq!(matches(&service["spec"]["selector"], &pod), is_scheduler);
            assert!(matches(&policy["spec"]["podSelector"]["matchLabels"], &pod));
        }
        let others =
            pods(&config(), owner, job, 11)
                .into_iter()
                .chain(pods(&config(), &again, job, 1));
        for pod in others {
            assert!(!matches(&service["spec"]["selector"], &pod));
            assert!(!matches(
                &policy["spec"]["podSelector"]["matchLabels"],
                &pod
            ));
        }
    });
}

#[test]
fn the_selectors_of_watches_find_everything() {
    each(|owner, job| {
        for object in objects(&config(), owner, job, 1) {
            for selector in [
                labels::selector_of_all(),
                labels::selector_of_job(&owner.uid),
            ] {
                let (key, value) = selector.split_once('=').unwrap();
                assert_eq!(labels_of(&object)[key], value);
            }
        }
    });
}

#[test]
fn a_pod_says_by_its_labels_which_it_is() {
    let job = job("{job: {command: [x]}, workerGroups: [{name: gpu}]}");
    let identity = |pod: &Value| labels::read(&labels_of(pod)).unwrap();
    let worker = worker_pod(&config(), &owner("a"), &job, 3, &job.worker_groups[1], 17);
    let expected = labels::PodIdentity {
        attempt: 3,
        role: Role::Worker,
        group: Some("gpu".to_owned()),
        number: Some(17),
    };
    assert_eq!(identity(&worker), expected);
    let scheduler = identity(&scheduler_pod(&config(), &owner("a"), &job, 3));
    assert_eq!(
        (scheduler.role, scheduler.group, scheduler.number),
        (Role::Scheduler, None, None)
    );
    let mut foreign = labels_of(&worker);
    foreign.remove(keys::WORKER_NUMBER);
    assert_eq!(labels::read(&foreign), None);
    assert_eq!(labels::read(&BTreeMap::new()), None);
}

#[test]
fn every_container_of_ours_has_requests_and_limits_when_its_role_has_both() {
    let mut seen = 0;
    each(|owner, job| {
        for pod in pods(&config(), owner, job, 1) {
            let main = &main_container(&pod)["resources"];
            let init = &pod["spec"]["initContainers"][0]["resources"];
            for resource in ["cpu", "memory"] {
                let both = |of: &Value| {
                    of["requests"][resource].is_string() && of["limits"][resource].is_string()
                };
                assert!(init.is_null() || both(init), "a quota would refuse {pod:#}");
                if both(main) && !init.is_null() {
                    seen += 1;
                    for field in ["requests", "limits"] {
                        assert_eq!(init[field][resource], main[field][resource]);
                    }
                }
            }
        }
    });
    assert!(seen > 0);
}

#[test]
fn every_mount_has_its_volume_and_every_name_is_used_once() {
    each(|owner, job| {
        for pod in pods(&config(), owner, job, 1) {
            let names = |list: &Value, key: &str| -> Vec<String> {
                list.as_array()
                    .into_iter()
                    .flatten()
                    .map(|item| item[key].as_str().unwrap().to_owned())
                    .collect()
            };
            let volumes = names(&pod["spec"]["volumes"], "name");
            let containers =
                ["containers", "initContainers"].map(|list| pod["spec"][list].as_array().cloned());
            for container in containers.into_iter().flatten().flatten() {
                for mounted in names(&container["volumeMounts"], "name") {
                    assert!(volumes.contains(&mounted), "{mounted}");
                }
                for (list, key) in [
                    ("env", "name"),
                    ("volumeMounts", "mountPath"),
                    ("ports", "name"),
                ] {
                    let mut once = names(&container[list], key);
                    let all = once.len();
                    once.sort();
                    once.dedup();
                    assert_eq!(once.len(), all, "{list}");
                }
            }
        }
    });
}

#[test]
fn our_program_is_copied_into_other_images_only() {
    each(|owner, job| {
        for pod in pods(&config(), owner, job, 1) {
            let main = main_container(&pod);
            let own = main["image"] == config().worker_image;
            let init = &pod["spec"]["initContainers"];
            assert_eq!(init.is_null(), own);
            let program = if own {
                contract::paths::PROGRAM_IN_IMAGE
            } else {
                contract::paths::PROGRAM_COPY
            };
            assert_eq!(words(&main["command"])[..2], [program, "launch"]);
            if !own {
                assert_eq!(init[0]["image"], config().worker_image);
                assert_eq!(
                    words(&init[0]["command"]),
                    ["/usr/local/bin/daskjob", "install", program]
                );
            }
        }
    });
}

#[test]
fn labels_and_annotations_of_the_job_are_copied_but_for_those_of_others() {
    let mut owner = owner("etl");
    let pairs = [
        ("team", "a"),
        ("example.com/cost", "7"),
        ("nothelm.sh/kept", "1"),
        ("app.kubernetes.io/version", "1.4"),
        ("app.kubernetes.io/instance", "argo-app"),
        ("app.kubernetes.io/managed-by", "Helm"),
        ("app.kubernetes.io/name", "etl"),
        ("kubectl.kubernetes.io/last-applied-configuration", "{}"),
        ("helm.sh/chart", "etl-1"),
        ("meta.helm.sh/release-name", "etl"),
        ("argocd.argoproj.io/tracking-id", "etl"),
        ("kueue.x-k8s.io/queue-name", "queue"),
        ("kopf.zalando.org/last-handled-configuration", "{}"),
        ("kustomize.toolkit.fluxcd.io/name", "etl"),
        ("daskjob.dev/job-uid", "forged"),
        ("daskjob.dev/cancel", "now"),
    ];
    let all: BTreeMap<String, String> = pairs
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into();
    (owner.labels, owner.annotations) = (all.clone(), all);
    let job = job("{job: {command: [x], files: {a.py: ''}}}");
    for object in objects(&config(), &owner, &job, 1) {
        let labels = &object["metadata"]["labels"];
        for (key, value) in [
            ("team", "a"),
            ("example.com/cost", "7"),
            ("nothelm.sh/kept", "1"),
            ("app.kubernetes.io/version", "1.4"),
            ("app.kubernetes.io/managed-by", "daskjob-operator"),
            ("app.kubernetes.io/name", "daskjob"),
            ("daskjob.dev/job-uid", &owner.uid),
        ] {
            assert_eq!(labels[key], value, "{key}");
        }
        for fields in [labels, &object["metadata"]["annotations"]] {
            for foreign in [
                "helm",
                "argo",
                "kueue",
                "kopf",
                "fluxcd",
                "last-applied",
                "cancel",
                "instance",
            ] {
                let keys = fields.as_object().into_iter().flatten().map(|(key, _)| key);
                let found: Vec<_> = keys
                    .filter(|key| key.contains(foreign) && !key.starts_with("nothelm"))
                    .collect();
                assert!(found.is_empty(), "{found:?}");
            }
        }
        if object["kind"] == "Pod" {
            assert_eq!(object["metadata"]["annotations"]["team"], "a");
        }
    }
}

#[test]
fn the_service_answers_at_the_address_everybody_is_given() {
    let job = job("{job: {command: [x]}}");
    let (config, owner) = (config(), owner("etl"));
    let address = scheduler_address(&config, &owner, 2);
    assert_eq!(
        address,
        "tcp://etl-2-scheduler.team-a.svc.cluster.local:8786"
    );
    let service = scheduler_service(&config, &owner, &job, 2);
    assert_eq!(service["metadata"]["name"], "etl-2-scheduler");
    assert_eq!(service["spec"]["publishNotReadyAddresses"], true);
    let ports = service["spec"]["ports"].as_array().unwrap();
    assert!(
        ports
            .iter()
            .all(|port| port["protocol"] == "TCP" && port["port"] == port["targetPort"])
    );
    let pod = scheduler_pod(&config, &owner, &job, 2);
    let of_container = &main_container(&pod)["ports"];
    for (of_service, of_container) in ports.iter().zip(of_container.as_array().unwrap()) {
        assert_eq!(of_service["name"], of_container["name"]);
        assert_eq!(of_service["port"], of_container["containerPort"]);
        assert!(of_service["name"].as_str().unwrap().len() <= 15);
    }
}

#[test]
fn only_the_job_the_operator_and_whom_the_job_names_may_connect() {
    let owner = owner("etl");
    let ingress = |config: &ObjectConfig, spec: &str| {
        let policy = network_policy(config, &owner, &job(spec), 1);
        assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress"]));
        policy["spec"]["ingress"].as_array().unwrap().clone()
    };
    let alone = ingress(&ObjectConfig::default(), "{}");
    assert_eq!(alone.len(), 1);
    assert_eq!(
        alone[0]["from"][0]["podSelector"]["matchLabels"][keys::JOB_UID],
        owner.uid
    );
    assert!(
        alone[0]["ports"].is_null(),
        "workers talk to each other on any port"
    );

    let all = ingress(
        &config(),
        "{networkPolicy: {from: [{podSelector: {matchLabels: {a: b}}}]}}",
    );
    let ports = |rule: &Value| -> Vec<u64> {
        rule["ports"]
            .as_array()
            .unwrap()
            .iter()
            .map(|port| port["port"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(
        all[1]["from"],
        json!([{
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "daskjob-system"}},
            "podSelector": {"matchLabels": {"app": "operator"}},
        }])
    );
    assert_eq!(ports(&all[1]), [8787]);
    assert_eq!(
        all[2]["from"],
        json!([{"podSelector": {"matchLabels": {"a": "b"}}}])
    );
    assert_eq!(ports(&all[2]), [8786, 8787]);
    assert_eq!(all.len(), 3);
}

#[test]
fn files_have_their_paths_whatever_is_in_them() {
    let job = job(
        "{job: {command: [x], files: {main.py: one, deep/er/module.py: two, '.hidden é': three}}}",
    );
    let config_map = files_config_map(&config(), &owner("etl"), &job, 1).unwrap();
    assert_eq!(config_map["immutable"], true);
    for pod in pods(&config(), &owner("etl"), &job, 1) {
        let volumes = pod["spec"]["volumes"].as_array().unwrap();
        let volume = volumes
            .iter()
            .find(|volume| volume["name"] == "daskjob-files")
            .unwrap();
        assert_eq!(volume["configMap"]["name"], config_map["metadata"]["name"]);
        let texts: BTreeMap<&str, &str> = volume["configMap"]["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| {
                let key = item["key"].as_str().unwrap();
                assert!(
                    key.chars()
                        .all(|letter| letter.is_ascii_alphanumeric() || "-_.".contains(letter)),
                    "{key}"
                );
                (
                    item["path"].as_str().unwrap(),
                    config_map["data"][key].as_str().unwrap(),
                )
            })
            .collect();
        assert_eq!(
            texts,
            BTreeMap::from([
                ("main.py", "one"),
                ("deep/er/module.py", "two"),
                (".hidden é", "three")
            ])
        );
    }
    assert_eq!(
        files_config_map(&config(), &owner("etl"), &self::job("{}"), 1),
        None
    );
}
