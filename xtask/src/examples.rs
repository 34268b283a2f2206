//! `manifests/examples`: the jobs of `examples/` once more, where whoever installs from `manifests/` looks for them.
//!
//! Copies, not links: a link in a repository is no manifest to `kubectl apply -f https://…`. Invariant: after `copy` the
//! two directories hold the same manifests, and nothing else is in the second.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::command::root;

const FROM: &str = "examples";
const TO: &str = "manifests/examples";

/// Copies them, or only compares.
pub fn copy(check: bool) -> Result<()> {
    let examples = manifests(&root().join(FROM))?;
    let target = root().join(TO);
    fs::create_dir_all(&target)?;
    let there = manifests(&target)?;
    if examples == there {
        return Ok(());
    }
    if check {
        bail!("{TO} is not what is in {FROM}: run `cargo xtask generate`");
    }
    for name in there.keys().filter(|name| !examples.contains_key(*name)) {
        fs::remove_file(target.join(name)).with_context(|| format!("remove {TO}/{name}"))?;
    }
    for (name, text) in &examples {
        fs::write(target.join(name), text).with_context(|| format!("write {TO}/{name}"))?;
    }
    Ok(())
}

fn manifests(directory: &Path) -> Result<BTreeMap<String, String>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
            && let Some(name) = path.file_name().and_then(|name| name.to_str())
        {
            found.insert(name.to_owned(), fs::read_to_string(&path)?);
        }
    }
    Ok(found)
}
