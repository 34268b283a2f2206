//! The container of a role: its name is the role's.
//!
//! No probes: a readiness probe would only delay what the launchers find out by themselves, and a liveness probe would kill
//! a busy scheduler with all its work. The operator asks the scheduler itself.

use super::{Attempt, Part, command, environment, files, pod, program, service};
use crate::resolved::Resources;
use contract::{Role, paths, ports, termination};
use serde_json::{Map, Value, json};

pub(super) fn of_part(attempt: Attempt<'_>, part: Part<'_>) -> Value {
    let settings = part.settings();
    let line = command::of_container(attempt, part);
    let mut container = json!({
        "name": part.role().as_str(),
        "image": settings.image,
        "command": line.command,
        "args": line.args,
        "env": environment::of_container(attempt, part),
        "securityContext": security_context(),
        // The last lines of the log stand in where a program ended without a message of ours.
        "terminationMessagePath": termination::PATH,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": mounts(attempt, part),
    });
    let ports = ports(part.role());
    if !ports.is_empty() {
        container["ports"] = ports.into();
    }
    if let Some(resources) = resources(&settings.resources) {
        container["resources"] = resources;
    }
    set_pull_policy(&mut container, attempt);
    container
}

/// What Pod Security's restricted level asks of a container, as far as every image bears it: `runAsNonRoot` is not among
/// it, for an image may run as root.
pub(super) fn security_context() -> Value {
    json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}})
}

pub(super) fn set_pull_policy(container: &mut Value, attempt: Attempt<'_>) {
    if let Some(policy) = &attempt.config.image_pull_policy {
        container["imagePullPolicy"] = policy.as_str().into();
    }
}

/// Ports that other pods connect to by number.
pub(super) fn ports(role: Role) -> Vec<Value> {
    let named: &[(&str, u16)] = match role {
        Role::Scheduler => &service::SCHEDULER_PORTS,
        Role::Worker => &[("http-worker", ports::WORKER_DASHBOARD)],
        Role::Runner => &[],
    };
    named
        .iter()
        .map(|(name, port)| json!({"name": name, "containerPort": port, "protocol": "TCP"}))
        .collect()
}

fn mounts(attempt: Attempt<'_>, part: Part<'_>) -> Vec<Value> {
    let mut mounts = vec![json!({"name": pod::SCRATCH_VOLUME, "mountPath": paths::SCRATCH})];
    if program::is_copied(attempt, part) {
        mounts.push(program::mount());
    }
    if attempt.has_files() {
        mounts.push(json!({"name": files::VOLUME, "mountPath": paths::FILES, "readOnly": true}));
        if part.role() == Role::Runner {
            mounts.push(json!({"name": pod::WORK_VOLUME, "mountPath": paths::WORK}));
        }
    }
    mounts
}

fn resources(resources: &Resources) -> Option<Value> {
    let mut written = Map::new();
    for (field, amounts) in [
        ("requests", &resources.requests),
        ("limits", &resources.limits),
    ] {
        if !amounts.is_empty() {
            let amounts: Map<String, Value> = amounts
                .iter()
                .map(|(name, amount)| (name.clone(), amount.to_quantity(name).into()))
                .collect();
            written.insert(field.to_owned(), amounts.into());
        }
    }
    (!written.is_empty()).then(|| written.into())
}
