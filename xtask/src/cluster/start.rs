//! Bringing a cluster up, step by step, each waited for.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::component::{self, Component, kubeconfig};
use super::layout::{Layout, NODE_NAME};
use super::prerequisites::tool_named;
use super::process::{self, Member};
use super::readiness::{Kubectl, Started};
use super::{certificates, control_groups, images, network, node, say};

/// The API server and who makes it a cluster. Nothing of an earlier one must be there.
pub fn control_plane(layout: &Layout, kubectl: &Kubectl, components: &[Component]) -> Result<()> {
    fs::create_dir_all(layout.logs()).context("make the cluster's directory")?;
    certificates::write(layout)?;
    for user in certificates::USERS {
        fs::write(layout.kubeconfig(user), kubeconfig(layout, user))?;
    }
    for (path, text) in component::files(layout) {
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    network::make(layout)?;
    let mut started = Started::default();
    for component in components {
        // The others give up early where nobody answers.
        if component.name == "kube-controller-manager" {
            started.wait_until(layout, "the API server is ready", || kubectl.is_ready())?;
        }
        started.start(layout, component)?;
    }
    kubectl.apply(&component::fake_nodes())?;
    started.wait_until(layout, "a service account can be used", || {
        kubectl.ask(&["get", "serviceaccount", "default"]).is_some()
    })?;
    started.wait_until(layout, "the fake nodes are ready", || {
        is_ready(kubectl, &["--selector=type=kwok"])
    })
}

/// A real node for a control plane that is up, in place of the one there was.
pub fn node(layout: &Layout, kubectl: &Kubectl, components: &[Component]) -> Result<()> {
    let images = images::all()?;
    end_node(layout, components)?;
    let _ = kubectl.ask(&["delete", "node", NODE_NAME, "--ignore-not-found"]);
    write_files(layout)?;
    control_groups::make(layout)?;
    forward_packets(layout)?;
    let mut started = Started::default();
    for component in components {
        started.start(layout, component)?;
        if component.name == node::CONTAINERD {
            let socket = layout.containerd_socket();
            started.wait_until(layout, "the container runtime answers", || answers(&socket))?;
            say("importing images …");
            for image in &images {
                images::import(layout, image)?;
            }
        }
    }
    started.wait_until(layout, "the node is ready", || {
        is_ready(kubectl, &[NODE_NAME])
    })?;
    started.wait_until(layout, "the name server listens", || {
        process::find(layout, node::NAME_SERVER).is_some_and(|pid| network::listens(pid, 53))
    })
}

fn is_ready(kubectl: &Kubectl, which: &[&str]) -> bool {
    let mut wait = vec!["wait", "node", "--for=condition=Ready", "--timeout=1s"];
    wait.extend(which);
    kubectl.ask(&wait).is_some()
}

fn answers(socket: &Path) -> bool {
    let version = tool_named("ctr")
        .arg("--address")
        .arg(socket)
        .arg("version");
    socket.exists() && version.succeeds()
}

/// Ends a node's processes and containers, and throws away what they kept.
fn end_node(layout: &Layout, components: &[Component]) -> Result<()> {
    let of_node = |member: &Member| {
        member.component == process::CONTAINER
            || components
                .iter()
                .any(|component| component.name == member.component)
    };
    process::end(layout, of_node)?;
    control_groups::remove(layout);
    let kept = node::DIRECTORIES.map(|name| layout.path(name));
    for directory in kept.iter().chain([&layout.runtime_directory()]) {
        if directory.exists() {
            fs::remove_dir_all(directory)
                .with_context(|| format!("remove {}", directory.display()))?;
        }
    }
    Ok(())
}

fn write_files(layout: &Layout) -> Result<()> {
    for directory in node::DIRECTORIES {
        fs::create_dir_all(layout.path(directory))?;
    }
    fs::create_dir_all(layout.runtime_directory())?;
    for (path, text) in node::files(layout) {
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// Between pods, and through the rules of services also where both ends are on one bridge.
fn forward_packets(layout: &Layout) -> Result<()> {
    let set = |setting: &str| {
        tool_named("nsenter")
            .arg(format!("--net={}", layout.network_namespace().display()))
            .args(&["sysctl", "--quiet", "--write", setting])
    };
    set("net.ipv4.ip_forward=1").run_quietly()?;
    // Not every kernel filters bridges; one that does not needs no setting.
    set("net.bridge.bridge-nf-call-iptables=1").succeeds();
    Ok(())
}
