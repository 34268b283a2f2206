//! The crates of the workspace and what each of them depends on, from `cargo metadata` and `cargo tree`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// One crate of ours.
#[derive(Debug, Clone)]
pub struct Crate {
    pub name: String,
    /// From the root of the repository, like `engine/protocol`.
    pub directory: PathBuf,
    pub dependencies: Vec<Dependency>,
}

#[derive(Debug, Clone)]
pub struct Dependency {
    pub name: String,
    pub features: Vec<String>,
    /// Whether it is one of our own crates.
    pub ours: bool,
    /// Whether only tests, examples and benches see it.
    pub only_for_tests: bool,
}

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("this crate lies two directories below the root")
        .to_owned()
}

/// Every crate of the workspace.
pub fn crates() -> Vec<Crate> {
    let text = cargo(&[
        "metadata",
        "--no-deps",
        "--format-version",
        "1",
        "--offline",
    ]);
    let metadata: Value = serde_json::from_str(&text).expect("cargo metadata writes JSON");
    let packages = metadata["packages"].as_array().expect("a list of packages");
    packages.iter().map(package).collect()
}

fn package(package: &Value) -> Crate {
    let manifest = Path::new(text(&package["manifest_path"]));
    let directory = manifest.parent().expect("a manifest lies in a directory");
    let dependencies = package["dependencies"].as_array().expect("a list");
    Crate {
        name: text(&package["name"]).to_owned(),
        directory: directory
            .strip_prefix(root())
            .expect("crates of the workspace lie below the root")
            .to_owned(),
        dependencies: dependencies.iter().map(dependency).collect(),
    }
}

fn dependency(dependency: &Value) -> Dependency {
    let features = dependency["features"].as_array().expect("a list");
    Dependency {
        name: text(&dependency["name"]).to_owned(),
        features: features.iter().map(|name| text(name).to_owned()).collect(),
        ours: dependency["path"].is_string(),
        only_for_tests: dependency["kind"] == "dev",
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// Everything that is linked into a crate, by name, our own crates and it itself included.
pub fn linked_into(name: &str) -> BTreeSet<String> {
    let tree = cargo(&[
        "tree",
        "--offline",
        "--edges",
        "normal",
        "--prefix",
        "none",
        "--format",
        "{lib}",
        "--package",
        name,
    ]);
    tree.lines()
        .map(|line| line.trim_end_matches(" (*)").to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

/// What cargo prints, at the root.
pub fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .current_dir(root())
        .output()
        .expect("cargo runs the tests, so it can be run");
    assert!(
        output.status.success(),
        "cargo {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("cargo writes UTF-8")
}
