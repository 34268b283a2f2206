//! What is in the pods of each role.

use super::*;

fn scheduler(spec: &str) -> Value {
    scheduler_pod(&config(), &owner("etl"), &job(spec), 1)
}

fn runner(spec: &str) -> Value {
    runner_pod(&config(), &owner("etl"), &job(spec), 1).unwrap()
}

fn worker(spec: &str) -> Value {
    let job = job(spec);
    worker_pod(&config(), &owner("etl"), &job, 1, &job.worker_groups[0], 4)
}

/// Flags of the launcher, then the program behind it with all its arguments.
fn line(pod: &Value) -> (Vec<&str>, Vec<&str>) {
    let main = main_container(pod);
    let mut command = words(&main["command"]);
    let end = command.iter().position(|word| *word == "--").unwrap();
    let mut program = command.split_off(end + 1);
    command.pop();
    program.extend(words(&main["args"]));
    (command, program)
}

const ADDRESS: &str = "tcp://etl-1-scheduler.team-a.svc.cluster.local:8786";

#[test]
fn a_native_scheduler_is_ours_on_the_ports_of_the_contract() {
    let pod = scheduler("{job: {command: [x]}}");
    let (launcher, program) = line(&pod);
    assert_eq!(
        program,
        [
            "/usr/local/bin/daskjob",
            "scheduler",
            "--port",
            "8786",
            "--dashboard-address",
            ":8787"
        ]
    );
    assert_eq!(after(&launcher, "--lifeline-port"), Some("8785"));
    assert_eq!(after(&launcher, "--lifeline-timeout"), Some("30"));
    assert_eq!(env(&pod, "DASK_SCHEDULER_ADDRESS"), None);
}

#[test]
fn an_interactive_scheduler_ends_when_idle_after_the_operator_would_have_ended_it() {
    let pod = scheduler("{idleTimeoutSeconds: 300}");
    let (launcher, program) = line(&pod);
    assert_eq!(after(&program, "--idle-timeout"), Some("360s"));
    assert_eq!(
        after(&launcher, "--lifeline-port"),
        None,
        "nobody would hold it"
    );
    assert_eq!(runner_pod(&config(), &owner("etl"), &job("{}"), 1), None);
}

#[test]
fn the_engine_dask_is_the_images_own() {
    for (pod, module) in [
        (
            scheduler("{engine: dask, image: i}"),
            "distributed.cli.dask_scheduler",
        ),
        (
            worker("{engine: dask, image: i}"),
            "distributed.cli.dask_worker",
        ),
    ] {
        let (launcher, program) = line(&pod);
        assert_eq!(program[..2], ["-m", module]);
        assert!(launcher.contains(&"--python-command"));
        assert!(!launcher.iter().any(|flag| flag.contains("SHUFFLE")));
    }
    let pod = scheduler("{engine: dask}");
    assert!(
        line(&pod)
            .0
            .iter()
            .any(|flag| flag.contains("distributed.http.scheduler.api"))
    );
    let native = scheduler("{}");
    assert!(
        !line(&native)
            .0
            .iter()
            .any(|flag| flag.contains("HTTP__ROUTES") || *flag == "--python-command")
    );
}

