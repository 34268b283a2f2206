//! The checks that need no test: format, lints, dependencies, documentation.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::cache;
use crate::command::Run;

/// The release of cargo-deny that judges dependencies.
const DENY_VERSION: &str = "0.20.2";

pub fn format() -> Result<()> {
    Run::cargo()
        .args(&["fmt", "--all"])
        .run()
        .context(COMPONENTS)
}

pub fn format_is_kept() -> Result<()> {
    Run::cargo()
        .args(&["fmt", "--all", "--check"])
        .run()
        .context(COMPONENTS)
}

pub fn lints() -> Result<()> {
    Run::cargo()
        .args(&[
            "clippy",
            "--release",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ])
        .run()
        .context(COMPONENTS)
}

const COMPONENTS: &str = "check the sources (where a cargo subcommand is missing: `rustup component add rustfmt clippy`)";

/// Arrows, purity and shape, see tests/architecture.
pub fn arrows() -> Result<()> {
    Run::cargo()
        .args(&["test", "--release", "--quiet", "--workspace"])
        .args(&["--test", "arrows", "--test", "purity", "--test", "shape"])
        .run()
}

pub fn documentation() -> Result<()> {
    Run::cargo()
        .args(&[
            "doc",
            "--release",
            "--workspace",
            "--no-deps",
            "--document-private-items",
            "--quiet",
        ])
        .env("RUSTDOCFLAGS", "-D warnings")
        .run()
}

/// Bans, licences and sources of dependencies. Advisories need a database from outside and are no part of the gate.
pub fn dependencies() -> Result<()> {
    Run::new(deny()?)
        .args(&["--locked", "check", "bans", "licenses", "sources"])
        .run()
}

fn deny() -> Result<PathBuf> {
    let directory = Path::new("tools").join(format!("cargo-deny-{DENY_VERSION}"));
    let made = cache::once(&directory, |directory| {
        println!(
            "    building cargo-deny {DENY_VERSION} into {} (once, takes a few minutes)",
            directory.display()
        );
        Run::cargo()
            .args(&[
                "install",
                "--locked",
                "--debug",
                "--quiet",
                "--version",
                DENY_VERSION,
                "--root",
            ])
            .arg(directory)
            .arg("cargo-deny")
            .env("CARGO_TARGET_DIR", directory.join("build"))
            .run()
            .context("build cargo-deny: it needs a crate registry and a C compiler")?;
        fs::remove_dir_all(directory.join("build")).context("remove what cargo-deny was built from")
    })?;
    Ok(made.join("bin/cargo-deny"))
}
