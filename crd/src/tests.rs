//! The generated manifests are current, and small and structural enough for an API server.

use super::*;
use serde_json::Value;
use std::path::Path;

/// `kubectl apply` keeps the whole object in an annotation of at most this size.
const LARGEST_FOR_CLIENT_SIDE_APPLY: usize = 256 * 1024;

#[test]
fn the_committed_manifests_are_current() {
    for (path, text) in manifests() {
        let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
        let committed = std::fs::read_to_string(committed).unwrap_or_default();
        assert!(
            committed == text,
            "{path} is out of date: run `cargo xtask generate`"
        );
    }
}

#[test]
fn a_definition_fits_client_side_apply() {
    for (path, text) in manifests() {
        assert!(
            text.len() < LARGEST_FOR_CLIENT_SIDE_APPLY / 2,
            "{path} has {} bytes",
            text.len()
        );
    }
}

#[test]
fn every_field_is_documented() {
    walk(
        &schema_of_dask_job()["properties"]["spec"],
        "spec",
        &mut |path, schema| {
            assert!(
                schema["description"].is_string(),
                "{path} has no description"
            );
        },
    );
    walk(
        &schema_of_dask_job()["properties"]["status"],
        "status",
        &mut |path, schema| {
            assert!(
                schema["description"].is_string(),
                "{path} has no description"
            );
        },
    );
}

#[test]
fn the_schema_is_structural() {
    walk(
        &schema_of_dask_job()["properties"]["spec"],
        "spec",
        &mut |path, schema| {
            let typed = schema["type"].is_string() || schema["x-kubernetes-int-or-string"] == true;
            assert!(typed, "{path} has no type: {schema}");
            for keyword in [
                "$ref",
                "oneOf",
                "anyOf",
                "allOf",
                "not",
                "additionalProperties",
            ] {
                let allowed =
                    keyword == "additionalProperties" && schema.get("properties").is_none();
                assert!(
                    allowed || schema.get(keyword).is_none(),
                    "{path} uses {keyword}"
                );
            }
        },
    );
}

#[test]
fn rules_about_workers_stand_on_every_group() {
    let spec = &schema_of_dask_job()["properties"]["spec"]["properties"];
    let of_default = &spec["workers"]["x-kubernetes-validations"];
    let of_default = of_default.as_array().expect("workers have rules");
    let of_group = spec["workerGroups"]["items"]["x-kubernetes-validations"].as_array();
    let of_group = of_group.expect("groups have rules");
    assert_eq!(of_group.len(), 5);
    // What can be said of one group only comes last.
    assert_eq!(of_group[..], of_default[..of_group.len()]);
}

/// Every named property below a schema.
fn walk(schema: &Value, path: &str, visit: &mut impl FnMut(&str, &Value)) {
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        visit(&path, property);
        walk(property, &path, visit);
        walk(&property["items"], &format!("{path}[]"), visit);
    }
}
