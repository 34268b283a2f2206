//! The CEL rules that say what of a spec may be edited: worker counts, minimum and maximum, suspend, deadlines and TTL
//! at any time; everything else only while the job is suspended.
//!
//! Written out field by field, because an API server estimates what a rule may cost: comparing optional values or whole
//! objects with many texts counts as boundless. Free-form objects (templates, `valueFrom`, peers) cannot be looked into,
//! but two of them can be compared.

use serde_json::{Value, json};

/// What every role has that may not be edited.
const OF_ROLE: [&str; 5] = ["image", "requests", "limits", "env", "template"];

/// What a group of workers has beside it.
const OF_WORKERS: [&str; 2] = ["threads", "daskResources"];

/// Rules for `spec`, each with the field it is about.
pub(crate) fn rules_of_spec() -> Vec<Value> {
    let mut rules = vec![
        frozen("engine", "self.engine == oldSelf.engine"),
        frozen("backoffLimit", "self.backoffLimit == oldSelf.backoffLimit"),
    ];
    for field in OF_ROLE {
        rules.push(frozen(field, &same("self", "oldSelf", field)));
    }
    for field in OF_ROLE.iter().chain(&["args", "files"]) {
        rules.push(frozen("job", &same_inside("job", field)));
    }
    rules.push(frozen("job", "has(self.job) == has(oldSelf.job) && (!has(self.job) || self.job.command == oldSelf.job.command)"));
    for field in OF_ROLE {
        rules.push(frozen("scheduler", &same_inside("scheduler", field)));
    }
    for field in OF_ROLE.iter().chain(&OF_WORKERS) {
        rules.push(frozen("workers", &same_inside("workers", field)));
    }
    rules.push(count_of_adaptive());
    rules.push(frozen(
        "networkPolicy",
        &same("self", "oldSelf", "networkPolicy"),
    ));
    rules.push(frozen("workerGroups", "has(self.workerGroups) == has(oldSelf.workerGroups) && (!has(self.workerGroups) || self.workerGroups.size() == oldSelf.workerGroups.size())"));
    for field in OF_ROLE.iter().chain(&OF_WORKERS) {
        let same = same("g", "o", field);
        let rule = format!(
            "!has(self.workerGroups) || !has(oldSelf.workerGroups) || self.workerGroups.all(g, oldSelf.workerGroups.exists(o, o.name == g.name && {same}))"
        );
        rules.push(frozen("workerGroups", &rule));
    }
    rules
}

fn frozen(field: &str, rule: &str) -> Value {
    json!({
        "rule": format!("oldSelf.suspend || ({rule})"),
        "message": format!("{field} may be edited only while the job is suspended; counts, minimum, maximum, suspend, deadlines and TTL may be at any time"),
        "fieldPath": format!(".{field}"),
    })
}

/// `kubectl scale` on workers that adapt to their load would do nothing, so it is refused. Further groups cannot be
/// scaled that way.
fn count_of_adaptive() -> Value {
    let adaptive = |side: &str| format!("has({side}.workers) && has({side}.workers.maximum)");
    let unchanged = same("self.workers", "oldSelf.workers", "numberOfWorkers");
    json!({
        "rule": format!(
            "oldSelf.suspend || !({} && {}) || ({unchanged})",
            adaptive("self"), adaptive("oldSelf"),
        ),
        "message": "numberOfWorkers is only where workers with a maximum began: edit minimum and maximum, or remove maximum",
        "fieldPath": ".workers.numberOfWorkers",
    })
}

/// A field that is unset in both, or equal.
fn same(new: &str, old: &str, field: &str) -> String {
    format!(
        "has({new}.{field}) == has({old}.{field}) && (!has({new}.{field}) || {new}.{field} == {old}.{field})"
    )
}

/// The same for a field of an object that may be unset; unset, it counts as empty.
fn same_inside(object: &str, field: &str) -> String {
    let (new, old) = (format!("self.{object}"), format!("oldSelf.{object}"));
    let both = same(&new, &old, field);
    format!(
        "has({new}) ? (has({old}) ? ({both}) : !has({new}.{field})) : (!has({old}) || !has({old}.{field}))"
    )
}
