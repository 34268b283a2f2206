//! kubectl and other programs, as a user has them.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use crate::Cluster;
use crate::described::root;

/// What a program said.
#[derive(Debug)]
pub struct Answer {
    pub success: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Answer {
    /// What it printed; panics where it failed.
    #[track_caller]
    pub fn expect_success(self) -> String {
        assert!(self.success, "it failed: {self:#?}");
        self.stdout
    }
}

impl Cluster {
    /// Runs kubectl as the administrator at the root of the repository, with this on its standard input.
    pub fn kubectl(&self, arguments: &[&str], input: &str) -> Answer {
        self.run_with("kubectl", arguments, input)
    }

    /// Runs a program that was built with the cluster, as the administrator at the root of the repository.
    pub fn run(&self, program: &str, arguments: &[&str]) -> Answer {
        self.run_with(program, arguments, "")
    }

    fn run_with(&self, program: &str, arguments: &[&str], input: &str) -> Answer {
        let mut child = Command::new(self.program(program))
            .args(arguments)
            .current_dir(root())
            .env("KUBECONFIG", self.kubeconfig())
            .env(
                "KUBECACHEDIR",
                self.kubeconfig().with_file_name("kubectl-cache"),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let mut stdin = child.stdin.take().expect("it was asked for");
        // It may end without reading; its answer says why.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("the program ends");
        Answer {
            success: output.status.success(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Installs our custom resource definitions as a user does, once in a test process.
    pub fn install_definitions(&self) {
        static INSTALLED: Mutex<bool> = Mutex::new(false);
        let mut installed = INSTALLED
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if *installed {
            return;
        }
        self.kubectl(&["apply", "-f", "manifests/crds"], "")
            .expect_success();
        let wait = [
            "wait",
            "--for=condition=Established",
            "--timeout=30s",
            "-f",
            "manifests/crds",
        ];
        // A definition that has no conditions yet is an error to kubectl, not something to wait for.
        let mut waited = self.kubectl(&wait, "");
        for _ in 0..50 {
            if waited.success || !waited.stderr.contains("accessor error") {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
            waited = self.kubectl(&wait, "");
        }
        waited.expect_success();
        *installed = true;
    }
}
