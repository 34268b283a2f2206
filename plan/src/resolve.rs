//! From what a user wrote to a [`ResolvedJob`]: shape first (`structure`), then meaning.
//!
//! Invariant: total. Every input gives a job or at least one refusal.

use crate::refusal::{Refusal, Refusals};
use crate::resolved::{Deadlines, JobName, ResolvedJob, Runner};
use crate::{files, roles, structure, workers};
use contract::Role;
use crd::{DaskJobSpec, JobSpec, RoleSpec};
use serde_json::Value;
use std::sync::LazyLock;

/// What a spec gets where it says nothing.
#[derive(Debug, Clone)]
pub struct Defaults {
    /// Image of every role.
    pub image: String,
}

impl Default for Defaults {
    fn default() -> Self {
        Defaults {
            image: "daskjob-worker:latest".to_owned(),
        }
    }
}

static SCHEMA: LazyLock<Value> = LazyLock::new(crd::schema_of_dask_job);

/// One manifest as data: `apiVersion`, `kind`, `metadata`, `spec`.
pub fn resolve_manifest(
    manifest: &Value,
    defaults: &Defaults,
) -> Result<ResolvedJob, Vec<Refusal>> {
    let mut refusals = Refusals::default();
    let name = name_of(&manifest["metadata"], &mut refusals);
    let namespace = manifest["metadata"]["namespace"]
        .as_str()
        .map(str::to_owned);
    check_top_level(manifest, &mut refusals);
    let Some(spec) = read_spec(&manifest["spec"], &mut refusals) else {
        return Err(refusals.0);
    };
    let found_so_far = refusals.0.len();
    let job = build(name, namespace, &spec, defaults, &mut refusals);
    drop_consequences(&mut refusals.0, found_so_far);
    if refusals.0.is_empty() {
        Ok(job)
    } else {
        Err(refusals.0)
    }
}

/// A job whose spec is typed already, as an operator reads it.
pub fn resolve(
    name: &str,
    namespace: Option<&str>,
    spec: &DaskJobSpec,
    defaults: &Defaults,
) -> Result<ResolvedJob, Vec<Refusal>> {
    let mut refusals = Refusals::default();
    // The typed spec may have been stored before a bound was added, so its shape is checked too.
    let raw = serde_json::to_value(spec).expect("a spec is JSON");
    structure::check(&raw, &SCHEMA["properties"]["spec"], "spec", &mut refusals);
    let job = build(
        JobName(name.to_owned()),
        namespace.map(str::to_owned),
        spec,
        defaults,
        &mut refusals,
    );
    if refusals.0.is_empty() {
        Ok(job)
    } else {
        Err(refusals.0)
    }
}

/// Fields beside `spec`.
fn check_top_level(manifest: &Value, refusals: &mut Refusals) {
    const KNOWN: [&str; 5] = ["apiVersion", "kind", "metadata", "spec", "status"];
    for name in manifest
        .as_object()
        .into_iter()
        .flat_map(|fields| fields.keys())
    {
        if !KNOWN.contains(&name.as_str()) {
            let remedy = match crate::distance::nearest(name, KNOWN) {
                Some(meant) => format!("did you mean {meant}?"),
                None => "did it slip out of spec? Check its indentation".to_owned(),
            };
            refusals.add(name, "is not a field here", remedy);
        }
    }
}

fn name_of(metadata: &Value, refusals: &mut Refusals) -> JobName {
    const REMEDY: &str = "write a name of lower-case letters, digits, - and ., such as quickstart";
    if !metadata.is_null() && !metadata.is_object() {
        refusals.add(
            "metadata",
            "must be a map of fields",
            "write metadata: {name: quickstart}",
        );
        return JobName(String::new());
    }
    let (field, name) = match (&metadata["name"], &metadata["generateName"]) {
        (Value::Null, Value::String(prefix)) => (
            "metadata.generateName",
            prefix.trim_end_matches('-').to_owned(),
        ),
        (Value::String(name), _) => ("metadata.name", name.clone()),
        (Value::Null, _) => {
            refusals.add("metadata.name", "is missing", REMEDY);
            return JobName(String::new());
        }
        (other, _) => {
            refusals.add(
                "metadata.name",
                format!("must be text, is {other}"),
                format!("write it in quotes: \"{other}\""),
            );
            return JobName(String::new());
        }
    };
    if !is_subdomain(&name) {
        refusals.add(field, format!("\"{name}\" cannot be a name"), REMEDY);
    }
    JobName(name)
}

