//! `daskjob-scheduler`: flags, then the library.

use clap::Parser;
use scheduler::SchedulerArgs;
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "daskjob-scheduler", version, about = "A Dask scheduler")]
struct Cli {
    #[command(flatten)]
    args: SchedulerArgs,
}

fn main() -> ExitCode {
    scheduler::main(&Cli::parse().args)
}
