//! The table of cases that `plan` is tested with too.

use serde_json::{Value, json};

pub fn cases(list: &str) -> Vec<Value> {
    let table = contract::yaml::parse(include_str!("../../../../plan/refusals.yaml"))
        .expect("the table is YAML");
    table[list]
        .as_array()
        .expect("the table has this list")
        .clone()
}

/// A job around a spec.
pub fn job(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": crd::api_version(),
        "kind": crd::KIND,
        "metadata": {"name": name},
        "spec": spec,
    })
}

/// The manifest of a case: as written, or around its spec.
pub fn manifest_of(case: &Value) -> Value {
    let mut manifest = case
        .get("manifest")
        .cloned()
        .unwrap_or_else(|| job("case", &case["spec"]));
    manifest["apiVersion"] = json!(crd::api_version());
    manifest["kind"] = json!(crd::KIND);
    manifest
}