/// RFC 1123: labels of lower-case letters, digits and `-`, joined by dots, at most 253 characters.
fn is_subdomain(name: &str) -> bool {
    let letter = |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit();
    name.len() <= 253
        && name.split('.').all(|label| {
            label.starts_with(letter)
                && label.ends_with(letter)
                && label.chars().all(|each| letter(each) || each == '-')
        })
}

/// The typed spec of what fits the schema; what does not fit is refused and left out.
fn read_spec(raw: &Value, refusals: &mut Refusals) -> Option<DaskJobSpec> {
    if raw.is_null() {
        refusals.add(
            "spec",
            "is missing",
            "add spec with job.command, such as {job: {command: [python, main.py]}}",
        );
        return None;
    }
    let fitting = structure::check(raw, &SCHEMA["properties"]["spec"], "spec", refusals)?;
    match serde_json::from_value(fitting) {
        Ok(spec) => Some(spec),
        // Something required was refused and cut out, which has its refusal already.
        Err(_) if !refusals.0.is_empty() => None,
        Err(error) => {
            refusals.add(
                "spec",
                error.to_string(),
                "compare with the fields of kubectl explain daskjob.spec",
            );
            None
        }
    }
}

fn build(
    name: JobName,
    namespace: Option<String>,
    spec: &DaskJobSpec,
    defaults: &Defaults,
    refusals: &mut Refusals,
) -> ResolvedJob {
    roles::check_shared(spec, refusals);
    let of_scheduler = spec
        .scheduler
        .as_ref()
        .map(|scheduler| scheduler.role.clone())
        .unwrap_or_default();
    ResolvedJob {
        name,
        namespace,
        engine: spec.engine,
        job: spec
            .job
            .as_ref()
            .map(|job| runner(spec, job, defaults, refusals)),
        scheduler: roles::resolve(
            spec,
            Role::Scheduler,
            &of_scheduler,
            defaults,
            "spec.scheduler",
            refusals,
        ),
        worker_groups: workers::resolve_groups(spec, defaults, refusals),
        network_policy_from: spec
            .network_policy
            .as_ref()
            .map(|policy| policy.from.clone())
            .unwrap_or_default(),
        suspend: spec.suspend,
        backoff_limit: spec.backoff_limit.max(0).unsigned_abs(),
        deadlines: deadlines(spec, refusals),
    }
}

fn runner(
    spec: &DaskJobSpec,
    job: &JobSpec,
    defaults: &Defaults,
    refusals: &mut Refusals,
) -> Runner {
    let role: &RoleSpec = &job.role;
    if job.command.first().is_some_and(String::is_empty) {
        refusals.add(
            "spec.job.command[0]",
            "is empty",
            "write the program to run, such as python",
        );
    }
    for (list, name) in [(&job.command, "command"), (&job.args, "args")] {
        for (index, _) in list
            .iter()
            .enumerate()
            .filter(|(_, text)| text.contains('\0'))
        {
            refusals.add(
                format!("spec.job.{name}[{index}]"),
                "holds a zero character",
                "remove it",
            );
        }
    }
    Runner {
        role: roles::resolve(spec, Role::Runner, role, defaults, "spec.job", refusals),
        command: job.command.clone(),
        args: job.args.clone(),
        files: files::resolve(&job.files, "spec.job.files", refusals),
    }
}

fn deadlines(spec: &DaskJobSpec, refusals: &mut Refusals) -> Deadlines {
    if spec.idle_timeout_seconds.is_some() && spec.job.is_some() {
        refusals.add(
            "spec.idleTimeoutSeconds",
            "is for interactive clusters: a job ends by itself",
            "remove it, or use activeDeadlineSeconds to bound the job",
        );
    }
    let seconds = |value: Option<i64>| value.map(|seconds| seconds.max(0).unsigned_abs());
    Deadlines {
        start_deadline_seconds: seconds(spec.start_deadline_seconds),
        active_deadline_seconds: seconds(spec.active_deadline_seconds),
        idle_timeout_seconds: seconds(spec.idle_timeout_seconds),
        ttl_seconds_after_finished: seconds(spec.ttl_seconds_after_finished),
    }
}

/// A refusal about meaning that lies inside a field refused for its shape is only a consequence.
fn drop_consequences(refusals: &mut Vec<Refusal>, about_shape: usize) {
    let shapes: Vec<String> = refusals[..about_shape]
        .iter()
        .map(|refusal| refusal.field.clone())
        .collect();
    let mut index = 0;
    refusals.retain(|refusal| {
        index += 1;
        index <= about_shape
            || !shapes
                .iter()
                .any(|shape| refusal.field.starts_with(shape.as_str()))
    });
}
