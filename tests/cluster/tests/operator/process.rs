//! The operator as a process of the test's, which can be killed.
//!
//! Invariant: none outlives the thread of its test.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use cluster::{Cluster, WORKER_IMAGE};

pub struct OperatorProcess {
    child: Child,
}

/// Where the log of a namespace's operator is; each start adds to it.
pub fn log_of(namespace: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("operator-{namespace}.log"))
}

impl OperatorProcess {
    /// Starts one that looks after a namespace and nothing else.
    pub fn start(cluster: &Cluster, program: &Path, namespace: &str) -> Self {
        let log = File::options()
            .create(true)
            .append(true)
            .open(log_of(namespace))
            .expect("a log can be written");
        let errors = log.try_clone().expect("a file has two handles");
        // The thread of the test is its parent: so it goes with the test, however that ends.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(program)
            .args(["operator", "--namespaces", namespace])
            .args(["--worker-image", WORKER_IMAGE])
            .args(["--listen", "127.0.0.1:0", "--log", "info,operator=debug"])
            .env("KUBECONFIG", cluster.kubeconfig())
            .stdout(log)
            .stderr(errors)
            .spawn()
            .expect("setpriv (Debian: util-linux) starts the operator");
        OperatorProcess { child }
    }

    /// SIGKILL: it has no time for a last word.
    pub fn kill(&mut self) {
        self.child.kill().expect("it can be killed");
        self.child.wait().expect("it is our child");
    }
}

impl Drop for OperatorProcess {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The last lines of an operator's log, for whoever has to find out what went wrong.
pub fn log_tail(namespace: &str) -> String {
    let log = fs::read_to_string(log_of(namespace)).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
