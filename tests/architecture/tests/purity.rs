//! What the sources of a pure crate must not name: files, sockets, processes, threads, clocks, the environment.

use architecture::rust_source::{code_of, paths_into, program_files};
use architecture::workspace::{crates, root};

const PURE: [&str; 4] = ["plan", "protocol", "scheduler-core", "worker-core"];

const FORBIDDEN: [&str; 15] = [
    "std::env",
    "std::fs",
    "std::io::stderr",
    "std::io::stdin",
    "std::io::stdout",
    "std::net::TcpListener",
    "std::net::TcpStream",
    "std::net::ToSocketAddrs",
    "std::net::UdpSocket",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
    "std::time::UNIX_EPOCH",
];

#[test]
fn a_pure_crate_names_nothing_of_the_outside_world() {
    let mut found = Vec::new();
    for member in crates()
        .iter()
        .filter(|member| PURE.contains(&member.name.as_str()))
    {
        for file in program_files(&root().join(&member.directory).join("src")) {
            for (line, path) in paths_into(&code_of(&file), "std") {
                let forbidden = FORBIDDEN
                    .iter()
                    .any(|name| path == *name || path.starts_with(&format!("{name}::")));
                if forbidden {
                    found.push(format!("{}:{line}: {path}", file.display()));
                }
            }
        }
    }
    assert!(
        found.is_empty(),
        "a pure crate reaches outside:\n{}",
        found.join("\n")
    );
}

/// Iterating a map whose hash is drawn at random makes the same events have different effects.
#[test]
fn a_core_has_no_randomly_hashed_map() {
    let mut found = Vec::new();
    for member in crates()
        .iter()
        .filter(|member| member.name.ends_with("-core"))
    {
        for file in program_files(&root().join(&member.directory).join("src")) {
            for (line, path) in paths_into(&code_of(&file), "std") {
                if ["std::collections::HashMap", "std::collections::HashSet"]
                    .contains(&path.as_str())
                {
                    found.push(format!("{}:{line}: {path}", file.display()));
                }
            }
        }
    }
    assert!(
        found.is_empty(),
        "a core iterates by chance:\n{}",
        found.join("\n")
    );
}

#[test]
fn only_contract_yaml_names_the_yaml_library() {
    for member in crates() {
        for file in program_files(&root().join(&member.directory).join("src")) {
            let named = !paths_into(&code_of(&file), "serde_yaml").is_empty();
            assert!(
                !named || file.ends_with("contract/src/yaml.rs"),
                "{} must use contract::yaml",
                file.display()
            );
        }
    }
}