#[test]
fn a_worker_is_called_as_its_pod_and_gets_threads_memory_and_resources() {
    let pod = worker(
        "{workers: {limits: {cpu: 1500m, memory: 1Gi, nvidia.com/gpu: 2}, daskResources: {DISK: 0.5, $(HOME): 1}}}",
    );
    let (launcher, program) = line(&pod);
    assert_eq!(program[1..3], ["worker", ADDRESS]);
    for (flag, value) in [
        ("--name", "etl-1-worker-default-4"),
        ("--nthreads", "2"),
        ("--memory-limit", "1073741824"),
        ("--resources", "$$(HOME)=1 DISK=0.5 GPU=2"),
        // It waits for its scheduler by itself.
        ("--death-timeout", "600"),
        // Of a grace period of 5 s.
        ("--drain-timeout", "3"),
        ("--local-directory", "/tmp"),
        ("--dashboard-address", ":8790"),
    ] {
        assert_eq!(after(&program, flag), Some(value), "{flag}");
    }
    assert_eq!(pod["metadata"]["name"], "etl-1-worker-default-4");
    assert!(
        launcher.contains(&"--exec") && program.contains(&"--end-when-out-of-memory"),
        "one process is the worker, and does for itself what a launcher does for others"
    );
    assert_eq!(after(&launcher, "--scheduler"), None);
    let main = main_container(&pod);
    assert_eq!(
        main["resources"],
        json!({
            "requests": {"cpu": "1500m", "memory": "1Gi", "nvidia.com/gpu": "2"},
            "limits": {"cpu": "1500m", "memory": "1Gi", "nvidia.com/gpu": "2"},
        })
    );
    let unlimited = worker("{}");
    assert_eq!(after(&line(&unlimited).1, "--memory-limit"), None);
    assert!(main_container(&unlimited)["resources"].is_null());
}

#[test]
fn a_stock_worker_is_watched_by_the_launcher() {
    let pod = worker("{engine: dask}");
    let (launcher, program) = line(&pod);
    for flag in [
        // Imports go on while the scheduler starts.
        "--start-beside",
        // Nothing waits for a worker whose cluster is taken down.
        "--end-with-scheduler",
        "--end-when-out-of-memory",
    ] {
        assert!(launcher.contains(&flag), "{flag}");
    }
    assert!(!launcher.contains(&"--exec"));
    assert_eq!(after(&launcher, "--scheduler"), Some(ADDRESS));
    assert_eq!(after(&program, "--death-timeout"), Some("60"));
    for ours in ["--drain-timeout", "--end-when-out-of-memory"] {
        assert!(!program.contains(&ours), "{ours}");
    }
}

#[test]
fn a_worker_hands_over_for_as_long_as_its_pod_may_take_to_end() {
    let pod = worker(
        "{template: {spec: {terminationGracePeriodSeconds: 30}}, workers: {template: {spec: {terminationGracePeriodSeconds: 120}}}}",
    );
    assert_eq!(after(&line(&pod).1, "--drain-timeout"), Some("118"));
    let of_all = worker("{template: {spec: {terminationGracePeriodSeconds: 1}}}");
    assert_eq!(after(&line(&of_all).1, "--drain-timeout"), Some("0"));
}

