//! The process the user started: starts the supervisor, passes signals on, hands back its exit code.

use super::{GRACE, Signals, process_tree, remove_directory};
use crate::control_groups;
use crate::run::RunArgs;
use rustix::process::{Pid, Signal, kill_process};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::sync::atomic::AtomicBool;
use tokio::process::{Child, Command};

pub fn main(arguments: &RunArgs) -> ExitCode {
    let directory = match make_directory() {
        Ok(directory) => directory,
        Err(error) => {
            eprintln!(
                "daskjob: cannot make a directory in {}: {error}",
                std::env::temp_dir().display()
            );
            return ExitCode::from(contract::exit_code::INFRASTRUCTURE);
        }
    };
    let outcome = supervised(&directory);
    // Normally nothing is left to do: this is for a supervisor that was killed.
    process_tree::end_descendants(GRACE, &AtomicBool::new(false));
    control_groups::remove_recorded(&directory);
    if !arguments.keep {
        remove_directory(&directory);
    }
    ExitCode::from(outcome.unwrap_or_else(|error| {
        eprintln!("daskjob: cannot start the supervisor: {error}");
        contract::exit_code::INFRASTRUCTURE
    }))
}

/// A directory of our own, readable by us only. Its path is short: sockets in it must fit 108 characters.
fn make_directory() -> std::io::Result<PathBuf> {
    Ok(tempfile::Builder::new()
        .prefix(control_groups::DIRECTORY_PREFIX)
        .tempdir()?
        .keep())
}

fn supervised(directory: &Path) -> std::io::Result<u8> {
    process_tree::adopt_orphans()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let mut supervisor = start(directory)?;
        let _lifeline = supervisor.stdin.take();
        loop {
            tokio::select! {
                status = supervisor.wait() => return Ok(exit_code_of(status?)),
                number = signals.next() => pass_on(number, &supervisor),
            }
        }
    })
}

fn start(directory: &Path) -> std::io::Result<Child> {
    let mut command = std::process::Command::new("/proc/self/exe");
    command
        .arg0("daskjob")
        .arg("supervise")
        .arg("--directory")
        .arg(directory);
    // What stands behind `daskjob run`, unread.
    command.args(std::env::args_os().skip(2));
    Command::from(command).stdin(Stdio::piped()).spawn()
}

fn pass_on(number: i32, supervisor: &Child) {
    let pid = supervisor
        .id()
        .and_then(|id| Pid::from_raw(id.cast_signed()));
    if let (Some(pid), Some(signal)) = (pid, Signal::from_named_raw(number)) {
        // It may have ended just now.
        let _ = kill_process(pid, signal);
    }
}

fn exit_code_of(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(u8::MAX),
        (None, Some(signal)) => {
            eprintln!(
                "daskjob: the supervisor was killed by signal {signal}; what it ran is being ended"
            );
            contract::exit_code::INFRASTRUCTURE
        }
        (None, None) => contract::exit_code::INFRASTRUCTURE,
    }
}
