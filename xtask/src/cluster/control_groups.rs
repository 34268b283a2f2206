//! Control groups of a cluster: its containers run in groups of its name, so that two clusters on a machine never take
//! each other's for their own.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::layout::Layout;

const MOUNT: &str = "/sys/fs/cgroup";

/// What a group below the root may limit, on a machine with one hierarchy (version 2).
const CONTROLLERS: &str = "+cpuset +cpu +io +memory +pids";

/// The group of a cluster in every hierarchy.
fn groups(layout: &Layout) -> Vec<PathBuf> {
    if is_unified() {
        return vec![Path::new(MOUNT).join(&layout.name)];
    }
    let hierarchies = fs::read_dir(MOUNT).into_iter().flatten().flatten();
    hierarchies
        .map(|hierarchy| hierarchy.path())
        // A second name of a hierarchy is a link.
        .filter(|path| !path.is_symlink() && path.join("cgroup.procs").exists())
        .map(|path| path.join(&layout.name))
        .collect()
}

fn is_unified() -> bool {
    Path::new(MOUNT).join("cgroup.controllers").exists()
}

pub fn make(layout: &Layout) -> Result<()> {
    if is_unified() {
        let root = Path::new(MOUNT).join("cgroup.subtree_control");
        fs::write(root, CONTROLLERS).context("let control groups limit things")?;
    }
    for group in groups(layout) {
        fs::create_dir_all(&group)
            .with_context(|| format!("make the control group {}", group.display()))?;
        if is_unified() {
            fs::write(group.join("cgroup.subtree_control"), CONTROLLERS)?;
        }
    }
    Ok(())
}

/// Removes them, once no process is left in them.
pub fn remove(layout: &Layout) {
    groups(layout).iter().for_each(|group| remove_below(group));
}

fn remove_below(group: &Path) {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_below(&entry.path());
        }
    }
    // One that stays costs nothing and is used again.
    let _ = fs::remove_dir(group);
}
