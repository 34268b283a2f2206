//! Nothing stays behind: the process that holds every other process of a local run.
//!
//! Two processes watch each other. `front` is the one the user started: it holds the write end of a pipe
//! (the lifeline) and passes signals on. The supervisor, in a session of its own, runs the job. It is the reaper of
//! all its descendants, so that none can escape by `setsid` or by losing its parent. When the lifeline closes, however
//! the front ended, the supervisor ends everything; when the supervisor is killed, the front does, being a reaper too.
//! Where there are control groups, what is left when both were killed at once is found in them by the next run.

pub mod front;
pub mod process_tree;

use crate::control_groups::RunGroups;
use crate::run::{self, RunArgs};
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use terminal::Console;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long processes get to end by themselves after SIGTERM.
const GRACE: Duration = Duration::from_secs(3);

/// What `front` tells the supervisor.
#[derive(Debug, Args)]
pub struct SuperviseArgs {
    /// Directory for everything of this run; removed at the end
    #[arg(long)]
    directory: PathBuf,
    #[command(flatten)]
    run: RunArgs,
}

/// Why a run is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The run came to its own end.
    ByItself,
    /// Somebody sent this signal.
    Signal(i32),
    /// Nobody is there to hear the outcome: the front is gone.
    Abandoned,
}

pub fn main(arguments: SuperviseArgs) -> ExitCode {
    // Away from the terminal's process group: its Ctrl-C reaches the front, which passes it on once.
    // Fails only where the caller made us a group leader already, which serves as well.
    let _ = rustix::process::setsid();
    if let Err(error) = process_tree::adopt_orphans() {
        eprintln!("daskjob: cannot hold the processes of the run: {error}");
        return ExitCode::from(contract::exit_code::INFRASTRUCTURE);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            let exit_code = runtime.block_on(supervise(arguments));
            // A thread that reads the lifeline or writes to a full pipe would be waited for otherwise.
            runtime.shutdown_background();
            ExitCode::from(exit_code)
        }
        Err(error) => {
            eprintln!("daskjob: cannot start: {error}");
            ExitCode::from(contract::exit_code::INFRASTRUCTURE)
        }
    }
}

async fn supervise(arguments: SuperviseArgs) -> u8 {
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => {
            eprintln!("daskjob: cannot listen for signals: {error}");
            return contract::exit_code::INFRASTRUCTURE;
        }
    };
    let keep = arguments.run.keep;
    let mut session = run::Session::new(arguments.run, arguments.directory.clone());
    let mut lifeline = std::pin::pin!(lifeline_closed());
    let end = tokio::select! {
        () = session.run() => End::ByItself,
        number = signals.next() => End::Signal(number),
        () = &mut lifeline => End::Abandoned,
    };
    session.ending(end);
    let remaining = end_everything(&mut signals, session.groups()).await;
    session.last_output().await;
    let exit_code = session.finish(end, remaining);
    if !keep {
        remove_directory(&arguments.directory);
    }
    until_written(session.console(), end, &mut signals, lifeline).await;
    exit_code
}

/// What stands behind us reads in its own time, unless somebody does not want to wait for it.
async fn until_written(
    console: &Console,
    end: End,
    signals: &mut Signals,
    lifeline: impl Future<Output = ()>,
) {
    if end == End::ByItself {
        tokio::select! {
            () = console.written() => {}
            _ = signals.next() => {}
            () = lifeline => {}
        }
    } else {
        tokio::select! {
            () = console.written_or_stuck() => {}
            _ = signals.next() => {}
        }
    }
    console.leave();
}

/// Ends every descendant, then what else is in the run's control groups, and removes these; another signal meanwhile
/// means at once.
async fn end_everything(signals: &mut Signals, groups: Option<Arc<RunGroups>>) -> usize {
    let hurry = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&hurry);
    let mut ending = tokio::task::spawn_blocking(move || {
        let descendants = process_tree::end_descendants(GRACE, &told);
        let others = groups.map_or(0, |groups| groups.remove());
        descendants.max(others)
    });
    loop {
        tokio::select! {
            remaining = &mut ending => return remaining.unwrap_or(0),
            _ = signals.next() => hurry.store(true, Ordering::Relaxed),
        }
    }
}

/// The other end of standard input is held by the front and never written to.
async fn lifeline_closed() {
    let (closed, told) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        // The run may be over already.
        let _ = closed.send(());
    });
    let _ = told.await;
}

/// Removes a directory tree, also where something in it was made read-only.
fn remove_directory(directory: &Path) {
    if std::fs::remove_dir_all(directory).is_err() && directory.exists() {
        make_writable(directory);
        if let Err(error) = std::fs::remove_dir_all(directory)
            && directory.exists()
        {
            eprintln!("daskjob: cannot remove {}: {error}", directory.display());
        }
    }
}

fn make_writable(directory: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let _ = std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700));
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            make_writable(&entry.path());
        }
    }
}

/// Signals that ask a program to end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
    quit: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    /// The number of the next one.
    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt().as_raw_value(),
            _ = self.terminate.recv() => SignalKind::terminate().as_raw_value(),
            _ = self.hang_up.recv() => SignalKind::hangup().as_raw_value(),
            _ = self.quit.recv() => SignalKind::quit().as_raw_value(),
        }
    }
}
