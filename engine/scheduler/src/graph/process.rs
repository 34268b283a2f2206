//! Starts one helper process, and says how one ended.
//!
//! The interpreter gets a short bootstrap by `-c`; the sources and options follow over the channel, which the child
//! inherits as stdin and moves away at once. Its stdout is the read end of a pipe whose other end only we hold: the
//! kernel kills the helper when that closes, however we end. What user code prints goes to our stderr.

use super::HelperOptions;
use bytes::{BufMut, Bytes, BytesMut};
use serde_json::json;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::process::{Child, Command};

/// How long a helper that closed its channel may take to exit.
const EXIT_LIMIT: Duration = Duration::from_secs(2);

const BOOTSTRAP: &str = include_str!("bootstrap.py");
const GRAPH_HELPER: &str = include_str!("../../../../python/daskjob/graph_helper.py");
const SCHEDULER_SHIM: &str = include_str!("../../../../python/daskjob/scheduler_shim.py");

/// What a helper process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Opens graphs; stateless.
    Graphs,
    /// Runs `run_on_scheduler` functions and holds scheduler plugins.
    Functions,
}

impl Mode {
    pub fn name(self) -> &'static str {
        match self {
            Self::Graphs => "graphs",
            Self::Functions => "functions",
        }
    }

    /// What such a process is there to do, in the words of an error.
    pub fn purpose(self) -> &'static str {
        match self {
            Self::Graphs => "open graphs",
            Self::Functions => "run functions and plugins of the scheduler",
        }
    }
}

/// A running helper process.
pub struct Process {
    pub child: Child,
    pub stream: UnixStream,
    /// Dropping it kills the process.
    pub lifeline: io::PipeWriter,
    /// What to send first.
    pub introduction: Bytes,
}

/// Starts the interpreter; that it works shows only when it says hello.
pub fn start(options: &HelperOptions, mode: Mode) -> io::Result<Process> {
    let (ours, theirs) = StdUnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let (lifeline_read, lifeline) = io::pipe()?;
    let mut command = Command::new(&options.python);
    command
        .args(["-c", BOOTSTRAP, "daskjob-graph-helper", mode.name()])
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::from(OwnedFd::from(lifeline_read)))
        .kill_on_drop(true);
    for (name, value) in &options.environment {
        command.env(name, value);
    }
    let child = command.spawn()?;
    let introduction = introduction(options, mode);
    Ok(Process {
        child,
        stream: UnixStream::from_std(ours)?,
        lifeline,
        introduction,
    })
}

fn introduction(options: &HelperOptions, mode: Mode) -> Bytes {
    let text = json!({
        "sources": {"graph_helper": GRAPH_HELPER, "scheduler_shim": SCHEDULER_SHIM},
        "options": {
            "mode": mode.name(),
            "memory_limit": options.memory_limit_bytes,
            "local_directory": options.local_directory,
            "preload": options.preload,
            "preload_argv": options.preload_argv,
        },
    })
    .to_string();
    let mut introduction = BytesMut::with_capacity(4 + text.len());
    introduction.put_u32_le(u32::try_from(text.len()).expect("our own sources are small"));
    introduction.extend_from_slice(text.as_bytes());
    introduction.freeze()
}

/// `: exit code 3` or `: killed by signal 9 …`.
pub async fn exit_text(child: &mut Child) -> String {
    match tokio::time::timeout(EXIT_LIMIT, child.wait()).await {
        Ok(Ok(status)) => describe(status),
        Ok(Err(error)) => format!(" ({error})"),
        Err(_) => " (it closed its channel but did not exit)".to_owned(),
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!(" with exit code {code}"),
        (None, Some(9)) => {
            " killed by signal 9 (SIGKILL; the kernel sends it when memory runs out)".to_owned()
        }
        (None, Some(signal)) => format!(" killed by signal {signal}"),
        (None, None) => String::new(),
    }
}
