//! `cargo xtask …`: everything this repository can be asked to do with itself.
//!
//! Owns the gate (`test`, which includes `check`) and the set-up it needs; knows how the programs are tested, not what
//! they do. Invariant: what is missing on a machine is said in a sentence with its remedy.

mod bench;
mod cache;
mod chart;
mod check;
mod clock;
mod cluster;
mod command;
mod examples;
mod gate;
mod generate;
mod image;
mod package;
mod python;
mod report;
mod tally;

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

/// Tests, checks, generated files and measurements of daskjob.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", version)]
struct Program {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run everything that must hold before a change is merged
    ///
    /// Checks (see `check`), release binaries, Rust tests, the seeded simulation, and the compatibility suite against
    /// unmodified Dask at both ends of the supported range. Python environments with pinned requirements are made in
    /// the cache directory ($DASKJOB_CACHE_DIR, else $XDG_CACHE_HOME/daskjob, else ~/.cache/daskjob). A failing step does not stop the
    /// others; the last line is `N passed, N failed`.
    Test(TestArgs),
    /// Run the checks alone: format, lints, forbidden arrows, generated files, dependencies, documentation
    Check,
    /// Write the generated files: CRD manifests, the examples among the manifests, and what is made from the Helm chart
    Generate(GenerateArgs),
    /// Measure side by side: the engine with stock Dask, the operator with dask-kubernetes'
    #[command(after_help = bench::HELP)]
    Bench(BenchArgs),
    /// A real Kubernetes for the tests: start it, end it, look at it
    #[command(subcommand)]
    Cluster(cluster::ClusterTask),
    /// The program as it goes into images, the worker image and the operator's
    #[command(subcommand)]
    Image(image::ImageTask),
    /// Format the sources
    Fmt,
}

#[derive(Args)]
struct TestArgs {
    /// Run only the steps whose name contains one of these words
    #[arg(value_name = "STEP")]
    only: Vec<String>,
    /// List the steps and run none
    #[arg(long)]
    list: bool,
    /// Also what takes minutes and tells little more, like a map of 100,000 tasks on the stock scheduler
    #[arg(long)]
    all: bool,
}

impl TestArgs {
    fn extent(&self) -> gate::Extent {
        if self.all {
            gate::Extent::All
        } else {
            gate::Extent::Usual
        }
    }
}

#[derive(Args)]
struct GenerateArgs {
    /// Write nothing; fail where a file is not current
    #[arg(long)]
    check: bool,
}

#[derive(Args)]
struct BenchArgs {
    /// What to measure, `engine` or `operator`, and its options
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "engine|operator"
    )]
    arguments: Vec<String>,
}

fn main() -> ExitCode {
    let outcome = match Program::parse().task {
        Task::Test(args) => gate::test(&args.only, args.list, args.extent()),
        Task::Check => gate::check(),
        Task::Generate(args) => generate::run(args.check).map(|()| true),
        Task::Bench(args) => bench::run(&args.arguments).map(|()| true),
        Task::Cluster(task) => cluster::run(&task).map(|()| true),
        Task::Image(task) => image::run(&task).map(|()| true),
        Task::Fmt => check::format().map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
