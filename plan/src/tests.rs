//! The table of refusals, and what a resolved job holds.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

fn table() -> Value {
    contract::yaml::parse(include_str!("../refusals.yaml")).unwrap()
}

fn cases<'a>(table: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> {
    table[list].as_array().unwrap().iter()
}

/// The manifest of a case: as written, or around its spec.
fn manifest_of(case: &Value) -> Value {
    let mut manifest = match case.get("manifest") {
        Some(manifest) => manifest.clone(),
        None => json!({"metadata": {"name": "case"}, "spec": case["spec"]}),
    };
    manifest["apiVersion"] = json!(crd::api_version());
    manifest["kind"] = json!(crd::KIND);
    manifest
}

fn resolve_case(case: &Value) -> Result<ResolvedJob, Vec<Refusal>> {
    resolve_manifest(&manifest_of(case), &Defaults::default())
}

fn job(spec: &str) -> ResolvedJob {
    let spec = contract::yaml::parse(spec).unwrap();
    resolve_case(&json!({ "spec": spec })).unwrap()
}

#[test]
fn every_refusal_of_the_table_names_field_reason_and_remedy() {
    let table = table();
    for case in cases(&table, "refused") {
        let (rule, field, reason) = (
            &case["rule"],
            case["field"].as_str().unwrap(),
            case["reason"].as_str().unwrap(),
        );
        let refusals = resolve_case(case).expect_err(&format!("{rule}: was not refused"));
        let named = refusals
            .iter()
            .find(|refusal| refusal.field == field && refusal.reason.contains(reason));
        let named = named.unwrap_or_else(|| panic!("{rule}: got {refusals:#?}"));
        assert!(!named.remedy.is_empty(), "{rule}");
        assert!(
            named
                .remedy
                .contains(case["remedy"].as_str().unwrap_or_default()),
            "{rule}: {named}"
        );
        assert_eq!(
            refusals.len(),
            1,
            "{rule}: more than the one mistake: {refusals:#?}"
        );
    }
}

#[test]
fn what_the_table_accepts_is_accepted() {
    let table = table();
    for case in cases(&table, "accepted") {
        resolve_case(case).unwrap_or_else(|refusals| panic!("{}: {refusals:#?}", case["rule"]));
    }
    for case in cases(&table, "edits")
        .flat_map(|case| [json!({"spec": case["old"]}), json!({"spec": case["new"]})])
    {
        resolve_case(&case).unwrap_or_else(|refusals| panic!("{case}: {refusals:#?}"));
    }
}

#[test]
fn several_mistakes_are_told_at_once() {
    let text = "\
apiVersion: daskjob.dev/v1alpha1
kind: DaskJob
metadata: {name: x}
spec:
  job:
    command: [python]
    args: [1]
  workers:
    numberOfWorker: 2
    minimum: 3
    limits: {memory: 2GB}
  idleTimeoutSeconds: 5
";
    let documents = read(text, &Defaults::default());
    let Outcome::Refused(refusals) = &documents[0].outcome else {
        panic!("{documents:?}")
    };
    let found: Vec<_> = refusals
        .iter()
        .map(|refusal| (refusal.field.as_str(), refusal.location.unwrap().line))
        .collect();
    assert_eq!(
        found,
        [
            ("spec.job.args[0]", 7),
            ("spec.workers.numberOfWorker", 8), // the key is unknown, its place is its own line
            ("spec.workers.minimum", 10),
            ("spec.workers.limits[memory]", 11),
            ("spec.idleTimeoutSeconds", 12),
        ]
        .map(|(field, line)| (
            field,
            if field.ends_with("numberOfWorker") {
                line + 1
            } else {
                line
            }
        ))
    );
}

#[test]
fn documents_are_read_one_by_one() {
    let text = "\
apiVersion: v1
kind: ConfigMap
---
apiVersion: daskjob.dev/v1alpha1
kind: DaskJob
metadata: {name: good}
spec: {job: {command: [x]}}
---
apiVersion: daskjob.dev/v1
kind: DaskJob
metadata: {name: bad}
";
    let documents = read(text, &Defaults::default());
    assert_eq!(
        documents[0].outcome,
        Outcome::Other {
            kind: "ConfigMap".to_owned()
        }
    );
    assert!(matches!(&documents[1].outcome, Outcome::Job(job) if job.name.as_str() == "good"));
    let Outcome::Refused(refusals) = &documents[2].outcome else {
        panic!("{documents:?}")
    };
    assert_eq!(
        (documents[2].index, refusals[0].field.as_str()),
        (2, "apiVersion")
    );
    assert!(
        refusals[0]
            .remedy
            .contains("did you mean daskjob.dev/v1alpha1?"),
        "{refusals:?}"
    );
    assert_eq!(refusals[0].location.map(|location| location.line), Some(9));
}

#[test]
fn a_manifest_of_another_kind_is_told_what_to_write() {
    for (text, remedy) in [
        ("", "begin with apiVersion"),
        ("- a\n", "begin with apiVersion"),
        ("kind: DaskJob\n", "write apiVersion: daskjob.dev/v1alpha1"),
        (
            "apiVersion: daskjob.dev/v1alpha1\nkind: DaskJobs\n",
            "did you mean DaskJob?",
        ),
        (
            "apiVersion: kubernetes.dask.org/v1\nkind: DaskJob\n",
            "write apiVersion: daskjob.dev/v1alpha1",
        ),
        ("spec: [\n", "check indentation"),
    ] {
        let documents = read(text, &Defaults::default());
        let Outcome::Refused(refusals) = &documents[0].outcome else {
            panic!("{text}: {documents:?}")
        };
        assert!(refusals[0].remedy.contains(remedy), "{text}: {refusals:?}");
    }
}

