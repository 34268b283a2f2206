//! Building is total: any job that resolves has objects.

use super::*;
use proptest::prelude::*;

/// Fragments that fit a pod, and some that do not, under names that merging knows.
fn any_template() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        prop::sample::select(vec![
            "worker",
            "scheduler",
            "runner",
            "daskjob-program",
            "/tmp",
            "a",
            ""
        ])
        .prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "metadata",
        "labels",
        "annotations",
        "spec",
        "containers",
        "initContainers",
        "name",
        "image",
        "command",
        "args",
        "env",
        "value",
        "valueFrom",
        "volumes",
        "volumeMounts",
        "mountPath",
        "ports",
        "containerPort",
        "tolerations",
        "imagePullSecrets",
        "securityContext",
        "restartPolicy",
        "hostAliases",
        "ip",
        "resources",
        "claims",
        "daskjob.dev/role",
    ]);
    leaf.prop_recursive(6, 64, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|map| json!(map)),
        ]
    })
}

/// The top of a template's part is a map: anything else is refused before it comes here.
fn any_map() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec![
        "labels",
        "annotations",
        "containers",
        "initContainers",
        "volumes",
        "securityContext",
        "restartPolicy",
        "tolerations",
        "imagePullSecrets",
    ]);
    prop::collection::btree_map(name.prop_map(str::to_owned), any_template(), 0..6)
        .prop_map(|map| json!(map))
}

fn any_role() -> impl Strategy<Value = Value> {
    let amount = || prop::sample::select(vec!["0", "1", "100m", "1.5", "2Gi", "3M"]);
    let amounts = || {
        prop::collection::btree_map(
            prop::sample::select(vec!["cpu", "memory", "nvidia.com/gpu"]),
            amount(),
            0..3,
        )
    };
    let variable = prop::sample::select(vec!["A", "TMPDIR", "PYTHONPATH", "DASKJOB_NAME"])
        .prop_map(|name| json!([{"name": name, "value": "$(A)$x"}]));
    (
        prop::option::of(prop::sample::select(vec![
            "daskjob-worker:latest",
            "other:1",
        ])),
        prop::option::of(amounts()),
        prop::option::of(amounts()),
        prop::option::of(variable),
        prop::option::of((any_map(), any_map())),
    )
        .prop_map(|(image, requests, limits, env, template)| {
            let mut role = json!({});
            let fields = [
                ("image", image.map(Value::from)),
                ("requests", requests.map(|amounts| json!(amounts))),
                ("limits", limits.map(|amounts| json!(amounts))),
                ("env", env),
                (
                    "template",
                    template.map(|(metadata, spec)| json!({"metadata": metadata, "spec": spec})),
                ),
            ];
            for (name, value) in fields {
                if let Some(value) = value {
                    role[name] = value;
                }
            }
            role
        })
}

fn any_spec() -> impl Strategy<Value = Value> {
    (
        (any_role(), any_role(), any_role(), any_role()),
        any::<bool>(),
        prop::sample::select(vec!["native", "dask"]),
        prop::collection::btree_map("[a-z]{1,3}(/[a-z]{1,3})?", "[a-z$]{0,5}", 0..3),
        prop::option::of(1..100_000_u32),
        0..3_u32,
    )
        .prop_map(
            |(
                (mut all, runner, scheduler, mut workers),
                has_job,
                engine,
                files,
                deadline,
                count,
            )| {
                workers["numberOfWorkers"] = json!(count + 1);
                all["engine"] = json!(engine);
                all["scheduler"] = scheduler;
                all["workers"] = workers;
                if has_job {
                    let mut runner = runner;
                    runner["command"] = json!(["python", "$(A)"]);
                    runner["files"] = json!(files);
                    all["job"] = runner;
                }
                if let Some(deadline) = deadline {
                    all["activeDeadlineSeconds"] = json!(deadline);
                }
                all
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn any_job_has_objects_that_belong_to_it(
        spec in any_spec(),
        name in "[a-z0-9]([-a-z0-9]{0,60}[a-z0-9])?(\\.[a-z0-9]{1,20}){0,3}",
        attempt in 1..200_u32,
    ) {
        let manifest = json!({"metadata": {"name": name}, "spec": spec});
        let Ok(job) = crate::resolve_manifest(&manifest, &crate::Defaults::default()) else {
            return Ok(()); // a template that is no map, or a request above its limit
        };
        let owner = owner(&name);
        for object in objects(&config(), &owner, &job, attempt) {
            prop_assert_eq!(&object["metadata"]["ownerReferences"][0]["uid"], &owner.uid);
            prop_assert!(object["metadata"]["name"].as_str().unwrap().len() <= 63);
            prop_assert_eq!(&object["metadata"]["namespace"], "team-a");
            let labels = &object["metadata"]["labels"];
            if labels.is_object() {
                prop_assert_eq!(&labels[keys::JOB_UID], &owner.uid);
                prop_assert_eq!(&labels[keys::ATTEMPT], &attempt.to_string());
            }
            if object["kind"] == "Pod" && object["spec"].is_object() {
                prop_assert_eq!(&object["spec"]["restartPolicy"], "Never");
            }
        }
        let again = objects(&config(), &owner, &job, attempt);
        prop_assert_eq!(again, objects(&config(), &owner, &job, attempt));
    }
}
