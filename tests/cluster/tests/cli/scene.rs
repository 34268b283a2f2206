//! What every test has: a namespace, `daskjob`, and an operator where it wants one.
//!
//! Invariant: no process outlives the thread of its test.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use cluster::{Answer, Cluster, TestNamespace, Tier, WORKER_IMAGE, on_cluster};

pub struct Scene<'a> {
    pub cluster: &'a Cluster,
    namespace: TestNamespace<'a>,
    program: PathBuf,
    directory: PathBuf,
    operator: Option<Child>,
}

/// Runs a test with an operator for its namespace.
pub fn with_operator(purpose: &str, test: impl AsyncFnOnce(&Scene<'_>)) {
    without_operator(purpose, async |scene| {
        scene.start_operator();
        test(scene).await;
    });
}

/// Runs a test in a namespace that nobody looks after.
pub fn without_operator(purpose: &str, test: impl AsyncFnOnce(&mut Scene<'_>)) {
    on_cluster(Tier::Node, async |cluster| {
        cluster.install_definitions();
        let program = cluster.install_images();
        let namespace = cluster.namespace(purpose).await;
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(namespace.name());
        std::fs::create_dir_all(&directory).expect("a directory can be made");
        let mut scene = Scene {
            cluster: &cluster,
            namespace,
            program,
            directory,
            operator: None,
        };
        test(&mut scene).await;
    });
}

impl Scene<'_> {
    fn start_operator(&mut self) {
        let log = File::create(self.directory.join("operator.log")).expect("a log can be written");
        let errors = log.try_clone().expect("a file has two handles");
        let operator = self
            .command()
            .args(["operator", "--namespaces", self.namespace()])
            .args(["--worker-image", WORKER_IMAGE, "--listen", "127.0.0.1:0"])
            .stdout(log)
            .stderr(errors)
            .spawn();
        self.operator = Some(operator.expect("setpriv (Debian: util-linux) starts the operator"));
    }

    pub fn namespace(&self) -> &str {
        self.namespace.name()
    }

    /// A file for the command line.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.directory.join(name);
        std::fs::create_dir_all(path.parent().expect("it is in the directory"))
            .expect("a directory can be made");
        std::fs::write(&path, text).expect("a file can be written");
        path.to_str().expect("the path is UTF-8").to_owned()
    }

    /// A manifest of a job whose program is this.
    pub fn manifest(&self, name: &str, program: &str) -> String {
        let indented: String = program
            .trim()
            .lines()
            .map(|line| format!("        {line}\n"))
            .collect();
        let text = format!(
            "apiVersion: daskjob.dev/v1alpha1\nkind: DaskJob\nmetadata: {{name: {name}}}\nspec:\n  job:\n    command: [python, main.py]\n    files:\n      main.py: |\n{indented}"
        );
        self.write(&format!("{name}.yaml"), &text)
    }

    /// The thread of the test is its parent: so it goes with the test, however that ends.
    fn command(&self) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(&self.program)
            .env("KUBECONFIG", self.cluster.kubeconfig())
            .current_dir(&self.directory);
        command
    }

    /// Runs `daskjob` to its end, in the namespace of the test.
    pub fn daskjob(&self, arguments: &[&str]) -> (i32, Answer) {
        let child = self.start(arguments);
        let output = child.wait_with_output().expect("the program ends");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let answer = Answer {
            success: output.status.success(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        };
        (output.status.code().unwrap_or(-1), answer)
    }

    /// The same for a command that is to succeed: what it printed and what it said.
    #[track_caller]
    pub fn does(&self, arguments: &[&str]) -> (String, String) {
        let (code, answer) = self.daskjob(arguments);
        assert_eq!(code, 0, "daskjob {arguments:?}: {answer:#?}");
        (answer.stdout, answer.stderr)
    }

    /// Starts `daskjob`, its output to be read.
    pub fn start(&self, arguments: &[&str]) -> Child {
        let child = self
            .command()
            .args(arguments)
            .args(["--namespace", self.namespace()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        child.expect("setpriv starts daskjob")
    }

    /// What kubectl says of a field of a job.
    pub fn field(&self, job: &str, path: &str) -> String {
        let output = format!("jsonpath={{{path}}}");
        let arguments = ["get", "dj", job, "-n", self.namespace(), "-o", &output];
        self.cluster.kubectl(&arguments, "").expect_success()
    }
}

impl Drop for Scene<'_> {
    fn drop(&mut self) {
        if let Some(operator) = &mut self.operator {
            // It may be gone already.
            let _ = operator.kill();
            let _ = operator.wait();
        }
        if !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.directory);
        }
    }
}
