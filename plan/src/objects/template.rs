//! Merging users' templates into a pod of ours, as `kubectl patch` merges: maps deeply, lists of named things by name, null
//! removes, anything else is the user's word.
//!
//! Fixed, whatever a template says: the role's container has our image, command, args and ports; the restart policy; our
//! labels. Total: where shapes do not fit, the template's value stands, and the API server names the field.

use super::metadata;
use contract::Role;
use crd::Template;
use serde_json::{Map, Value};

/// The pod with the templates merged into it, in order.
pub(super) fn merge(pod: Value, templates: &[Template], role: Role) -> Value {
    let mut merged = pod.clone();
    for template in templates {
        if let Some(of_template) = &template.metadata {
            merge_metadata(&mut merged["metadata"], of_template);
        }
        if let Some(spec) = &template.spec {
            merge_field(&mut merged, "spec", spec);
        }
    }
    fix(&mut merged, &pod, role);
    merged
}

/// Labels and annotations; the rest of a pod's metadata is ours.
fn merge_metadata(metadata: &mut Value, of_template: &Value) {
    for field in ["labels", "annotations"] {
        match &of_template[field] {
            Value::Null => {}
            Value::Object(entries) => {
                let allowed: Map<String, Value> = entries
                    .iter()
                    .filter(|(key, _)| !metadata::is_reserved(key))
                    .map(|(key, value)| (key.clone(), value.clone()))
                    .collect();
                merge_field(metadata, field, &allowed.into());
            }
            unfit => metadata[field] = unfit.clone(),
        }
    }
}

fn merge_field(into: &mut Value, name: &str, patch: &Value) {
    let Value::Object(fields) = into else {
        return;
    };
    match fields.get_mut(name) {
        _ if patch.is_null() => {
            fields.shift_remove(name);
        }
        None => {
            fields.insert(name.to_owned(), without_nulls(patch));
        }
        Some(base) => merge_value(base, name, patch),
    }
}

fn merge_value(base: &mut Value, name: &str, patch: &Value) {
    match (&mut *base, patch) {
        (Value::Object(_), Value::Object(fields)) => {
            for (name, value) in fields {
                merge_field(base, name, value);
            }
        }
        (Value::Array(items), Value::Array(of_patch)) => merge_list(items, name, of_patch),
        _ => *base = without_nulls(patch),
    }
}

/// How two lists become one.
enum ListRule {
    /// Items with the same value of this key are one thing, merged deeply.
    Deep(&'static str),
    /// Items with the same value of this key are one thing, and the template's replaces ours: a variable has one source,
    /// a volume one kind.
    Whole(&'static str),
    /// The template's items come after ours.
    Append,
    /// The template's list is the list.
    Replace,
}

fn rule_of(list: &str) -> ListRule {
    match list {
        "containers" | "initContainers" => ListRule::Deep("name"),
        "env" | "volumes" | "imagePullSecrets" | "resourceClaims" | "claims" => {
            ListRule::Whole("name")
        }
        "volumeMounts" => ListRule::Whole("mountPath"),
        "volumeDevices" => ListRule::Whole("devicePath"),
        "ports" => ListRule::Whole("containerPort"),
        "hostAliases" => ListRule::Whole("ip"),
        "tolerations"
        | "topologySpreadConstraints"
        | "envFrom"
        | "readinessGates"
        | "schedulingGates" => ListRule::Append,
        _ => ListRule::Replace,
    }
}

fn merge_list(items: &mut Vec<Value>, name: &str, patch: &[Value]) {
    let (key, deep) = match rule_of(name) {
        ListRule::Deep(key) => (key, true),
        ListRule::Whole(key) => (key, false),
        ListRule::Append => {
            for item in patch.iter().map(without_nulls) {
                // The same in the template of all roles and in that of one is meant once.
                if !items.contains(&item) {
                    items.push(item);
                }
            }
            return;
        }
        ListRule::Replace => {
            *items = patch.iter().map(without_nulls).collect();
            return;
        }
    };
    // Two of a name in one template are left for the API server to refuse.
    let before = items.len();
    for item in patch {
        let same = items[..before]
            .iter_mut()
            .find(|known| !item[key].is_null() && known[key] == item[key]);
        match same {
            Some(known) if deep => merge_value(known, "", item),
            Some(known) => *known = without_nulls(item),
            None => items.push(without_nulls(item)),
        }
    }
}

/// A null in a template says "nothing here", also where there was nothing.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(name, value)| (name.clone(), without_nulls(value)))
            .collect::<Map<String, Value>>()
            .into(),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

/// Puts back what a template cannot change.
fn fix(merged: &mut Value, ours: &Value, role: Role) {
    if let Some(labels) = merged["metadata"]["labels"].as_object_mut() {
        for (key, value) in ours["metadata"]["labels"].as_object().into_iter().flatten() {
            let of_ours = metadata::is_reserved(key) || FIXED_LABELS.contains(&key.as_str());
            if of_ours {
                labels.insert(key.clone(), value.clone());
            }
        }
    }
    if !merged["spec"].is_object() {
        return;
    }
    merged["spec"]["restartPolicy"] = ours["spec"]["restartPolicy"].clone();
    let containers = merged["spec"]["containers"].as_array_mut();
    let container = containers
        .into_iter()
        .flatten()
        .find(|container| container["name"] == role.as_str());
    if let Some(container) = container {
        fix_container(container, &ours["spec"]["containers"][0]);
    }
}

/// What selectors of other tools must not find under a user's name, nor watches of ours miss.
const FIXED_LABELS: [&str; 3] = [
    contract::labels::NAME.0,
    contract::labels::MANAGED_BY.0,
    contract::labels::COMPONENT,
];

fn fix_container(container: &mut Value, ours: &Value) {
    for field in ["image", "command", "args"] {
        container[field] = ours[field].clone();
    }
    let Some(of_ours) = ours["ports"].as_array() else {
        return;
    };
    let mut ports = of_ours.clone();
    let others = container["ports"].as_array().into_iter().flatten();
    for port in others {
        let taken = of_ours.iter().any(|known| {
            ["name", "containerPort"]
                .iter()
                .any(|key| known[*key] == port[*key])
        });
        if !taken {
            ports.push(port.clone());
        }
    }
    container["ports"] = ports.into();
}
