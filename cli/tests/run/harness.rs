//! A place to run `daskjob` in: a directory for manifests, a directory for what it may leave behind, and a mark in the
//! environment by which every process of the run can be found.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const MARK: &str = "DASKJOB_TEST_MARK";

/// How long a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Place {
    home: tempfile::TempDir,
    mark: String,
}

/// A finished run.
pub struct Finished {
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Finished {
    /// Its exit code must be this one; else everything it said is shown.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}\n{}", self.text(), self.stderr);
        self
    }

    /// It must have succeeded, and its program printed just this.
    #[track_caller]
    pub fn expect_printed(self, text: &str) {
        assert_eq!(
            (self.code, self.text().as_str()),
            (0, text),
            "{}",
            self.stderr
        );
    }

    /// It must have said this to people.
    #[track_caller]
    pub fn expect_said(&self, sentence: &str) {
        assert!(self.stderr.contains(sentence), "{}", self.stderr);
    }

    /// Class and reason of its failure must be these.
    #[track_caller]
    pub fn expect_failure(&self, class: &str, reason: &str) -> Value {
        let failure = self.status()["failure"].clone();
        assert_eq!(
            (failure["class"].as_str(), failure["reason"].as_str()),
            (Some(class), Some(reason)),
            "{failure:#}"
        );
        failure
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The status: the last line of the output.
    pub fn status(&self) -> Value {
        let text = self.text();
        let line = text.lines().last().unwrap_or_default();
        serde_json::from_str(line)
            .unwrap_or_else(|error| panic!("{error}: {text}\n{}", self.stderr))
    }
}

/// Runs a job with this spec in a place of its own, to this exit code; its status is JSON.
#[track_caller]
pub fn outcome(spec: &str, code: i32) -> Finished {
    Place::new()
        .run_job(spec, &["--output", "json"])
        .expect(code)
}

/// A spec with these lines first, and a job of Python that has a client.
pub fn with_client(settings: &str, program: &str) -> String {
    let program = format!("{WITH_CLIENT}{}", program.trim_start_matches('\n'));
    let lines: String = program
        .lines()
        .map(|line| format!("      {line}\n"))
        .collect();
    format!(
        "{}\njob:\n  command: [python, main.py]\n  files:\n    main.py: |\n{lines}",
        settings.trim_matches('\n')
    )
}

const WITH_CLIENT: &str = "import time
from dask.distributed import Client, KilledWorker, get_worker
client = Client()
";

/// A Python with distributed, or a line that says why a test is skipped.
pub fn python() -> Option<PathBuf> {
    let python = std::env::var_os("DASKJOB_PYTHON").map(PathBuf::from);
    if python.is_none() {
        eprintln!(
            "skipped: DASKJOB_PYTHON does not name a Python with distributed; cargo xtask test provides one"
        );
    }
    python
}

/// Leaves the test when there is no Python.
macro_rules! need_python {
    () => {
        if crate::harness::python().is_none() {
            return;
        }
    };
}
pub(crate) use need_python;

impl Place {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("tmp")).unwrap();
        std::fs::create_dir(home.path().join("here")).unwrap();
        let mark = format!(
            "{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Ordering::Relaxed)
        );
        Place { home, mark }
    }

    /// Where the manifest is.
    pub fn here(&self) -> PathBuf {
        self.home.path().join("here")
    }

    /// Writes a file beside the manifest.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.here().join(name);
        std::fs::write(&file, text).unwrap();
        file
    }

    /// A manifest with this spec.
    pub fn manifest(&self, spec: &str) -> PathBuf {
        let spec: String = spec
            .trim_matches('\n')
            .lines()
            .map(|line| format!("  {line}\n"))
            .collect();
        self.write("job.yaml", &format!("apiVersion: daskjob.dev/v1alpha1\nkind: DaskJob\nmetadata: {{name: job}}\nspec:\n{spec}"))
    }

    /// The program, with an environment of its own.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_daskjob"));
        command
            .args(arguments)
            .current_dir(self.home.path())
            .stdin(Stdio::null());
        command
            .env("TMPDIR", self.home.path().join("tmp"))
            .env(MARK, &self.mark);
        command.env_remove("VIRTUAL_ENV");
        command
    }

    /// Runs it to its end; nothing may be left behind.
    pub fn run(&self, arguments: &[&str]) -> Finished {
        let finished = finished(self.command(arguments).output().unwrap());
        self.nothing_is_left(&finished.stderr);
        finished
    }

    /// Runs a job with this spec.
    pub fn run_job(&self, spec: &str, flags: &[&str]) -> Finished {
        let output = self.run_command(spec).args(flags).output().unwrap();
        let finished = finished(output);
        self.nothing_is_left(&finished.stderr);
        finished
    }

    /// What runs a job with this spec.
    pub fn run_command(&self, spec: &str) -> Command {
        let manifest = self.manifest(spec);
        self.command(&["run", manifest.to_str().unwrap()])
    }

    /// The same with a terminal as standard error.
    pub fn run_command_in_terminal(&self, spec: &str) -> Command {
        let plain = self.run_command(spec);
        let python = python().expect("tests without one are skipped");
        let mut command = behind(Command::new(python), &["-c", TERMINAL], &plain);
        command.current_dir(self.home()).stdin(Stdio::null());
        command
    }

    /// Starts a job with this spec, in the background.
    pub fn start_job(&self, spec: &str, flags: &[&str]) -> Running<'_> {
        let mut command = self.run_command(spec);
        command.args(flags);
        let output = self.home.path().join("stdout");
        let error = self.home.path().join("stderr");
        let child = command
            .stdout(std::fs::File::create(&output).unwrap())
            .stderr(std::fs::File::create(&error).unwrap())
            .spawn()
            .unwrap();
        Running {
            child,
            place: self,
            output,
            error,
        }
    }

    /// Processes of the run that still exist, zombies left out.
    pub fn processes(&self) -> Vec<(i32, String)> {
        let mark = format!("{MARK}={}", self.mark);
        let mut found = Vec::new();
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let Some(pid) = entry
                .file_name()
                .to_str()
                .and_then(|name| name.parse().ok())
            else {
                continue;
            };
            let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
            if environment
                .split(|byte| *byte == 0)
                .any(|variable| variable == mark.as_bytes())
            {
                let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
                found.push((pid, String::from_utf8_lossy(&command).replace('\0', " ")));
            }
        }
        found
    }

    /// Processes whose command line holds a text.
    pub fn processes_with(&self, text: &str) -> Vec<i32> {
        self.processes()
            .into_iter()
            .filter(|(_, command)| command.contains(text))
            .map(|(pid, _)| pid)
            .collect()
    }

    /// No process, no directory.
    pub fn nothing_is_left(&self, context: &str) {
        let processes = self.processes();
        assert!(
            processes.is_empty(),
            "left behind: {processes:?}\n{context}"
        );
        let left: Vec<_> = std::fs::read_dir(self.home.path().join("tmp"))
            .unwrap()
            .flatten()
            .map(|entry| entry.path())
            .collect();
        assert!(left.is_empty(), "left behind: {left:?}\n{context}");
    }

    /// Names of what lies beside the manifest.
    pub fn beside_the_manifest(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.here())
            .unwrap()
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }
}

