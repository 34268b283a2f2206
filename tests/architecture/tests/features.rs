//! What is compiled, and how often.

use std::collections::BTreeSet;

use architecture::workspace::cargo;

/// Every package that is compiled, with its features.
fn compiled(of: &[&str]) -> BTreeSet<String> {
    let shape = [
        "tree",
        "--offline",
        "--prefix",
        "none",
        "--format",
        "{p} [{f}]",
    ];
    let text = cargo(&[&shape[..], of].concat());
    text.lines()
        .map(|line| line.trim_end_matches(" (*)").to_owned())
        .collect()
}

/// `cargo run`, which the README begins with, and the tests of the workspace share all they need.
#[test]
fn the_program_alone_is_built_from_what_all_tests_are_built_from() {
    let alone = compiled(&["--edges", "normal,build", "--package", "cli"]);
    let with_all = compiled(&["--edges", "normal,build,dev", "--workspace"]);
    let other: Vec<_> = alone.difference(&with_all).collect();
    assert!(
        other.is_empty() && alone.len() > 100,
        "compiled once more with other features: ask for them in the root's Cargo.toml: {other:#?}"
    );
}
