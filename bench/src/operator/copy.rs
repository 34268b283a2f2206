//! What jobs had, as somebody without an operator would create it: names, labels and specs, without what the cluster put in.

use ::cluster::Cluster;
use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::api;

/// Those that belong to jobs, in the order our operator makes them where many come at once.
pub const KINDS: [(&str, &str); 3] = [
    ("/apis/networking.k8s.io/v1", "networkpolicies"),
    ("/api/v1", "services"),
    ("/api/v1", "pods"),
];

/// What the cluster decided, by kind; an object that says so itself may be refused.
const DECIDED: [&str; 3] = ["nodeName", "clusterIP", "clusterIPs"];

/// API, kind, objects.
pub type Copies = Vec<(&'static str, &'static str, Vec<Value>)>;

pub async fn objects_of(cluster: &Cluster, namespace: &str) -> Result<Copies> {
    let mut copies = Vec::new();
    for (api, kind) in KINDS {
        let mut list = api::get(cluster, &api::path(api, namespace, kind)).await?;
        let items = list["items"].as_array_mut().context("a list has items")?;
        copies.push((api, kind, items.iter_mut().map(copy).collect()));
    }
    Ok(copies)
}

fn copy(object: &mut Value) -> Value {
    let mut spec = object["spec"].take();
    for field in DECIDED {
        if let Some(fields) = spec.as_object_mut() {
            fields.remove(field);
        }
    }
    let of = &object["metadata"];
    json!({
        "metadata": {"name": of["name"], "labels": of["labels"], "annotations": of["annotations"]},
        "spec": spec,
    })
}

#[cfg(test)]
mod tests {
    use super::copy;
    use serde_json::json;

    #[test]
    fn a_copy_has_what_was_asked_for_and_nothing_the_cluster_put_in() {
        let mut service = json!({
            "metadata": {"name": "a", "uid": "1", "labels": {"x": "y"}, "annotations": null},
            "spec": {"type": "ClusterIP", "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"]},
            "status": {"loadBalancer": {}},
        });
        let expected = json!({
            "metadata": {"name": "a", "labels": {"x": "y"}, "annotations": null},
            "spec": {"type": "ClusterIP"},
        });
        assert_eq!(copy(&mut service), expected);
    }
}
