//! One scheduler with its workers, of either engine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value as Json;
use tempfile::TempDir;

use crate::args::EngineArgs;
use crate::clock;
use crate::fake::FakeWorkers;
use crate::process::Process;

const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Whose scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    Stock,
    Native,
}

/// Against which workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Workers {
    /// 8 fake workers of 64 threads
    FakeWide,
    /// 8 fake workers of one thread
    FakeNarrow,
    /// Two stock worker processes of two threads
    Real,
}

impl Workers {
    pub fn title(self) -> &'static str {
        match self {
            Self::FakeWide => "8×64 fake",
            Self::FakeNarrow => "8×1 fake",
            Self::Real => "2 real",
        }
    }

    fn count(self) -> usize {
        match self {
            Self::FakeWide | Self::FakeNarrow => 8,
            Self::Real => 2,
        }
    }
}

impl Engine {
    pub fn title(self) -> &'static str {
        match self {
            Self::Stock => "stock",
            Self::Native => "native",
        }
    }

    fn command(self, args: &EngineArgs) -> Command {
        match self {
            Self::Stock => {
                let mut command = Command::new(&args.python);
                command.args(["-m", "dask", "scheduler"]);
                command
            }
            Self::Native => {
                let mut command = Command::new(&args.daskjob);
                command.env("DASKJOB_PYTHON", &args.python);
                if !is_scheduler_program(&args.daskjob) {
                    command.arg("scheduler");
                }
                command
            }
        }
    }
}

/// The program also exists as the scheduler alone.
fn is_scheduler_program(path: &Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.starts_with("daskjob-scheduler"))
}

/// A running cluster; everything ends when it is dropped.
pub struct Cluster {
    // Dropped in this order: workers first, the directory last.
    _fake: Option<FakeWorkers>,
    _real: Vec<Process>,
    scheduler: Process,
    pub address: String,
    pub directory: TempDir,
}

impl Cluster {
    pub fn start(engine: Engine, workers: Workers, args: &EngineArgs) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("daskjob-bench-")
            .tempdir()
            .context("make a directory for logs")?;
        let scheduler_file = directory.path().join("scheduler.json");
        let mut command = engine.command(args);
        command
            .args(["--host", "127.0.0.1", "--port", "0"])
            .args(["--dashboard-address", "127.0.0.1:0"])
            .arg("--scheduler-file")
            .arg(&scheduler_file);
        let mut scheduler = Process::start("scheduler", command, directory.path())?;
        let address = await_address(&scheduler_file, &mut scheduler)?;
        let (fake, real) = match workers {
            Workers::FakeWide => (Some(FakeWorkers::start(&address, 8, 64)?), Vec::new()),
            Workers::FakeNarrow => (Some(FakeWorkers::start(&address, 8, 1)?), Vec::new()),
            Workers::Real => (None, real_workers(&address, args, directory.path())?),
        };
        Ok(Self {
            _fake: fake,
            _real: real,
            scheduler,
            address,
            directory,
        })
    }

    pub fn scheduler_pid(&self) -> u32 {
        self.scheduler.pid()
    }

    pub fn scheduler_log_tail(&self) -> String {
        self.scheduler.log_tail()
    }

    pub fn worker_count(workers: Workers) -> usize {
        workers.count()
    }
}

fn real_workers(address: &str, args: &EngineArgs, directory: &Path) -> Result<Vec<Process>> {
    (0..Workers::Real.count())
        .map(|index| {
            let mut command = Command::new(&args.python);
            command
                .args(["-m", "dask", "worker", address])
                .args(["--host", "127.0.0.1", "--nthreads", "2", "--no-nanny"])
                .args(["--memory-limit", "0", "--no-dashboard"])
                .arg("--local-directory")
                .arg(directory.join(format!("scratch-{index}")));
            Process::start(&format!("worker-{index}"), command, directory)
        })
        .collect()
}

/// The address from the scheduler file, as soon as it is there.
fn await_address(path: &PathBuf, scheduler: &mut Process) -> Result<String> {
    let start = clock::now();
    loop {
        if let Some(address) = read_address(path) {
            return Ok(address);
        }
        if !scheduler.is_alive() || start.elapsed() > START_TIMEOUT {
            bail!("the scheduler did not start:\n{}", scheduler.log_tail());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn read_address(path: &PathBuf) -> Option<String> {
    let identity: Json = serde_json::from_str(&fs::read_to_string(path).ok()?).ok()?;
    Some(identity.get("address")?.as_str()?.to_owned())
}
