//! The environment of each process: what the user's shell has, what a pod would get, what the manifest says.
//!
//! Later wins: our defaults, the shell, what makes this run work (addresses, paths), the manifest.

use super::directories::Directories;
use super::interpreter::Interpreter;
use contract::Role;
use contract::environment as names;
use crd::Engine;
use plan::{EnvValue, ResolvedEnv, ResolvedJob};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

pub type Environment = BTreeMap<OsString, OsString>;

/// What is the same for all processes of an attempt.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    pub job: &'a ResolvedJob,
    pub attempt: u32,
    pub directories: &'a Directories,
    pub interpreter: &'a Interpreter,
    pub manifest_directory: &'a Path,
    /// Variables of this process.
    pub shell: &'a Environment,
}

/// One process.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub role: Role,
    /// What a pod would be called.
    pub name: &'a str,
    pub worker_group: Option<&'a str>,
    /// Once it is known.
    pub scheduler_address: Option<&'a str>,
}

/// The environment of one process, and the variables its command line may use as `$(NAME)`.
pub fn of_process(
    surroundings: Surroundings<'_>,
    place: Place<'_>,
    env: &[ResolvedEnv],
) -> (Environment, BTreeMap<String, String>) {
    let mut environment = defaults(surroundings.job.engine, place.role);
    environment.extend(
        surroundings
            .shell
            .iter()
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    if environment
        .get(OsStr::new(names::HASH_SEED.0))
        .is_some_and(|seed| seed == "0")
    {
        environment.insert(names::HASH_SEED.0.into(), names::HASH_SEED.1.into());
    }
    let ours = ours(surroundings, place);
    let mut known: BTreeMap<String, String> = ours.clone();
    environment.extend(
        ours.into_iter()
            .map(|(name, value)| (name.into(), value.into())),
    );
    for (name, value) in from_manifest(env, surroundings, place, &mut known) {
        environment.insert(name.into(), value.into());
    }
    prepend(&mut environment, "PATH", &search_path(surroundings));
    prepend(
        &mut environment,
        names::PYTHON_PATH,
        &[
            &surroundings.directories.files,
            surroundings.manifest_directory,
        ],
    );
    (environment, known)
}

/// What is used where neither the shell nor the manifest says otherwise.
fn defaults(engine: Engine, role: Role) -> Environment {
    // Modules beside the manifest leave no compiled files there.
    std::iter::once(("PYTHONDONTWRITEBYTECODE", "1"))
        .chain(plan::defaults(engine, role))
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

/// What makes this run work.
fn ours(surroundings: Surroundings<'_>, place: Place<'_>) -> BTreeMap<String, String> {
    let scratch = surroundings
        .directories
        .scratch
        .to_string_lossy()
        .into_owned();
    let mut ours = BTreeMap::from([
        (
            names::JOB_NAME.to_owned(),
            surroundings.job.name.to_string(),
        ),
        (names::ATTEMPT.to_owned(), surroundings.attempt.to_string()),
        (names::ROLE.to_owned(), place.role.to_string()),
        (
            names::PYTHON.to_owned(),
            surroundings.interpreter.path.to_string_lossy().into_owned(),
        ),
        (names::TEMPORARY_DIRECTORY.to_owned(), scratch.clone()),
        (names::SYSTEM_TEMPORARY_DIRECTORY.to_owned(), scratch),
    ]);
    if let Some(group) = place.worker_group {
        ours.insert(names::WORKER_GROUP.to_owned(), group.to_owned());
    }
    if let Some(address) = place.scheduler_address {
        ours.insert(names::SCHEDULER_ADDRESS.to_owned(), address.to_owned());
    }
    ours
}

fn from_manifest(
    env: &[ResolvedEnv],
    surroundings: Surroundings<'_>,
    place: Place<'_>,
    known: &mut BTreeMap<String, String>,
) -> Vec<(String, String)> {
    // As in a pod, a variable of ours that the manifest sets stands where it does, and is known from there on.
    known.retain(|name, _| env.iter().all(|variable| variable.name != *name));
    let mut variables = Vec::new();
    for variable in env {
        let value = match &variable.value {
            EnvValue::Value(text) => Some(plan::expand(text, known)),
            EnvValue::ValueFrom(source) => of_pod(source, surroundings.job, place.name)
                .or_else(|| of_shell(&variable.name, surroundings.shell)),
        };
        if let Some(value) = value {
            known.insert(variable.name.clone(), value.clone());
            variables.push((variable.name.clone(), value));
        }
    }
    variables
}

/// What a `valueFrom` means here, where that can be said without a cluster.
pub fn of_pod(source: &Value, job: &ResolvedJob, name: &str) -> Option<String> {
    match source["fieldRef"]["fieldPath"].as_str()? {
        "metadata.name" => Some(name.to_owned()),
        "metadata.namespace" => Some(
            job.namespace
                .clone()
                .unwrap_or_else(|| "default".to_owned()),
        ),
        "status.podIP" | "status.hostIP" => Some("127.0.0.1".to_owned()),
        _ => None,
    }
}

/// What a cluster would have and the shell stands in for. It is the value: nothing in it is expanded.
fn of_shell(name: &str, shell: &Environment) -> Option<String> {
    shell.get(OsStr::new(name))?.to_str().map(str::to_owned)
}

/// `python` of the run first, then the other programs of the same interpreter.
fn search_path(surroundings: Surroundings<'_>) -> Vec<&Path> {
    let programs = surroundings.directories.programs.as_path();
    std::iter::once(programs)
        .chain(surroundings.interpreter.path.parent())
        .collect()
}

fn prepend(environment: &mut Environment, name: &str, directories: &[&Path]) {
    let before = environment
        .get(OsStr::new(name))
        .cloned()
        .unwrap_or_default();
    let before = std::env::split_paths(&before).filter(|path| !path.as_os_str().is_empty());
    let all = directories
        .iter()
        .map(|path| path.to_path_buf())
        .chain(before);
    // A path with a colon cannot stand in such a list at all; then the list stays as it was.
    if let Ok(joined) = std::env::join_paths(all) {
        environment.insert(name.into(), joined);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        role: Role,
        spec: &str,
        shell: &[(&str, &str)],
        examine: impl FnOnce(&dyn Fn(&str) -> Option<String>),
    ) {
        let text = format!(
            "apiVersion: daskjob.dev/v1alpha1\nkind: DaskJob\nmetadata: {{name: x}}\nspec: {spec}\n"
        );
        let documents = plan::read(&text, &plan::Defaults::default());
        let plan::Outcome::Job(job) = &documents[0].outcome else {
            panic!("{documents:?}")
        };
        let directories = Directories {
            programs: "/run/bin".into(),
            files: "/run/1/files".into(),
            work: "/run/1/work".into(),
            logs: "/run/1/logs".into(),
            scratch: "/run/1/tmp".into(),
            scheduler_file: "/run/1/scheduler.json".into(),
        };
        let interpreter = Interpreter {
            path: "/venv/bin/python".into(),
            python_version: "3.12.0".to_owned(),
            distributed_version: "2026.8.0".to_owned(),
        };
        let shell: Environment = shell
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        let surroundings = Surroundings {
            job,
            attempt: 1,
            directories: &directories,
            interpreter: &interpreter,
            manifest_directory: Path::new("/home/me"),
            shell: &shell,
        };
        let place = Place {
            role,
            name: "x-1-worker-default-0",
            worker_group: None,
            scheduler_address: Some("tcp://127.0.0.1:1"),
        };
        let (environment, _) = of_process(surroundings, place, &job.worker_groups[0].role.env);
        examine(&|name| {
            environment
                .get(OsStr::new(name))
                .map(|value| value.to_string_lossy().into_owned())
        });
    }

    #[test]
    fn a_worker_gets_what_a_nanny_gives() {
        check(
            Role::Worker,
            "{job: {command: [x]}}",
            &[("MKL_NUM_THREADS", "4"), ("PYTHONHASHSEED", "0")],
            |get| {
                assert_eq!(get("OMP_NUM_THREADS").as_deref(), Some("1"));
                assert_eq!(
                    get("MKL_NUM_THREADS").as_deref(),
                    Some("4"),
                    "the shell wins over a default"
                );
                assert_eq!(get("PYTHONHASHSEED").as_deref(), Some("6640"));
                assert_eq!(
                    get("DASK_SCHEDULER_ADDRESS").as_deref(),
                    Some("tcp://127.0.0.1:1")
                );
                assert_eq!(
                    get("DASK_TEMPORARY_DIRECTORY").as_deref(),
                    Some("/run/1/tmp")
                );
            },
        );
    }

    #[test]
    fn the_manifest_wins_over_everything() {
        let spec = "{env: [{name: OMP_NUM_THREADS, value: '8'}, {name: DASK_DATAFRAME__SHUFFLE__METHOD, value: disk}]}";
        check(Role::Worker, spec, &[("OMP_NUM_THREADS", "2")], |get| {
            assert_eq!(get("OMP_NUM_THREADS").as_deref(), Some("8"));
            assert_eq!(
                get("DASK_DATAFRAME__SHUFFLE__METHOD").as_deref(),
                Some("disk")
            );
            assert_eq!(get("DASK_ARRAY__RECHUNK__METHOD").as_deref(), Some("tasks"));
        });
    }

    #[test]
    fn an_address_left_in_the_shell_does_not_win() {
        check(
            Role::Worker,
            "{}",
            &[("DASK_SCHEDULER_ADDRESS", "tcp://elsewhere:8786")],
            |get| {
                assert_eq!(
                    get("DASK_SCHEDULER_ADDRESS").as_deref(),
                    Some("tcp://127.0.0.1:1")
                );
            },
        );
    }

    #[test]
    fn paths_of_the_run_come_before_those_of_shell_and_manifest() {
        let spec = "{env: [{name: PYTHONPATH, value: '/opt/lib'}]}";
        check(
            Role::Runner,
            spec,
            &[("PATH", "/usr/bin:/bin"), ("PYTHONPATH", "/old")],
            |get| {
                assert_eq!(
                    get("PYTHONPATH").as_deref(),
                    Some("/run/1/files:/home/me:/opt/lib")
                );
                assert_eq!(
                    get("PATH").as_deref(),
                    Some("/run/bin:/venv/bin:/usr/bin:/bin")
                );
            },
        );
    }

    #[test]
    fn variables_of_the_pod_and_of_each_other_are_expanded() {
        let spec = "{env: [{name: ME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}, {name: GREETING, value: 'hello $(ME) of $(DASKJOB_NAME)'}]}";
        check(Role::Worker, spec, &[], |get| {
            assert_eq!(
                get("GREETING").as_deref(),
                Some("hello x-1-worker-default-0 of x")
            )
        });
    }

    #[test]
    fn what_the_shell_stands_in_for_is_expanded_as_a_secret_is() {
        let spec = "{env: [
            {name: EARLY, value: 'a $(TOKEN)'},
            {name: TOKEN, valueFrom: {secretKeyRef: {name: a, key: b}}},
            {name: HEADER, value: 'Bearer $(TOKEN)'},
            {name: ESCAPED, value: '$$(TOKEN) $$$(TOKEN) $(HOME) $TOKEN'},
            {name: TWICE, value: '<$(HEADER)>'},
            {name: ABSENT, valueFrom: {configMapKeyRef: {name: a, key: c, optional: true}}},
            {name: OF_ABSENT, value: '$(ABSENT)'},
            {name: TOO_EARLY, value: '$(DASKJOB_ROLE)'},
            {name: DASKJOB_ROLE, value: other}]}";
        let shell = [("TOKEN", "s$(DASKJOB_NAME)$$3"), ("HOME", "/root")];
        check(Role::Worker, spec, &shell, |get| {
            for (name, expected) in [
                ("TOKEN", "s$(DASKJOB_NAME)$$3"),
                ("HEADER", "Bearer s$(DASKJOB_NAME)$$3"),
                ("TWICE", "<Bearer s$(DASKJOB_NAME)$$3>"),
                ("ESCAPED", "$(TOKEN) $s$(DASKJOB_NAME)$$3 $(HOME) $TOKEN"),
                ("EARLY", "a $(TOKEN)"),
                ("OF_ABSENT", "$(ABSENT)"),
                ("TOO_EARLY", "$(DASKJOB_ROLE)"),
            ] {
                assert_eq!(get(name).as_deref(), Some(expected), "{name}");
            }
            assert_eq!(get("ABSENT"), None);
        });
    }

    #[test]
    fn only_the_native_engine_is_kept_from_peer_to_peer_shuffles() {
        check(Role::Runner, "{}", &[], |get| {
            assert_eq!(
                get("DASK_DATAFRAME__SHUFFLE__METHOD").as_deref(),
                Some("tasks")
            )
        });
        check(Role::Runner, "{engine: dask}", &[], |get| {
            assert_eq!(get("DASK_DATAFRAME__SHUFFLE__METHOD"), None)
        });
    }
}
