//! What a running cluster says of itself, for the tests and for the next `up`. Kept as JSON in its directory.

use std::fs;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::layout::{Layout, NODE_NAME};
use super::programs::{Programs, kubernetes_version};
use super::{Tier, images};

/// What a cluster was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// A fingerprint of the control plane.
    pub control_plane: String,
    /// The same for the node, once it has one.
    pub node: Option<String>,
}

/// What was written by the last `up`, if anything.
pub fn read(layout: &Layout) -> Option<Made> {
    let text = fs::read_to_string(layout.description()).ok()?;
    let description: Value = serde_json::from_str(&text).ok()?;
    let made = &description["made_from"];
    Some(Made {
        control_plane: made["control_plane"].as_str()?.to_owned(),
        node: made["node"].as_str().map(str::to_owned),
    })
}

pub fn write(layout: &Layout, programs: &Programs, made: &Made) -> Result<()> {
    let programs: serde_json::Map<_, _> = programs
        .iter()
        .map(|(name, path)| (name.to_owned(), json!(path)))
        .collect();
    let description = json!({
        "name": layout.name,
        "tier": tier(made),
        "kubernetes": kubernetes_version()?,
        "network_namespace": layout.network_namespace(),
        "kubeconfig": layout.kubeconfig("admin"),
        "logs": layout.logs(),
        "node": made.node.as_ref().map(|_| NODE_NAME),
        "containerd_socket": layout.containerd_socket(),
        "image_storage": images::storage()?,
        "base_image": images::BASE,
        "programs": programs,
        "made_from": {"control_plane": made.control_plane, "node": made.node},
    });
    fs::write(layout.description(), format!("{description:#}\n")).context("describe the cluster")
}

fn tier(made: &Made) -> u8 {
    match made.node {
        Some(_) => Tier::Node,
        None => Tier::ControlPlane,
    }
    .number()
}
