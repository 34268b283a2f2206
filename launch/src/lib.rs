//! The first process of every container of a job: waits for the scheduler, runs one command, and says why it failed.
//!
//! `session` is the loop; `args` the command line (its words are `contract::launch`); `command`, `search` and `files` make
//! ready what is run; `child`, `signals` and `memory` watch it; `scheduler`, `lifeline` and `idle` look at the scheduler;
//! `ending` turns what happened into an exit code and a termination message. `install` copies the program, `stock` becomes
//! a program of the image's own Dask.
//!
//! Knows nothing of jobs and objects, and must run in an image that has nothing: no shell, no C library, no writable
//! directory, no root. Invariant: it ends as soon as its command has, and never before.

mod args;
mod child;
mod clock;
mod command;
mod ending;
mod files;
mod idle;
mod install;
mod lifeline;
mod memory;
mod scheduler;
mod search;
mod session;
mod signals;
mod stock;

pub use args::{InstallArgs, LaunchArgs};
pub use install::install;
pub use stock::{dask, worker};

use std::io::Write;
use std::process::ExitCode;

/// Runs the command and ends as it did.
pub fn main(args: &LaunchArgs) -> ExitCode {
    // One thread: there is nothing to do at the same time, and this runs in front of every container.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let ending = match runtime {
        Ok(runtime) => {
            let ending = runtime.block_on(session::run(args));
            runtime.shutdown_background();
            ending
        }
        Err(error) => ending::Ending::NotStarted(command::StartError::Launcher(error)),
    };
    ending.tell(&args.termination_log);
    ExitCode::from(ending.code())
}

/// A line of ours in the container's log, which is the command's. Where nobody takes it, it is nobody's loss.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "daskjob: {line}");
}
