//! Starting the processes of an attempt, and hearing of their end.

use super::commands::CommandLine;
use super::environment::Environment;
use super::logs::Tail;
use super::output::{Passage, Passing};
use crate::control_groups::Leaf;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use terminal::{Console, Stream};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;

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
        passing: &Passing,
        exits: &UnboundedSender<Exit>,
    ) -> io::Result<(u32, Arc<Mutex<Tail>>)> {
        let mut child = self
            .command()?
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let pid = pid_of(&child);
        let tail = Arc::new(Mutex::new(Tail::default()));
        let (end, ended) = watch::channel(false);
        let passage = |stream| Passage {
            stream,
            console: Arc::clone(console),
            tail: Arc::clone(&tail),
            ended: ended.clone(),
        };
        let (output, error) = (passage(Stream::Output), passage(Stream::Error));
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let (stdout, stderr) = stdout.zip(stderr).expect("both are piped");
        let (who, exits) = (self.who, exits.clone());
        let program = async move {
            let status = child.wait().await;
            end.send_replace(true);
            status
        };
        passing.lock().expect("no holder panics").spawn(async move {
            let (status, (), ()) =
                tokio::join!(program, output.pass_on(stdout), error.pass_on(stderr));
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
}
