//! The first process of every container of a job: waits for the scheduler, runs one command, and says why it failed.
//!
//! `session` is the loop; `args` the command line (its words are `contract::launch`); `command`, `search` and `files` make
//! ready what is run; `child` and `signals` watch it, and `container` what the kernel does to it; `scheduler`, `lifeline` and `idle` look at the scheduler;
//! `ending` turns what happened into an exit code and a termination message. `install` copies the program, `stock` becomes
//! the image's own `dask`.
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
mod scheduler;
mod search;
mod session;
mod signals;
mod stock;

pub use args::{InstallArgs, LaunchArgs};
pub use install::install;
pub use stock::dask;

use std::io::Write;
use std::process::ExitCode;

/// Runs the command and ends as it did, or becomes it.
pub fn main(args: &LaunchArgs) -> ExitCode {
    let ending = match args.exec {
        true => ending::Ending::NotStarted(become_command(args)),
        false => watch_command(args),
    };
    ending.tell(&args.termination_log);
    ExitCode::from(ending.code())
}

/// Returns only if that cannot be done.
fn become_command(args: &LaunchArgs) -> command::StartError {
    let prepared = command::Prepared::new(args, std::env::vars_os().collect());
    match prepared {
        Ok(command) => command.become_it(),
        Err(error) => error,
    }
}

fn watch_command(args: &LaunchArgs) -> ending::Ending {
    // One thread: there is nothing to do at the same time, and this runs in front of every container.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            let ending = runtime.block_on(session::run(args));
            runtime.shutdown_background();
            ending
        }
        Err(error) => ending::Ending::NotStarted(command::StartError::Launcher(error)),
    }
}

/// A line of ours in the container's log, which is the command's. Where nobody takes it, it is nobody's loss.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "daskjob: {line}");
}
