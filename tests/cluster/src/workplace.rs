//! What a test of jobs has: a namespace, the images on the node, a directory, and an operator where it wants one.
//!
//! Invariant: what a test has started ends with its thread, and what it has written goes when it has passed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use crate::operator::OperatorProcess;
use crate::{Cluster, TestNamespace, Tier, on_cluster};

pub struct Workplace<'a> {
    pub cluster: &'a Cluster,
    namespace: TestNamespace<'a>,
    program: PathBuf,
    directory: PathBuf,
    operator: Option<OperatorProcess>,
}

/// Runs a test in a workplace that nobody looks after yet. Its directory is made in this one.
pub fn in_a_workplace(purpose: &str, directories: &str, test: impl AsyncFnOnce(Workplace<'_>)) {
    on_cluster(Tier::Node, async |cluster| {
        cluster.install_definitions();
        let program = cluster.install_images();
        let namespace = cluster.namespace(purpose).await;
        let directory = Path::new(directories).join(namespace.name());
        fs::create_dir_all(&directory).expect("a directory can be made");
        test(Workplace {
            cluster: &cluster,
            namespace,
            program,
            directory,
            operator: None,
        })
        .await;
    });
}

impl Workplace<'_> {
    pub fn namespace(&self) -> &str {
        self.namespace.name()
    }

    /// Where the test may leave files until it ends.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// `daskjob`, as it is in the images. The thread of the test is its parent: so it goes with the test, however that
    /// ends.
    pub fn program(&self) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(&self.program)
            .env("KUBECONFIG", self.cluster.kubeconfig())
            .current_dir(&self.directory);
        command
    }

    /// Each start adds to the operator's log.
    pub fn start_operator(&mut self) {
        let log = self.operator_log();
        let operator = OperatorProcess::start(self.program(), self.namespace(), &log);
        self.operator = Some(operator);
    }

    pub fn has_operator(&self) -> bool {
        self.operator.is_some()
    }

    /// As a crash ends it.
    pub fn kill_operator(&mut self) {
        self.operator.take().expect("there is one").kill();
    }

    /// The last lines of the operator's log, for whoever has to find out what went wrong.
    pub fn end_of_operator_log(&self) -> String {
        let log = fs::read_to_string(self.operator_log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    fn operator_log(&self) -> PathBuf {
        self.directory.join("operator.log")
    }
}

impl Drop for Workplace<'_> {
    fn drop(&mut self) {
        self.operator = None;
        if thread::panicking() {
            eprintln!("log of the operator: {}", self.operator_log().display());
        } else {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}
