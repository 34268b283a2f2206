//! What every test has: a workplace, and `daskjob` run in it as a person does.

use std::ops::Deref;
use std::process::{Child, Stdio};

use cluster::{Answer, Workplace, in_a_workplace};

pub struct Scene<'a> {
    workplace: Workplace<'a>,
}

impl<'a> Deref for Scene<'a> {
    type Target = Workplace<'a>;

    fn deref(&self) -> &Workplace<'a> {
        &self.workplace
    }
}

/// Runs a test with an operator for its namespace.
pub fn with_operator(purpose: &str, test: impl AsyncFnOnce(&Scene<'_>)) {
    without_operator(purpose, async |scene| {
        scene.workplace.start_operator();
        test(scene).await;
    });
}

/// Runs a test in a namespace that nobody looks after.
pub fn without_operator(purpose: &str, test: impl AsyncFnOnce(&mut Scene<'_>)) {
    in_a_workplace(purpose, env!("CARGO_TARGET_TMPDIR"), async |workplace| {
        test(&mut Scene { workplace }).await;
    });
}

impl Scene<'_> {
    /// A file for the command line.
    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.directory().join(name);
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
            .program()
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
