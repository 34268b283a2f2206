//! The operator as a process of a test's, which can be killed.
//!
//! Invariant: none outlives the thread of its test.

use std::fs::File;
use std::path::Path;
use std::process::{Child, Command};

use crate::WORKER_IMAGE;

pub struct OperatorProcess {
    child: Child,
}

impl OperatorProcess {
    /// Starts one that looks after a namespace and nothing else; what it says is added to the log.
    pub(crate) fn start(mut program: Command, namespace: &str, log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log);
        let log = log.expect("a log can be written");
        let errors = log.try_clone().expect("a file has two handles");
        let child = program
            .args(["operator", "--namespaces", namespace])
            .args(["--worker-image", WORKER_IMAGE])
            .args(["--listen", "127.0.0.1:0", "--log", "info,operator=debug"])
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