pub fn finished(output: Output) -> Finished {
    Finished {
        code: output.status.code().unwrap_or(-1),
        stdout: output.stdout,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs a program with a terminal as its standard error, shows on its own what comes there, and passes Ctrl-C on.
const TERMINAL: &str = r#"
import os, signal, sys
terminal, theirs = os.openpty()
program = os.fork()
if program == 0:
    os.dup2(theirs, 2)
    os.execv(sys.argv[1], sys.argv[1:])
os.close(theirs)
os.dup2(2, 1)
signal.signal(signal.SIGINT, lambda *_: os.kill(program, signal.SIGINT))
try:
    while shown := os.read(terminal, 65536):
        os.write(2, shown)
except OSError:
    pass  # so a terminal ends whose last user is gone
sys.exit(os.waitstatus_to_exitcode(os.waitpid(program, 0)[1]))
"#;

/// A command as the last arguments of another, with the same environment.
pub fn behind(mut front: Command, arguments: &[&str], command: &Command) -> Command {
    front
        .args(arguments)
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => front.env(name, value),
            None => front.env_remove(name),
        };
    }
    front
}

/// A run whose output is read by the test, or not.
pub struct Reading {
    pub child: Child,
    pub output: ChildStdout,
    unread: u64,
}

impl Reading {
    pub fn start(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let output = child.stdout.take().unwrap();
        Reading {
            child,
            output,
            unread: 0,
        }
    }

    /// Whether there is much to read and no more comes, now and when asked before.
    pub fn is_full(&mut self) -> bool {
        let unread = rustix::io::ioctl_fionread(&self.output).unwrap();
        let before = std::mem::replace(&mut self.unread, unread);
        unread == before && unread > 32 * 1024
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

/// A run in the background.
pub struct Running<'a> {
    child: Child,
    place: &'a Place,
    output: PathBuf,
    error: PathBuf,
}

impl Running<'_> {
    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.output).unwrap_or_default()
            + &std::fs::read_to_string(&self.error).unwrap_or_default()
    }

    /// Waits until the run, or the job, has said something.
    pub fn until_said(&self, text: &str) {
        eventually(
            &format!("\"{text}\" to be said"),
            || self.said().contains(text),
            || self.said(),
        );
    }

    pub fn signal(&self, pid: i32, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), signal)
            .unwrap();
    }

    /// Waits for the end, and looks at nothing.
    pub fn reap(mut self) {
        self.child.wait().unwrap();
    }

    /// Waits for the end. After it nothing may be left, at once or, when the run was killed, soon.
    pub fn end(mut self) -> Finished {
        let begun = now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "still running:\n{}",
                self.said()
            );
            std::thread::sleep(Duration::from_millis(20));
        };
        let finished = Finished {
            code: status.code().unwrap_or(-1),
            stdout: std::fs::read(&self.output).unwrap(),
            stderr: std::fs::read_to_string(&self.error).unwrap(),
        };
        if status.code().is_none() {
            let left = || format!("{:?}", self.place.processes());
            let home = self.place.home().join("tmp");
            let gone = || {
                self.place.processes().is_empty()
                    && std::fs::read_dir(&home).unwrap().next().is_none()
            };
            eventually("everything to be gone", gone, left);
        }
        self.place.nothing_is_left(&finished.stderr);
        finished
    }
}

/// Waits until something is so.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool, context: impl Fn() -> String) {
    let begun = now();
    while !is_so() {
        assert!(
            begun.elapsed() < PATIENCE,
            "waited for {what} in vain:\n{}",
            context()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests of a program take real time"
)]
fn now() -> Instant {
    Instant::now()
}
