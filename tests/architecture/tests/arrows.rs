//! Who may depend on whom. The table is the one of docs/architecture.md.

use architecture::workspace::{Crate, crates, linked_into};

/// Every crate with the crates of ours it may use. A crate that is not built yet keeps its line.
const ARROWS: [(&str, &[&str]); 25] = [
    // words
    ("contract", &[]),
    ("crd", &["contract"]),
    ("proto", &[]),
    ("telemetry", &[]),
    // cores
    ("plan", &["crd", "contract"]),
    ("protocol", &[]),
    ("scheduler-core", &["protocol"]),
    ("worker-core", &["protocol"]),
    // connections and programs
    ("transport", &["protocol"]),
    ("configuration", &["contract"]),
    ("container", &["contract"]),
    (
        "launch",
        &["container", "contract", "protocol", "transport"],
    ),
    (
        "scheduler",
        &[
            "scheduler-core",
            "protocol",
            "transport",
            "configuration",
            "contract",
            "telemetry",
        ],
    ),
    (
        "worker",
        &[
            "worker-core",
            "protocol",
            "transport",
            "configuration",
            "container",
            "contract",
            "telemetry",
        ],
    ),
    ("submission", &["proto", "crd", "plan", "telemetry"]),
    (
        "operator",
        &["crd", "plan", "contract", "submission", "telemetry"],
    ),
    ("terminal", &["plan"]),
    ("remote", &["contract", "crd", "plan", "terminal"]),
    (
        "cli",
        &[
            "contract",
            "crd",
            "launch",
            "operator",
            "plan",
            "proto",
            "protocol",
            "remote",
            "scheduler",
            "submission",
            "telemetry",
            "terminal",
            "transport",
            "worker",
        ],
    ),
    // around them
    (
        "bench",
        &[
            "cluster",
            "contract",
            "crd",
            "protocol",
            "telemetry",
            "transport",
        ],
    ),
    ("simulation", &["protocol", "scheduler-core", "worker-core"]),
    ("architecture", &[]),
    ("cluster", &["contract", "crd"]),
    ("compat", &["contract"]),
    ("xtask", &["contract"]),
];

/// Crates that decide and do nothing else.
const PURE: [&str; 4] = ["plan", "protocol", "scheduler-core", "worker-core"];

/// What a pure crate must not even link: runtimes, sockets, TLS, HTTP, Kubernetes' client, the system.
const IMPURE: [&str; 16] = [
    "async_std",
    "axum",
    "h2",
    "hyper",
    "kube_client",
    "kube_runtime",
    "mio",
    "nix",
    "reqwest",
    "rustls",
    "smol",
    "socket2",
    "tokio",
    "tokio_util",
    "tonic",
    "tracing_subscriber",
];

fn arrows_of(name: &str) -> Option<&'static [&'static str]> {
    ARROWS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, arrows)| *arrows)
}

fn only(names: &[&str]) -> Vec<Crate> {
    crates()
        .into_iter()
        .filter(|member| names.contains(&member.name.as_str()))
        .collect()
}

#[test]
fn every_crate_is_in_the_table() {
    for member in crates() {
        assert!(
            arrows_of(&member.name).is_some(),
            "crate {} is new: give it a line here and in docs/architecture.md, with the reason it exists",
            member.name
        );
    }
}

#[test]
fn no_arrow_is_outside_the_table() {
    for member in crates() {
        let allowed = arrows_of(&member.name).unwrap_or_default();
        for dependency in member
            .dependencies
            .iter()
            .filter(|dependency| dependency.ours)
        {
            assert!(
                allowed.contains(&dependency.name.as_str()) || dependency.only_for_tests,
                "{} must not depend on {}: it may on {allowed:?}",
                member.name,
                dependency.name
            );
        }
    }
}

/// A test may look further than its crate, but a word does not test a program.
#[test]
fn tests_of_a_pure_crate_stay_pure_too() {
    for member in only(&PURE) {
        for dependency in &member.dependencies {
            assert!(
                !IMPURE.contains(&dependency.name.replace('-', "_").as_str()),
                "{} must not use {}, not even in its tests",
                member.name,
                dependency.name
            );
        }
    }
}

#[test]
fn nothing_impure_is_linked_into_a_pure_crate() {
    for member in only(&PURE) {
        let linked = linked_into(&member.name);
        for impure in IMPURE {
            assert!(!linked.contains(impure), "{} links {impure}", member.name);
        }
    }
}

#[test]
fn the_kubernetes_client_is_only_in_operator_submission_and_remote() {
    for member in crates() {
        if ["operator", "submission", "remote", "cluster"].contains(&member.name.as_str()) {
            continue;
        }
        for dependency in &member.dependencies {
            let client = dependency.name == "kube"
                && dependency
                    .features
                    .iter()
                    .any(|feature| ["client", "runtime", "default"].contains(&feature.as_str()));
            let client =
                client || ["kube-client", "kube-runtime"].contains(&dependency.name.as_str());
            assert!(!client, "{} must not use Kubernetes' client", member.name);
        }
    }
}

#[test]
fn yaml_is_read_and_written_by_contract_alone() {
    for member in crates().iter().filter(|member| member.name != "contract") {
        assert!(
            !member
                .dependencies
                .iter()
                .any(|dependency| dependency.name == "serde_yaml"),
            "{} must use contract::yaml instead of serde_yaml",
            member.name
        );
    }
}