#[test]
fn a_job_has_a_default_for_everything_but_its_command() {
    let job = job("job: {command: [python, main.py]}");
    assert_eq!(job.engine, crd::Engine::Native);
    assert_eq!(job.number_of_workers(), 1);
    let group = &job.worker_groups[0];
    assert_eq!(
        (group.name.as_str(), group.threads, group.memory_limit_bytes),
        ("default", 1, None)
    );
    assert_eq!(job.scheduler.image, Defaults::default().image);
    assert!(!job.suspend && job.backoff_limit == 0);
}

#[test]
fn a_role_that_sets_requests_or_limits_replaces_both() {
    let job = job("
requests: {cpu: 1, memory: 1Gi}
limits: {cpu: 2}
job: {command: [x]}
scheduler: {limits: {memory: 4Gi}}
");
    let scheduler = &job.scheduler.resources;
    assert_eq!(scheduler.limits.keys().collect::<Vec<_>>(), ["memory"]);
    assert_eq!(scheduler.requests["memory"], scheduler.limits["memory"]);
    assert!(!scheduler.requests.contains_key("cpu"));
    assert_eq!(
        job.job
            .as_ref()
            .unwrap()
            .role
            .resources
            .limits
            .keys()
            .collect::<Vec<_>>(),
        ["cpu"]
    );
}

#[test]
fn a_worker_gets_threads_and_memory_from_its_limit_else_its_request() {
    for (workers, threads, memory) in [
        ("{limits: {cpu: 1500m, memory: 1Gi}}", 2, Some(1 << 30)),
        ("{requests: {cpu: 3, memory: 1Ki}}", 3, Some(1024)),
        ("{requests: {cpu: 1}, limits: {cpu: 4}}", 4, None),
        ("{threads: 8, limits: {cpu: 1}}", 8, None),
        ("{}", 1, None),
    ] {
        let job = job(&format!("{{job: {{command: [x]}}, workers: {workers}}}"));
        let group = &job.worker_groups[0];
        assert_eq!(
            (group.threads, group.memory_limit_bytes),
            (threads, memory),
            "{workers}"
        );
    }
}

#[test]
fn a_limit_on_graphics_cards_is_advertised_unless_said_otherwise() {
    let limits = "limits: {nvidia.com/gpu: 2}";
    let advertised = |extra: &str| {
        job(&format!(
            "{{job: {{command: [x]}}, workers: {{{limits}{extra}}}}}"
        ))
        .worker_groups[0]
            .dask_resources
            .clone()
    };
    assert_eq!(advertised("")["GPU"], 2.0);
    assert_eq!(advertised(", daskResources: {GPU: 1}")["GPU"], 1.0);
}

#[test]
fn an_adaptive_group_begins_with_its_count_or_its_minimum() {
    for (workers, count, minimum) in [
        ("{maximum: 5}", 1, 1),
        ("{minimum: 3, maximum: 5}", 3, 3),
        ("{minimum: 0, maximum: 5}", 1, 0),
        ("{numberOfWorkers: 4, maximum: 5}", 4, 1),
    ] {
        let job = job(&format!("{{job: {{command: [x]}}, workers: {workers}}}"));
        let group = &job.worker_groups[0];
        assert_eq!(
            (group.count, group.scaling),
            (
                count,
                Some(Scaling {
                    minimum,
                    maximum: 5
                })
            ),
            "{workers}"
        );
    }
}

#[test]
fn a_typed_spec_resolves_as_its_text_does() {
    let table = table();
    for case in cases(&table, "accepted").chain(cases(&table, "refused")) {
        let Ok(spec) = serde_json::from_value::<crd::DaskJobSpec>(case["spec"].clone()) else {
            continue;
        };
        let typed = resolve("case", None, &spec, &Defaults::default());
        let from_text = resolve_case(case);
        let unknown_field =
            matches!(&from_text, Err(refusals) if refusals[0].reason.contains("not a field"));
        if !unknown_field && case.get("manifest").is_none() {
            assert_eq!(
                typed.is_ok(),
                from_text.is_ok(),
                "{}: {typed:?}",
                case["rule"]
            );
        }
    }
}

/// Manifests put together from pieces of valid and broken ones.
fn any_spec() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z0-9./=$()-]{0,12}".prop_map(Value::from),
    ];
    let key = prop::sample::select(vec![
        "job",
        "command",
        "args",
        "files",
        "workers",
        "workerGroups",
        "name",
        "env",
        "value",
        "requests",
        "limits",
        "cpu",
        "memory",
        "numberOfWorkers",
        "number_of_workers",
        "minimum",
        "maximum",
        "threads",
        "daskResources",
        "scheduler",
        "engine",
        "suspend",
        "backoffLimit",
        "template",
        "spec",
        "metadata",
        "networkPolicy",
        "from",
        "other",
    ]);
    leaf.prop_recursive(5, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key.clone().prop_map(str::to_owned), inner, 0..6)
                .prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn any_spec_gives_a_job_or_refusals(spec in any_spec()) {
        if let Err(refusals) = resolve_case(&json!({ "spec": spec })) {
            prop_assert!(!refusals.is_empty());
            prop_assert!(refusals.iter().all(|refusal| !refusal.reason.is_empty() && !refusal.remedy.is_empty()));
        }
    }

    #[test]
    fn any_text_is_read(text in "(?s).{0,200}") {
        prop_assert!(!read(&text, &Defaults::default()).is_empty());
    }
}
