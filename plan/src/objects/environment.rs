//! The environment of a role's container.
//!
//! What makes the attempt work comes first, then what the user wrote, so that the user's `$(NAME)` finds ours; the user's
//! variable of a name of ours takes its place. Defaults that also an image may override are the launcher's
//! (`command`): what stands in a pod hides what an image sets.

use super::{Attempt, Part, scheduler_address};
use crate::environment::{EnvValue, ResolvedEnv};
use contract::{Role, environment as names, paths};
use serde_json::{Value, json};

pub(super) fn of_container(attempt: Attempt<'_>, part: Part<'_>) -> Vec<Value> {
    let of_user = &part.settings().env;
    ours(attempt, part)
        .into_iter()
        .filter(|(name, _)| of_user.iter().all(|variable| variable.name != *name))
        .map(|(name, value)| json!({"name": name, "value": value}))
        .chain(of_user.iter().map(user_variable))
        .collect()
}

fn ours(attempt: Attempt<'_>, part: Part<'_>) -> Vec<(&'static str, String)> {
    let mut ours = vec![
        (names::JOB_NAME, attempt.owner.name.clone()),
        (names::ATTEMPT, attempt.number.to_string()),
        (names::ROLE, part.role().to_string()),
    ];
    if let Part::Worker { group, .. } = part {
        ours.push((names::WORKER_GROUP, group.name.clone()));
    }
    if part.role() != Role::Scheduler {
        let address = scheduler_address(attempt.config, attempt.owner, attempt.number);
        ours.push((names::SCHEDULER_ADDRESS, address));
    }
    // Where the root file system may be read-only, these may not point into it.
    ours.push((names::SYSTEM_TEMPORARY_DIRECTORY, paths::SCRATCH.to_owned()));
    ours.push((names::TEMPORARY_DIRECTORY, paths::SCRATCH.to_owned()));
    ours
}

fn user_variable(variable: &ResolvedEnv) -> Value {
    match &variable.value {
        EnvValue::Value(text) => json!({"name": variable.name, "value": text}),
        EnvValue::ValueFrom(source) => json!({"name": variable.name, "valueFrom": source}),
    }
}