#[test]
fn the_init_container_asks_for_no_graphics_card_and_little_else() {
    let pod = worker("{image: i, workers: {requests: {cpu: 3}, limits: {nvidia.com/gpu: 1}}}");
    let expected = json!({"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "250m", "memory": "64Mi"}});
    assert_eq!(pod["spec"]["initContainers"][0]["resources"], expected);
}

#[test]
fn the_runner_runs_the_users_words_behind_the_launcher() {
    let pod =
        runner("{job: {command: [python, $(SCRIPT)], args: ['$(A)', $$x], files: {main.py: ''}}}");
    let main = main_container(&pod);
    let (launcher, program) = line(&pod);
    assert_eq!(program, ["python", "$(SCRIPT)", "$(A)", "$$x"]);
    assert_eq!(words(&main["args"]), ["$(A)", "$$x"]);
    for (flag, value) in [
        ("--scheduler", ADDRESS),
        ("--hold-lifeline", "8785"),
        ("--files", "/daskjob/files"),
        ("--work-directory", "/daskjob/work"),
        // A scheduler may wait for quota for a week.
        ("--scheduler-timeout", "604800"),
    ] {
        assert_eq!(after(&launcher, flag), Some(value), "{flag}");
    }
    assert_eq!(main["terminationMessagePolicy"], "FallbackToLogsOnError");
    assert_eq!(main["terminationMessagePath"], contract::termination::PATH);
    let without_files = runner("{job: {command: [x]}}");
    assert_eq!(
        after(&line(&without_files).0, "--work-directory"),
        None,
        "it works where its image does"
    );
}

#[test]
fn a_runner_nobody_looks_after_gives_up_long_after_a_deadline_that_may_still_be_raised() {
    for (deadline, timeout) in [(300, "604800"), (1_000_000, "1000060")] {
        let spec = format!("{{job: {{command: [x]}}, startDeadlineSeconds: {deadline}}}");
        let pod = runner(&spec);
        let (launcher, _) = line(&pod);
        assert_eq!(after(&launcher, "--scheduler-timeout"), Some(timeout));
    }
}

#[test]
fn a_stock_worker_with_a_limit_is_ended_by_the_kernel_alone() {
    let nanny = "DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE=False";
    let limited = worker("{engine: dask, workers: {limits: {memory: 1Gi}}}");
    let unlimited = worker("{engine: dask, workers: {requests: {memory: 1Gi}}}");
    let ours = worker("{workers: {limits: {memory: 1Gi}}}");
    for (pod, expected) in [(limited, true), (unlimited, false), (ours, false)] {
        assert_eq!(line(&pod).0.contains(&nanny), expected);
    }
    let scheduler = scheduler("{engine: dask, limits: {memory: 1Gi}}");
    assert!(!line(&scheduler).0.contains(&nanny));
}

#[test]
fn files_go_before_every_roles_python_path_which_stays_the_users() {
    const SPEC: &str =
        "{env: [{name: PYTHONPATH, value: '/opt/$(X)'}], job: {command: [x], files: {a.py: ''}}}";
    for pod in [scheduler(SPEC), worker(SPEC), runner(SPEC)] {
        assert_eq!(after(&line(&pod).0, "--files"), Some("/daskjob/files"));
        // The launcher puts the files before it, and before an image's own where the user says nothing.
        assert_eq!(env(&pod, "PYTHONPATH").unwrap()["value"], "/opt/$(X)");
    }
    assert_eq!(
        env(
            &worker("{job: {command: [x], files: {a.py: ''}}}"),
            "PYTHONPATH"
        ),
        None
    );
}

#[test]
fn the_users_environment_wins_and_can_use_ours() {
    let pod = worker(
        "{env: [{name: TMPDIR, value: /fast}, {name: GREETING, value: '$(DASKJOB_NAME)'}, {name: KEY, valueFrom: {secretKeyRef: {name: s, key: k}}}], workers: {env: [{name: GREETING, value: '$(TMPDIR)'}]}}",
    );
    let env_list = main_container(&pod)["env"].as_array().unwrap();
    let place = |name: &str| {
        env_list
            .iter()
            .position(|variable| variable["name"] == name)
            .unwrap()
    };
    assert_eq!(env(&pod, "TMPDIR").unwrap()["value"], "/fast");
    assert_eq!(env(&pod, "GREETING").unwrap()["value"], "$(TMPDIR)");
    assert_eq!(
        env(&pod, "KEY").unwrap()["valueFrom"]["secretKeyRef"]["key"],
        "k"
    );
    assert!(place("DASKJOB_NAME") < place("GREETING") && place("TMPDIR") < place("GREETING"));
    for (name, value) in [
        ("DASKJOB_NAME", "etl"),
        ("DASKJOB_ATTEMPT", "1"),
        ("DASKJOB_ROLE", "worker"),
        ("DASKJOB_WORKER_GROUP", "default"),
        ("DASK_SCHEDULER_ADDRESS", ADDRESS),
        ("DASK_TEMPORARY_DIRECTORY", "/tmp"),
    ] {
        assert_eq!(env(&pod, name).unwrap()["value"], value, "{name}");
    }
}

#[test]
fn a_default_hides_nothing_that_an_image_sets() {
    let pod = worker("{job: {command: [x]}}");
    let (launcher, _) = line(&pod);
    for default in [
        "OMP_NUM_THREADS=1",
        "PYTHONHASHSEED=6640",
        "DASK_DATAFRAME__SHUFFLE__METHOD=tasks",
    ] {
        let at = launcher.iter().position(|word| *word == default).unwrap();
        assert_eq!(launcher[at - 1], "--default-env");
        assert_eq!(env(&pod, default.split_once('=').unwrap().0), None);
    }
    assert!(
        line(&runner("{job: {command: [x]}}"))
            .0
            .contains(&"PYTHONUNBUFFERED=1")
    );
}

#[test]
fn pods_keep_to_themselves() {
    const SPEC: &str = "{image: i, job: {command: [x]}}";
    for pod in [scheduler(SPEC), worker(SPEC), runner(SPEC)] {
        let spec = &pod["spec"];
        let role = pod["metadata"]["labels"][keys::ROLE].as_str().unwrap();
        assert_eq!(spec["restartPolicy"], "Never");
        assert_eq!(spec["enableServiceLinks"], false);
        assert_eq!(spec["terminationGracePeriodSeconds"], 5);
        assert_eq!(
            spec["securityContext"]["seccompProfile"]["type"],
            "RuntimeDefault"
        );
        assert!(
            spec["securityContext"]["runAsNonRoot"].is_null(),
            "an image may run as root"
        );
        let token = if role == "runner" {
            Value::Null
        } else {
            json!(false)
        };
        assert_eq!(spec["automountServiceAccountToken"], token);
        let safe_to_evict =
            &pod["metadata"]["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"];
        assert_eq!(
            *safe_to_evict,
            if role == "worker" {
                Value::Null
            } else {
                json!("false")
            }
        );
        for container in [main_container(&pod), &spec["initContainers"][0]] {
            assert_eq!(
                container["securityContext"]["allowPrivilegeEscalation"],
                false
            );
            assert_eq!(
                container["securityContext"]["capabilities"]["drop"],
                json!(["ALL"])
            );
            for probe in ["readinessProbe", "livenessProbe", "startupProbe"] {
                assert!(container[probe].is_null());
            }
        }
        assert!(spec["activeDeadlineSeconds"].is_null());
    }
    let non_root = ObjectConfig {
        run_as_non_root: true,
        image_pull_policy: Some("Always".to_owned()),
        ..config()
    };
    let pod = scheduler_pod(&non_root, &owner("etl"), &job("{image: i}"), 1);
    assert_eq!(pod["spec"]["securityContext"]["runAsNonRoot"], true);
    assert_eq!(
        pod["spec"]["initContainers"][0]["imagePullPolicy"],
        "Always"
    );
    assert_eq!(main_container(&pod)["imagePullPolicy"], "Always");
}

#[test]
fn a_pod_outlives_the_deadline_so_that_the_operators_verdict_comes_first() {
    const SPEC: &str = "{activeDeadlineSeconds: 100, job: {command: [x]}}";
    for pod in [scheduler(SPEC), worker(SPEC), runner(SPEC)] {
        assert_eq!(pod["spec"]["activeDeadlineSeconds"], 160);
    }
}

#[test]
fn every_place_we_write_to_is_a_volume() {
    let pod = runner("{image: i, job: {command: [x], files: {a.py: ''}}}");
    let mounts = main_container(&pod)["volumeMounts"].as_array().unwrap();
    let find = |path: &str| {
        mounts
            .iter()
            .find(|mount| mount["mountPath"] == path)
            .unwrap()
    };
    for path in ["/tmp", "/daskjob/work"] {
        assert!(find(path)["readOnly"].is_null());
        let volumes = pod["spec"]["volumes"].as_array().unwrap();
        let volume = volumes
            .iter()
            .find(|volume| volume["name"] == find(path)["name"])
            .unwrap();
        assert!(volume["emptyDir"].is_object());
    }
    for path in ["/daskjob/files", "/daskjob/program"] {
        assert_eq!(find(path)["readOnly"], true);
    }
}
