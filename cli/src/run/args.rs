//! The command line of `daskjob run`.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Run a job on this machine.
///
/// Brings up the manifest's cluster as processes on loopback, runs the job's command beside it, and ends everything
/// when the command ends. The command finds the cluster with a plain `Client()`. It runs in a directory of its own that
/// holds the manifest's files; without files, in the manifest's directory. Modules beside the manifest can be imported.
///
/// Limits are enforced where the kernel lets this user make control groups: as root, or in one of one's own
/// (`systemd-run --user --scope -p Delegate=yes daskjob run …`). Memory and CPU limits then hold for scheduler, program
/// and each worker with its Python process, all with their descendants; elsewhere a note says so, and workers watch their
/// own memory alone.
///
/// What only a cluster can do (image, pod templates, network policy, TTL) is ignored and said so.
///
/// Exit code: that of the job's command (128 + signal when it was killed); 2 when the manifest is refused, 70 when the
/// cluster could not be brought up, 124 when a deadline passed, 130 or 143 after Ctrl-C or SIGTERM.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// The manifest: YAML with one DaskJob
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Python interpreter for the job, the workers and the graph helper; it must have distributed.
    /// [default: $DASKJOB_PYTHON, else the active virtual environment ($VIRTUAL_ENV), else python3 if it has distributed,
    /// else a virtual environment in the cache directory, made at the first run]
    #[arg(long, value_name = "PATH")]
    pub python: Option<PathBuf>,

    /// Which programs form the cluster, instead of what the manifest says
    #[arg(long, value_enum, value_name = "ENGINE")]
    pub engine: Option<EngineArg>,

    /// How to print the outcome: text on standard error, or the job's status as one line of JSON on standard output,
    /// after the output of the job
    #[arg(long, value_enum, default_value_t = Output::Text, value_name = "FORMAT")]
    pub output: Output,

    /// Also write the job's status as JSON into this file, whatever happens
    #[arg(long, value_name = "FILE")]
    pub status_file: Option<PathBuf>,

    /// Keep the run's directory (files, logs, scratch space) and say where it is
    #[arg(long)]
    pub keep: bool,

    /// Show no progress
    #[arg(long)]
    pub no_progress: bool,

    /// Write the logs of scheduler and workers into this directory, where they stay
    #[arg(long, value_name = "DIRECTORY")]
    pub log_dir: Option<PathBuf>,
}

/// `spec.engine` on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum EngineArg {
    /// daskjob's own scheduler and workers
    Native,
    /// Stock `dask scheduler` and `dask worker`
    Dask,
}

impl From<EngineArg> for crd::Engine {
    fn from(argument: EngineArg) -> Self {
        match argument {
            EngineArg::Native => crd::Engine::Native,
            EngineArg::Dask => crd::Engine::Dask,
        }
    }
}

/// How to print the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people, on standard error
    Text,
    /// For programs, on standard output
    Json,
}
