//! Starting the processes of an attempt, and hearing of their end.

use super::commands::CommandLine;
use super::environment::Environment;
use super::logs::Tail;
use crate::control_groups::Leaf;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use terminal::{Console, Stream};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::UnboundedSender;

/// How long the job's output is waited for after its end: a process it left behind may hold the pipe open.
const LAST_OUTPUT: Duration = Duration::from_millis(500);

/// What the kernel sends when memory runs out.
const SIGKILL: i32 = 9;

/// Which process of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Who {
    Scheduler,
    Runner,
    Worker { group: usize, slot: usize },
}

/// A process has ended.
#[derive(Debug, Clone, Copy)]
pub struct Exit {
    pub who: Who,
    pub status: ExitStatus,
}

impl Exit {
    /// The code a shell would report: 128 + signal for a process ended by a signal.
    pub fn code(&self) -> u8 {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => u8::try_from(code).unwrap_or(u8::MAX),
            (None, signal) => contract::exit_code::of_signal(signal.unwrap_or_default()),
        }
    }

    /// Whether it was killed outright, or by what its shell reports was.
    pub fn killed(&self) -> bool {
        self.code() == contract::exit_code::of_signal(SIGKILL)
    }

    /// How it ended, as the end of a sentence.
    pub fn description(&self) -> String {
        match self.status.signal() {
            Some(signal) => format!("was ended by signal {signal}{}", name_of_signal(signal)),
            None => format!("ended with exit code {}", self.code()),
        }
    }
}

/// ` (SIGKILL)`, for signals that have a name.
fn name_of_signal(signal: i32) -> &'static str {
    match signal {
        1 => " (SIGHUP)",
        2 => " (SIGINT)",
        6 => " (SIGABRT)",
        7 => " (SIGBUS)",
        8 => " (SIGFPE)",
        9 => " (SIGKILL)",
        11 => " (SIGSEGV)",
        13 => " (SIGPIPE)",
        15 => " (SIGTERM)",
        _ => "",
    }
}

/// Everything needed to start one.
pub struct Launch<'a> {
    pub who: Who,
    pub command: &'a CommandLine,
    pub environment: &'a Environment,
    pub directory: &'a Path,
    /// Where the system allows one.
    pub leaf: Option<&'a Leaf>,
}

impl Launch<'_> {
    fn command(&self) -> io::Result<Command> {
        let mut command = std::process::Command::new(&self.command.program);
        if let Some(called) = self.command.called {
            std::os::unix::process::CommandExt::arg0(&mut command, called);
        }
        command
            .args(&self.command.arguments)
            .env_clear()
            .envs(self.environment)
            .current_dir(self.directory)
            .stdin(Stdio::null());
        if let Some(leaf) = self.leaf {
            leaf.hold(&mut command)?;
        }
        Ok(Command::from(command))
    }

    /// Starts a process whose output goes to a file; its end is sent to `exits`.
    pub fn logged(self, log: &Path, exits: &UnboundedSender<Exit>) -> io::Result<u32> {
        let file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(log)?;
        let child = self
            .command()?
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()?;
        let pid = pid_of(&child);
        wait_for(child, self.who, exits.clone());
        Ok(pid)
    }

    /// Starts the job's program: its output passes through, and the end of it is kept.
    pub fn shown(
        self,
        console: &Arc<Console>,
        exits: &UnboundedSender<Exit>,
    ) -> io::Result<(u32, Arc<Mutex<Tail>>)> {
        let mut child = self
            .command()?
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let pid = pid_of(&child);
        let tail = Arc::new(Mutex::new(Tail::default()));
        let output = child.stdout.take().map(|pipe| {
            tokio::spawn(pass_on(
                pipe,
                Stream::Output,
                Arc::clone(console),
                Arc::clone(&tail),
            ))
        });
        let error = child.stderr.take().map(|pipe| {
            tokio::spawn(pass_on(
                pipe,
                Stream::Error,
                Arc::clone(console),
                Arc::clone(&tail),
            ))
        });
        let (who, exits) = (self.who, exits.clone());
        tokio::spawn(async move {
            let status = child.wait().await;
            let last_output = async {
                for pipe in [output, error].into_iter().flatten() {
                    let _ = pipe.await;
                }
            };
            let _ = tokio::time::timeout(LAST_OUTPUT, last_output).await;
            send(status, who, &exits);
        });
        Ok((pid, tail))
    }
}

fn pid_of(child: &Child) -> u32 {
    child.id().expect("it was not waited for yet")
}

fn wait_for(mut child: Child, who: Who, exits: UnboundedSender<Exit>) {
    tokio::spawn(async move {
        let status = child.wait().await;
        send(status, who, &exits);
    });
}

fn send(status: io::Result<ExitStatus>, who: Who, exits: &UnboundedSender<Exit>) {
    // An error means that somebody else reaped it, which happens only at the very end.
    if let Ok(status) = status {
        let _ = exits.send(Exit { who, status });
    }
}

/// Copies output until its end, or until nobody reads ours: then the job gets a broken pipe, as without us.
async fn pass_on(
    mut pipe: impl AsyncRead + Unpin,
    stream: Stream,
    console: Arc<Console>,
    tail: Arc<Mutex<Tail>>,
) {
    let mut chunk = vec![0; 64 * 1024];
    let mut held: Vec<u8> = Vec::new();
    while let Ok(length @ 1..) = pipe.read(&mut chunk).await {
        let bytes = &chunk[..length];
        tail.lock().expect("no holder panics").add(bytes);
        held.extend_from_slice(bytes);
        let now = if console.draws() {
            whole_lines(&held)
        } else {
            held.len()
        };
        if now > 0 && console.pass_on(stream, &held[..now]).await.is_err() {
            return;
        }
        held.drain(..now);
    }
    if !held.is_empty() {
        let _ = console.pass_on(stream, &held).await;
    }
}

/// How much may be written above a line that is being drawn: up to the last line end, or all when a line
/// becomes very long.
fn whole_lines(held: &[u8]) -> usize {
    const LONGEST_LINE: usize = 64 * 1024;
    if held.len() > LONGEST_LINE {
        return held.len();
    }
    held.iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1)
}

/// The path of a program as a process with this environment would find it.
pub fn find_program(name: &str, environment: &Environment, directory: &Path) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let executable = |file: &PathBuf| {
        file.metadata()
            .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        return Some(directory.join(name)).filter(executable);
    }
    let path = environment.get(std::ffi::OsStr::new("PATH"))?;
    std::env::split_paths(path)
        .map(|each| each.join(name))
        .find(executable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_the_one_a_shell_reports() {
        let exit = |raw| Exit {
            who: Who::Runner,
            status: ExitStatus::from_raw(raw),
        };
        assert_eq!(exit(3 << 8).code(), 3);
        assert_eq!(exit(9).code(), 137);
        assert_eq!(exit(15).code(), 143);
        assert_eq!(exit(9).description(), "was ended by signal 9 (SIGKILL)");
    }

    #[test]
    fn whole_lines_are_passed_on_and_the_rest_is_held() {
        assert_eq!(whole_lines(b"a\nb\nc"), 4);
        assert_eq!(whole_lines(b"abc"), 0);
        assert_eq!(whole_lines(&[b'x'; 70_000]), 70_000);
    }
}
