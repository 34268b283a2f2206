//! Which cluster the tests of this process use: asked once.

use std::env;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;

use serde::Deserialize;

use crate::{Tier, cargo};

/// What `cargo xtask cluster up --output json` prints of a cluster.
#[derive(Debug, Clone, Deserialize)]
pub struct Description {
    pub network_namespace: PathBuf,
    pub kubeconfig: PathBuf,
    pub logs: PathBuf,
    pub containerd_socket: PathBuf,
    pub image_storage: PathBuf,
    pub node: Option<String>,
    pub programs: std::collections::BTreeMap<String, PathBuf>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Said {
    Unavailable { unavailable: String },
    Cluster(Box<Description>),
}

/// One answer for all tests of this process, for the highest tier that was asked for.
static FOUND: Mutex<Option<(Tier, Option<Description>)>> = Mutex::new(None);

/// The cluster, or nothing on a machine that cannot have one.
pub fn find(tier: Tier) -> Option<Description> {
    let mut found = FOUND
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    if let Some((known, description)) = &*found
        && *known >= tier
    {
        return description.clone();
    }
    let description = match ask(tier) {
        Said::Cluster(description) => Some(*description),
        Said::Unavailable { unavailable } => {
            // Not `eprintln`, which is kept from whoever watches tests that pass.
            let _ = writeln!(
                io::stderr(),
                "tests on a real cluster are skipped: {unavailable}"
            );
            None
        }
    };
    *found = Some((tier, description.clone()));
    description
}

/// Names the file with the description of a cluster that is up already, as `cargo xtask test` does.
const KNOWN: &str = "DASKJOB_TEST_CLUSTER";

fn ask(tier: Tier) -> Said {
    if let Some(path) = env::var_os(KNOWN) {
        let text =
            fs::read(&path).expect("DASKJOB_TEST_CLUSTER names the description of a cluster");
        let said = serde_json::from_slice(&text).expect("the cluster is described as JSON");
        if let Said::Cluster(description) = &said {
            assert!(
                tier == Tier::ControlPlane || description.node.is_some(),
                "the cluster of {KNOWN} has no node: unset it"
            );
        }
        return said;
    }
    let tier = tier.number().to_string();
    let up = ["cluster", "up", "--output", "json", "--tier", &tier];
    let output = cargo::xtask(Command::new(cargo::program()), &up)
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo can be started");
    assert!(
        output.status.success(),
        "the test cluster does not start; `cargo xtask cluster up` says why"
    );
    serde_json::from_slice(&output.stdout).expect("xtask describes the cluster as JSON")
}

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}
