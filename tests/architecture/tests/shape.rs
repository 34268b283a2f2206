//! How the tree looks: directories, file lengths, headers, names that say nothing.

use std::fs;
use std::path::Path;

use architecture::rust_source::{code_of, program_files};
use architecture::workspace::{crates, root};

/// Every directory at the top, those of later steps included. A new one needs a line in README.md too.
const DIRECTORIES: [&str; 23] = [
    "bench",
    "charts",
    "cli",
    "configuration",
    "container",
    "contract",
    "crd",
    "docs",
    "engine",
    "examples",
    "launch",
    "manifests",
    "operator",
    "plan",
    "proto",
    "python",
    "submission",
    "target",
    "telemetry",
    "tests",
    "worker-image",
    "xtask",
    "fuzz",
];

const LONGEST_FILE_LINES: usize = 700;

const EMPTY_NAMES: [&str; 6] = ["utils", "common", "helpers", "manager", "misc", "v2"];

#[test]
fn every_directory_at_the_top_is_known() {
    for entry in fs::read_dir(root()).expect("the root can be listed") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().to_string_lossy().into_owned();
        let is_directory = entry.file_type().is_ok_and(|kind| kind.is_dir());
        assert!(
            !is_directory || name.starts_with('.') || DIRECTORIES.contains(&name.as_str()),
            "{name}/ is new: add it here and to the map in README.md"
        );
    }
}

#[test]
fn a_crate_lies_in_a_directory_of_its_name() {
    for member in crates() {
        assert_eq!(
            member.directory.file_name().and_then(|name| name.to_str()),
            Some(member.name.as_str())
        );
    }
}

#[test]
fn every_crate_takes_lints_and_licence_from_the_workspace() {
    for member in crates() {
        let manifest = root().join(&member.directory).join("Cargo.toml");
        let text = fs::read_to_string(manifest).expect("a manifest can be read");
        for line in [
            "[lints]\nworkspace = true",
            "license.workspace = true",
            "publish.workspace = true",
        ] {
            assert!(
                text.contains(line),
                "{}'s Cargo.toml lacks {line:?}",
                member.name
            );
        }
    }
}

fn each_source(mut look: impl FnMut(&Path)) {
    for member in crates() {
        for file in program_files(&root().join(&member.directory).join("src")) {
            look(&file);
        }
    }
}

#[test]
fn no_file_is_longer_than_can_be_kept_in_mind() {
    let mut long = Vec::new();
    each_source(|file| {
        let lines = code_of(file).lines().count();
        if lines > LONGEST_FILE_LINES {
            long.push(format!(
                "{}: {lines} lines without its tests",
                file.display()
            ));
        }
    });
    assert!(long.is_empty(), "split these:\n{}", long.join("\n"));
}

#[test]
fn every_file_says_what_it_owns() {
    let mut silent = Vec::new();
    each_source(|file| {
        let text = fs::read_to_string(file).expect("a source can be read");
        if !text.starts_with("//!") {
            silent.push(file.display().to_string());
        }
    });
    assert!(
        silent.is_empty(),
        "these need a header:\n{}",
        silent.join("\n")
    );
}

#[test]
fn no_module_has_a_name_that_says_nothing() {
    each_source(|file| {
        let parts = file
            .iter()
            .filter_map(|part| Path::new(part).file_stem()?.to_str());
        for part in parts {
            assert!(
                !EMPTY_NAMES.contains(&part),
                "{} says nothing",
                file.display()
            );
        }
    });
}
