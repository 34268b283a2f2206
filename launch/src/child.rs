//! The command as a process, and everything else that is ours to bury.
//!
//! As process 1 every orphan of the container becomes a child of the launcher, so it waits for all of them at once and
//! never through a library that waits for one.

use crate::command::{Prepared, StartError};
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, wait};

/// The command while it runs.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
}

/// How the command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    Code(u8),
    Signal(i32),
}

impl Child {
    pub fn start(command: &Prepared) -> Result<Self, StartError> {
        let pid = command.start()?.cast_signed();
        Ok(Child {
            pid: Pid::from_raw(pid).expect("a child's number is above zero"),
        })
    }

    /// A child that has just ended needs no signal: its end is on the way to us.
    pub fn signal(&self, signal: Signal) {
        let _ = kill_process(self.pid, signal);
    }

    /// Takes leave of everything that has ended; the command's end is returned if it is among it.
    pub fn reap(&self) -> Option<Exit> {
        let mut exit = None;
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid == self.pid {
                exit = Exit::of(status);
            }
        }
        exit
    }
}

/// Takes leave of orphans while there is no command.
pub fn reap_orphans() {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}

impl Exit {
    fn of(status: WaitStatus) -> Option<Self> {
        if let Some(signal) = status.terminating_signal() {
            return Some(Exit::Signal(signal));
        }
        let code = status.exit_status()?;
        Some(Exit::Code(u8::try_from(code).unwrap_or(u8::MAX)))
    }

    pub fn code(self) -> u8 {
        match self {
            Exit::Code(code) => code,
            Exit::Signal(signal) => contract::exit_code::of_signal(signal),
        }
    }

    pub fn succeeded(self) -> bool {
        self == Exit::Code(0)
    }
}
