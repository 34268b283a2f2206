//! Side by side with what is there: our engine with stock Dask, our operator with dask-kubernetes', in one run.
//!
//! ```text
//! args ─► engine (repeats × workers × engines) ─► cluster (processes) + fake (workers in this process)
//!                    │                                      ▲
//!                    ├─► client (a Python program, one scenario at a time)
//!                    ├─► usage (CPU and memory of process trees, before and after)
//!                    ├─► report (what a task costs; JSON)
//!                    └─► figures (what has units of its own; what was to be reached)
//!      ─► operator (the same for operators, on a test cluster)
//! ```
//! Nothing here passes or fails: it prints numbers.

mod args;
mod client;
mod clock;
mod cluster;
mod engine;
mod fake;
mod figures;
mod operator;
mod process;
mod report;
mod scenario;
mod usage;

use clap::Parser;

/// Runs what the command line asks for.
pub fn run() -> anyhow::Result<()> {
    match args::Args::parse().command {
        args::Command::Engine(args) => engine::run(&args),
        args::Command::Operator(args) => operator::run(&args),
    }
}
