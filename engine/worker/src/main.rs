//! `daskjob-worker`: flags, then the library.

use clap::Parser;
use std::process::ExitCode;
use worker::WorkerArgs;

#[derive(Parser)]
#[command(name = "daskjob-worker", version, about = "A Dask worker")]
struct Cli {
    #[command(flatten)]
    args: WorkerArgs,
}

fn main() -> ExitCode {
    worker::main(&Cli::parse().args)
}
