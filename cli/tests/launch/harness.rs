//! A place to run the launcher in, with the file that a kubelet would read, and schedulers of several kinds.

use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// How long a test waits for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it looks.
const LOOK: Duration = Duration::from_millis(10);

/// Leaves a test that this machine cannot run.
macro_rules! skip_unless {
    ($holds:expr, $lacks:expr) => {
        if !$holds {
            eprintln!("skipped: {}", $lacks);
            return;
        }
    };
}
pub(crate) use skip_unless;

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A Python with distributed.
pub fn python() -> Option<String> {
    std::env::var("DASKJOB_PYTHON").ok()
}

pub const NO_PYTHON: &str = "DASKJOB_PYTHON does not name a Python with distributed";

pub struct Place {
    directory: tempfile::TempDir,
}

/// A launcher that has ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
    /// As the kubelet would read it.
    pub left: String,
}

impl Ended {
    /// The termination message, which must be one of ours.
    pub fn message(&self) -> Value {
        serde_json::from_str(&self.left).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Place {
    pub fn new() -> Self {
        let place = Place {
            directory: tempfile::tempdir().unwrap(),
        };
        // The kubelet makes it, and every user may write to it.
        let log = place.path().join("termination-log");
        std::fs::write(&log, "").unwrap();
        for (file, mode) in [(log.as_path(), 0o666), (place.path(), 0o777)] {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            std::fs::set_permissions(file, mode).unwrap();
        }
        place
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn file(&self, name: &str) -> String {
        self.path().join(name).to_str().unwrap().to_owned()
    }

    /// Writes an executable script.
    pub fn script(&self, name: &str, text: &str) -> String {
        let file = self.path().join(name);
        std::fs::write(&file, text).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&file, mode).unwrap();
        self.file(name)
    }

    /// The words of a launcher, for whatever runs it.
    pub fn words(&self, flags: &[&str], command: &[&str]) -> Vec<String> {
        let log = self.file("termination-log");
        ["launch", "--termination-log", &log]
            .iter()
            .chain(flags)
            .chain(&["--"])
            .chain(command)
            .map(|word| (*word).to_owned())
            .collect()
    }

    pub fn launcher(&self, flags: &[&str], command: &[&str]) -> Command {
        let mut launcher = Command::new(program());
        launcher.args(self.words(flags, command));
        launcher.current_dir(self.path());
        launcher
    }

    pub fn run(&self, flags: &[&str], command: &[&str]) -> Ended {
        self.start(self.launcher(flags, command)).end()
    }

    /// Runs a launcher with a shell script as its command.
    pub fn run_script(&self, flags: &[&str], script: &str) -> Ended {
        self.run(flags, &["sh", "-c", script])
    }

    pub fn start(&self, mut command: Command) -> Running<'_> {
        let (stdout, stderr) = (self.unused("stdout"), self.unused("stderr"));
        command
            .stdin(Stdio::null())
            .stdout(std::fs::File::create(&stdout).unwrap())
            .stderr(std::fs::File::create(&stderr).unwrap());
        Running {
            child: command.spawn().unwrap(),
            stdout,
            stderr,
            place: self,
        }
    }

    /// A file that is not there yet.
    fn unused(&self, name: &str) -> PathBuf {
        (0..)
            .map(|number| self.path().join(format!("{name}.{number}")))
            .find(|file| !file.exists())
            .unwrap()
    }

    /// Waits for a file that the command writes.
    pub fn wait_for(&self, name: &str) -> String {
        let file = self.path().join(name);
        until(&format!("{name} is written"), || file.exists());
        std::fs::read_to_string(file).unwrap()
    }
}

/// The program as it goes into images where that has been built, else as cargo has built it for the tests.
pub fn program() -> &'static str {
    static PROGRAM: OnceLock<String> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        static_program().unwrap_or_else(|| env!("CARGO_BIN_EXE_daskjob").to_owned())
    })
}

pub fn static_program() -> Option<String> {
    std::env::var("DASKJOB_STATIC_BIN").ok()
}

pub const NO_STATIC: &str =
    "DASKJOB_STATIC_BIN does not name the static program; `cargo xtask image binaries` builds it";

/// Killed when dropped, with all its words.
pub struct Running<'a> {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    place: &'a Place,
}

impl Running<'_> {
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    pub fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    pub fn stderr(&self) -> String {
        std::fs::read_to_string(&self.stderr).unwrap()
    }

    pub fn stdout(&self) -> String {
        std::fs::read_to_string(&self.stdout).unwrap()
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        let began = now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(
                began.elapsed() < PATIENCE,
                "does not end: {}",
                self.stderr()
            );
            std::thread::sleep(LOOK);
        };
        Ended {
            code: status.code().unwrap_or_else(|| -status.signal().unwrap()),
            stdout: self.stdout(),
            stderr: self.stderr(),
            left: std::fs::read_to_string(self.place.path().join("termination-log")).unwrap(),
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // The command gets a signal to end, and all end with their launcher at the latest.
        if self.runs() {
            self.signal(rustix::process::Signal::TERM);
            for _ in 0..300 {
                if !self.runs() {
                    return;
                }
                std::thread::sleep(LOOK);
            }
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests measure how long things take"
)]
pub fn now() -> Instant {
    Instant::now()
}

/// Waits for something to be so.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::sleep(LOOK);
    }
}

/// A port nobody listens on, for somebody who is about to.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// The whole of a scheduler that the launcher looks at over HTTP: what it says of its work.
pub struct Dashboard {
    pub port: u16,
    says: Arc<AtomicU8>,
}

pub enum Says {
    Idle,
    Busy,
    /// Takes connections and never answers.
    Nothing,
}

impl Dashboard {
    pub fn that(says: Says) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let dashboard = Dashboard {
            port: listener.local_addr().unwrap().port(),
            says: Arc::new(AtomicU8::new(says as u8)),
        };
        let now_says = Arc::clone(&dashboard.says);
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for connection in listener.incoming() {
                let mut connection = connection.unwrap();
                let mut request = [0; 1024];
                let length = connection.read(&mut request).unwrap();
                assert!(request[..length].starts_with(b"GET /api/v1/check_idle HTTP/1"));
                let body = match now_says.load(Ordering::Relaxed) {
                    idle if idle == Says::Idle as u8 => r#"{"idle_since": 1.5}"#,
                    busy if busy == Says::Busy as u8 => r#"{"idle_since": null}"#,
                    _ => {
                        silent.push(connection);
                        continue;
                    }
                };
                let length = body.len();
                let _ = write!(
                    connection,
                    "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}"
                );
            }
        });
        dashboard
    }

    pub fn now_says(&self, says: Says) {
        self.says.store(says as u8, Ordering::Relaxed);
    }
}

/// The address that clients are given.
pub fn tcp(address: SocketAddr) -> String {
    format!("tcp://{address}")
}
