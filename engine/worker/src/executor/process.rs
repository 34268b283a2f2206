//! The executor's process: started with the sources of `python/daskjob/executor/`, ended by force when it must.
//!
//! Invariant: however the worker ends, the kernel kills the executor, because the lifeline's other end closes.

use super::line::Line;
use super::packet;
use super::shared::SharedMemory;
use contract::environment::{HASH_SEED, NANNY_DEFAULTS};
use rustix::io::{FdFlags, fcntl_setfd};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use tokio::process::{Child, Command};

const BOOTSTRAP: &str = include_str!("../../../../python/daskjob/executor/bootstrap.py");

macro_rules! sources {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_str!(concat!("../../../../python/daskjob/executor/", $name, ".py")))),*]
    };
}

const SOURCES: [(&str, &str); 15] = sources![
    "__init__",
    "clockwork",
    "control",
    "elsewhere",
    "life",
    "line",
    "memory",
    "nanny",
    "outcomes",
    "pouring",
    "requests",
    "specs",
    "tasks",
    "values",
    "worker",
];

/// What an executor is started with.
#[derive(Clone, Debug)]
pub struct Launch {
    pub python: PathBuf,
    /// Variables that a nanny plugin or the like has set.
    pub environment: Vec<(String, String)>,
}

/// A running executor.
pub struct Process {
    pub child: Child,
    pub line: Line,
    /// Dropping it kills the process.
    pub _lifeline: io::PipeWriter,
}

/// Starts the interpreter. What it is given before the first packet is written by the time this returns.
pub fn start(launch: &Launch, memory: &Arc<SharedMemory>) -> io::Result<Process> {
    let (mut ours, theirs) = UnixStream::pair()?;
    let (lifeline_read, lifeline) = io::pipe()?;
    let (theirs, lifeline_read) = (OwnedFd::from(theirs), OwnedFd::from(lifeline_read));
    // Nothing else is started on this thread meanwhile, and they are closed as soon as the child has them.
    fcntl_setfd(&theirs, FdFlags::empty())?;
    fcntl_setfd(&lifeline_read, FdFlags::empty())?;
    let mut command = Command::new(&launch.python);
    command
        .args(["-c", BOOTSTRAP, "--channel"])
        .arg(theirs.as_raw_fd().to_string())
        .arg("--lifeline")
        .arg(lifeline_read.as_raw_fd().to_string())
        .stdin(Stdio::null())
        .kill_on_drop(true);
    for (name, value) in NANNY_DEFAULTS {
        if std::env::var_os(name).is_none() {
            command.env(name, value);
        }
    }
    let seed = std::env::var(HASH_SEED.0).unwrap_or_default();
    if seed.is_empty() || seed == "0" {
        command.env(HASH_SEED.0, HASH_SEED.1);
    }
    command.envs(launch.environment.iter().cloned());
    let child = command.spawn()?;
    drop((theirs, lifeline_read));
    // The sources are far smaller than what a socket takes without a reader.
    let sources: serde_json::Value = SOURCES
        .into_iter()
        .map(|(name, text)| (name.to_owned(), serde_json::Value::from(text)))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let introduced = ours.write_all(&packet::introduction(&sources)?);
    // One that has ended already is waited for like any other, which tells how it ended.
    introduced.or_else(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(error),
    })?;
    Ok(Process {
        child,
        line: Line::new(ours, Arc::clone(memory))?,
        _lifeline: lifeline,
    })
}

/// What an exit status says, for people.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(9)) => "was killed by signal 9 (SIGKILL)".to_owned(),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended".to_owned(),
    }
}
