//! `daskjob-operator`: flags, then the library.

use clap::Parser;
use operator::OperatorArgs;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(
    name = "daskjob-operator",
    version,
    about = "Runs DaskJobs on Kubernetes: gives each its own Dask cluster and takes it away again"
)]
struct Cli {
    #[command(flatten)]
    args: OperatorArgs,
}

fn main() -> ExitCode {
    operator::main(&Cli::parse().args)
}
