//! The command line: one enum of all commands that need a cluster, and who carries each out.

use crate::change::{CancelArgs, SuspendArgs};
use crate::dashboard::DashboardArgs;
use crate::describe::DescribeArgs;
use crate::list::ListArgs;
use crate::logs::LogsArgs;
use crate::preview::PlanArgs;
use crate::problem::Problem;
use crate::scale::ScaleArgs;
use crate::submit::SubmitArgs;
use crate::{change, dashboard, describe, list, logs, preview, scale, submit};
use clap::Subcommand;
use std::process::ExitCode;

/// What can be done with jobs on a cluster.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Send a job to a cluster; with --wait follow it to its end
    Submit(Box<SubmitArgs>),
    /// What a manifest would become on a cluster, and what would stand in its way; makes nothing
    Plan(Box<PlanArgs>),
    /// The jobs of a namespace or of all, and how they are
    List(ListArgs),
    /// One job in full: state, why, timeline, pods, events, the end of the log, what to do
    Describe(DescribeArgs),
    /// What a job's program, scheduler or workers wrote
    Logs(Box<LogsArgs>),
    /// The status page of a job's scheduler, on a port of this machine
    Dashboard(DashboardArgs),
    /// End a job; its record is kept
    Cancel(CancelArgs),
    /// Change the number of workers of a job
    Scale(ScaleArgs),
    /// Take a job's cluster away until it is resumed
    Suspend(SuspendArgs),
    /// Let a suspended job begin again, with a fresh cluster
    Resume(SuspendArgs),
}

/// Carries a command out. Exit code 0 when it did what was asked; 2 when the arguments or the manifest are refused or
/// there is no such job; 70 when the cluster cannot be reached or forbids it.
pub fn main(command: Command) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("the system allows a runtime of one thread");
    let outcome = runtime.block_on(run(command));
    // A write to a reader that does not read must not hold the end up.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(problem) => {
            for line in problem.text().lines() {
                eprintln!("daskjob: {line}");
            }
            ExitCode::from(problem.exit_code())
        }
    }
}

async fn run(command: Command) -> Result<u8, Problem> {
    match command {
        Command::Submit(arguments) => submit::run(&arguments).await,
        Command::Plan(arguments) => preview::run(&arguments).await,
        Command::List(arguments) => list::run(&arguments).await,
        Command::Describe(arguments) => describe::run(&arguments).await,
        Command::Logs(arguments) => logs::run(&arguments).await,
        Command::Dashboard(arguments) => dashboard::run(&arguments).await,
        Command::Cancel(arguments) => change::cancel(&arguments).await,
        Command::Scale(arguments) => scale::run(&arguments).await,
        Command::Suspend(arguments) => change::suspend(&arguments, true).await,
        Command::Resume(arguments) => change::suspend(&arguments, false).await,
    }
}
