//! Files that are made from sources and committed: the CRD manifests, the examples among the manifests,
//! and what is made from the Helm chart.

use anyhow::Result;

use crate::chart;
use crate::command::{Run, release_directory};
use crate::examples;

/// Writes them, or only compares.
pub fn run(check: bool) -> Result<()> {
    examples::copy(check)?;
    // Of the whole workspace, so that nothing is compiled again with other features.
    Run::cargo()
        .args(&[
            "build",
            "--release",
            "--quiet",
            "--workspace",
            "--example",
            "generate",
        ])
        .run()?;
    let run = Run::new(release_directory()?.join("examples/generate"));
    if check { run.arg("--check") } else { run }.run()?;
    // The chart holds the definition too.
    chart::generate(check)
}
