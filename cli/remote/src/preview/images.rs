//! Whether nodes have the images of a job, as far as they say so: a kubelet names only the largest it has. Pure.

use super::finding::Finding;
use super::planned::Planned;
use k8s_openapi::api::core::v1::{Container, Node};
use std::collections::{BTreeMap, BTreeSet};

/// What the nodes say of each image.
pub fn findings(nodes: &[Node], planned: &[Planned]) -> Vec<Finding> {
    let mut images: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for spec in planned.iter().filter_map(Planned::pod_spec) {
        for container in spec
            .init_containers
            .iter()
            .flatten()
            .chain(&spec.containers)
        {
            if let Some(image) = &container.image {
                images
                    .entry(image.clone())
                    .or_default()
                    .insert(policy_of(container));
            }
        }
    }
    images
        .iter()
        .filter_map(|(image, policies)| of_image(image, policies, nodes))
        .collect()
}

fn policy_of(container: &Container) -> String {
    let latest = container
        .image
        .as_deref()
        .is_some_and(|image| full_name(image).ends_with(":latest"));
    let usual = if latest { "Always" } else { "IfNotPresent" };
    container
        .image_pull_policy
        .clone()
        .unwrap_or_else(|| usual.to_owned())
}

fn of_image(image: &str, policies: &BTreeSet<String>, nodes: &[Node]) -> Option<Finding> {
    let full = full_name(image);
    let have = nodes
        .iter()
        .filter(|node| images_of(node).any(|name| full_name(name) == full))
        .count();
    let about = format!("image {image}");
    let is_local =
        full.starts_with("localhost/") || full.starts_with("docker.io/library/daskjob-worker:");
    if policies.contains("Never") && have == 0 {
        return Some(Finding::blocks(
            about,
            "no node says it has it, and imagePullPolicy is Never",
            "put it on the nodes, or allow that it is pulled",
        ));
    }
    match (have, is_local) {
        (have, _) if have == nodes.len() => None,
        (0, true) => Some(Finding::warns(
            about,
            "no node says it has it, and no registry is named in it",
            "name an image that nodes can pull, or put this one on each node",
        )),
        (have, _) => Some(Finding::notes(
            about,
            format!(
                "{have} of {} nodes say they have it; the others pull it first",
                nodes.len()
            ),
        )),
    }
}

fn images_of(node: &Node) -> impl Iterator<Item = &String> {
    let images = node
        .status
        .as_ref()
        .and_then(|status| status.images.as_ref());
    images
        .into_iter()
        .flatten()
        .flat_map(|image| image.names.iter().flatten())
}

/// With registry and tag, as nodes list it.
fn full_name(image: &str) -> String {
    let (first, rest) = image.split_once('/').unwrap_or(("", image));
    let is_registry = first == "localhost" || first.contains(['.', ':']);
    let named = match (first.is_empty(), is_registry) {
        (true, _) => format!("docker.io/library/{image}"),
        (false, true) => image.to_owned(),
        (false, false) => format!("docker.io/{first}/{rest}"),
    };
    let last = named.rsplit('/').next().unwrap_or_default();
    match last.contains([':', '@']) {
        true => named,
        false => format!("{named}:latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::planned::tests::planned;
    use super::*;
    use serde_json::{Value, json};

    fn node(images: Value) -> Node {
        serde_json::from_value(
            json!({"metadata": {"name": "n"}, "status": {"images": [{"names": images}]}}),
        )
        .unwrap()
    }

    fn texts(nodes: &[Node], image: &str, template: Value) -> Vec<String> {
        let pods = planned(
            json!({"image": image, "engine": "dask", "job": {"command": ["x"]}, "template": template}),
        );
        let pods: Vec<Planned> = pods
            .into_iter()
            .filter(|each| each.role == Some(contract::Role::Runner))
            .collect();
        let of_image = format!("image {image}:");
        findings(nodes, &pods)
            .iter()
            .map(Finding::text)
            .filter(|text| text.contains(&of_image))
            .collect()
    }

    #[test]
    fn an_image_has_one_name_however_it_is_written() {
        for (written, full) in [
            ("busybox", "docker.io/library/busybox:latest"),
            ("me/busybox:1", "docker.io/me/busybox:1"),
            ("localhost/a:dev", "localhost/a:dev"),
            ("registry:5000/a", "registry:5000/a:latest"),
            ("ghcr.io/a/b@sha256:1", "ghcr.io/a/b@sha256:1"),
        ] {
            assert_eq!(full_name(written), full);
        }
    }

    #[test]
    fn nodes_that_have_an_image_are_counted() {
        let (with, without) = (node(json!(["docker.io/library/etl:1"])), node(json!([])));
        assert!(texts(std::slice::from_ref(&with), "etl:1", json!({})).is_empty());
        assert!(
            texts(&[with, without.clone()], "etl:1", json!({}))[0]
                .contains("1 of 2 nodes say they have it")
        );
        assert!(texts(&[without], "localhost/etl:1", json!({}))[0].starts_with("WARNS"));
    }

    #[test]
    fn an_image_that_is_never_pulled_must_be_there() {
        let never =
            json!({"spec": {"containers": [{"name": "runner", "imagePullPolicy": "Never"}]}});
        assert!(texts(&[node(json!([]))], "etl:1", never)[0].starts_with("BLOCKS"));
    }
}
