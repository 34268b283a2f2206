//! The definition itself, as the API server took it.

use cluster::{Tier, on_cluster};
use serde_json::json;

/// Its estimates of what a CEL rule may cost are the highest, and a definition beyond them is refused as a whole.
#[test]
fn the_oldest_supported_kubernetes_takes_the_definition() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        let definitions = cluster.run(
            "validate-definition",
            &["manifests/crds/daskjob.dev_daskjobs.yaml"],
        );
        assert!(definitions.success, "{}", definitions.stderr);
    });
}

const PATH: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/daskjobs.daskjob.dev";

#[test]
fn the_api_server_has_nothing_against_the_definition() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        cluster.install_definitions();
        let definition = cluster
            .send("GET", PATH, &json!({}))
            .await
            .expect("it is there");
        let conditions = definition["status"]["conditions"]
            .as_array()
            .expect("it has conditions");
        let holds = |name: &str| {
            let condition = conditions.iter().find(|each| each["type"] == name);
            condition.map(|each| each["status"] == "True")
        };
        assert_eq!(holds("Established"), Some(true), "{conditions:?}");
        assert_eq!(holds("NamesAccepted"), Some(true), "{conditions:?}");
        // Only a schema that is not structural has this condition.
        assert_ne!(holds("NonStructuralSchema"), Some(true), "{conditions:?}");
    });
}

/// The server takes a field it does not know silently: what is stored must be what was generated.
#[test]
fn the_api_server_stores_every_rule_and_description_that_was_generated() {
    on_cluster(Tier::ControlPlane, async |cluster| {
        cluster.install_definitions();
        let stored = cluster
            .send("GET", PATH, &json!({}))
            .await
            .expect("it is there");
        let stored = &stored["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let generated = crd::schema_of_dask_job();
        for keyword in [
            "rule",
            "messageExpression",
            "fieldPath",
            "description",
            "maxLength",
        ] {
            assert_eq!(
                count(stored, keyword),
                count(&generated, keyword),
                "{keyword}"
            );
        }
    });
}

/// How often a schema has a keyword.
fn count(schema: &serde_json::Value, keyword: &str) -> usize {
    match schema {
        serde_json::Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| {
                usize::from(name == keyword && !value.is_object()) + count(value, keyword)
            })
            .sum(),
        serde_json::Value::Array(items) => items.iter().map(|item| count(item, keyword)).sum(),
        _ => 0,
    }
}
