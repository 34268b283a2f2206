//! The job's files as a ConfigMap, and as a volume in which they have their paths.
//!
//! A key of a ConfigMap cannot hold `/`, so keys are numbers and the volume maps them to paths.

use super::{Attempt, metadata};
use serde_json::{Map, Value, json};

/// The volume's name.
pub(super) const VOLUME: &str = "daskjob-files";

pub(super) fn config_map(attempt: Attempt<'_>) -> Option<Value> {
    let runner = attempt.job.job.as_ref()?;
    if runner.files.is_empty() {
        return None;
    }
    let data: Map<String, Value> = runner
        .files
        .iter()
        .enumerate()
        .map(|(index, (_, text))| (key(index), Value::from(text)))
        .collect();
    Some(json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata::of_object(attempt, &name(attempt), None),
        // Kubelets then need no watch on it; another attempt has another one.
        "immutable": true,
        "data": data,
    }))
}

/// The volume of a job that has files.
pub(super) fn volume(attempt: Attempt<'_>) -> Option<Value> {
    let runner = attempt.job.job.as_ref()?;
    let items: Vec<Value> = runner
        .files
        .iter()
        .enumerate()
        .map(|(index, (path, _))| json!({"key": key(index), "path": path.as_str()}))
        .collect();
    (!items.is_empty())
        .then(|| json!({"name": VOLUME, "configMap": {"name": name(attempt), "items": items}}))
}

fn name(attempt: Attempt<'_>) -> String {
    crate::names::files(&attempt.owner.name, attempt.number)
}

fn key(index: usize) -> String {
    format!("file-{index}")
}
