//! Files that are made from sources and committed: the CRD manifests.

use anyhow::Result;

use crate::command::Run;

/// Writes them, or only compares.
pub fn run(check: bool) -> Result<()> {
    let run = Run::cargo().args(&[
        "run",
        "--release",
        "--quiet",
        "--package",
        "crd",
        "--example",
        "generate",
        "--",
    ]);
    if check { run.arg("--check") } else { run }.run()
}
