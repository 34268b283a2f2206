//! The CEL rules that say what of a spec may be edited: worker counts, minimum and maximum, suspend, deadlines and TTL
//! at any time; everything else only while the job is suspended.
//!
//! Written out field by field, because an API server estimates what a rule may cost: comparing optional values or whole
//! objects with many texts counts as boundless. Free-form objects (templates, `valueFrom`, peers) cannot be looked into,
//! but two of them can be compared.

use serde_json::{Value, json};

/// What every role has that may not be edited.
const OF_ROLE: [&str; 5] = ["image", "requests", "limits", "env", "template"];

/// Rules for `spec`, each with the field it is about.
pub(crate) fn rules_of_spec() -> Vec<Value> {
    let mut rules = vec![
        frozen("engine", "self.engine == oldSelf.engine"),
        frozen("backoffLimit", "self.backoffLimit == oldSelf.backoffLimit"),
    ];
    for field in OF_ROLE {
        rules.push(frozen(field, &same("self", "oldSelf", field)));
    }
    rules.push(frozen("job", &same_job()));
    rules.push(frozen(
        "scheduler",
        &same_inside("scheduler", &OF_ROLE, &[]),
    ));
    let resources = "daskResources";
    let of_workers = [&OF_ROLE[..], &["threads"]].concat();
    rules.push(frozen(
        "workers",
        &same_inside("workers", &of_workers, &[resources]),
    ));
    rules.push(count_of_adaptive());
    rules.push(frozen(
        "networkPolicy",
        &same("self", "oldSelf", "networkPolicy"),
    ));
    rules.push(frozen(
        "workerGroups",
        &same_groups(&[&of_workers[..], &[resources]].concat()),
    ));
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

/// The same of every field.
fn same_all(new: &str, old: &str, fields: &[&str]) -> String {
    let each: Vec<String> = fields.iter().map(|field| same(new, old, field)).collect();
    each.join(" && ")
}

/// The same for fields of an object that may be unset; unset, it counts as empty. What is boundless without its whole path
/// comes apart.
fn same_inside(object: &str, fields: &[&str], boundless: &[&str]) -> String {
    let (new, old) = (format!("self.{object}"), format!("oldSelf.{object}"));
    let both = same_objects(object, &same_all("n", "o", fields), boundless);
    let none = |side: &str| {
        let fields = fields.iter().chain(boundless);
        let each: Vec<String> = fields
            .map(|field| format!("!has({side}.{field})"))
            .collect();
        each.join(" && ")
    };
    format!(
        "has({new}) ? (has({old}) ? ({both}) : ({})) : (!has({old}) || ({}))",
        none(&new),
        none(&old)
    )
}

/// What holds of the new object `n` and the old one `o`, and of fields by their whole path.
///
/// Whenever a rule looks a field up, the API server lists all fields its object may have: the short names save the long
/// list of a spec's, and with it half the cost of every status that is stored.
fn same_objects(object: &str, rule: &str, fields: &[&str]) -> String {
    let (new, old) = (format!("self.{object}"), format!("oldSelf.{object}"));
    let mut rules = vec![format!("[{new}].all(n, [{old}].all(o, {rule}))")];
    rules.extend(fields.iter().map(|field| same(&new, &old, field)));
    rules.join(" && ")
}

/// A job without a program is another kind of cluster.
fn same_job() -> String {
    let both = same_objects(
        "job",
        &same_all("n", "o", &OF_ROLE),
        &["command", "args", "files"],
    );
    format!("has(self.job) == has(oldSelf.job) && (!has(self.job) || ({both}))")
}

fn same_groups(fields: &[&str]) -> String {
    let same = same_all("g", "o", fields);
    format!(
        "has(self.workerGroups) == has(oldSelf.workerGroups) && (!has(self.workerGroups) || (self.workerGroups.size() == oldSelf.workerGroups.size() && self.workerGroups.all(g, oldSelf.workerGroups.exists(o, o.name == g.name && {same}))))"
    )
}
