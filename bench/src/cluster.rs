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
use crate::usage;

/// Where Python looks for modules.
const PYTHON_PATH: &str = "PYTHONPATH";

/// The module of the tasks that are no builtins.
const TASKS: &str = include_str!("tasks.py");

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
    /// Stock worker processes, two of one thread where nothing else is measured
    Stock,
    /// Ours, of the same shape
    Native,
}

impl Workers {
    pub fn title(self) -> &'static str {
        match self {
            Self::FakeWide => "8×64 fake",
            Self::FakeNarrow => "8×1 fake",
            Self::Stock => "stock",
            Self::Native => "native",
        }
    }

    pub fn are_real(self) -> bool {
        match self {
            Self::FakeWide | Self::FakeNarrow => false,
            Self::Stock | Self::Native => true,
        }
    }

    pub fn count(self, shape: Shape) -> usize {
        match self {
            Self::FakeWide | Self::FakeNarrow => 8,
            Self::Stock | Self::Native => shape.workers,
        }
    }

    fn command(self, args: &EngineArgs) -> Command {
        if self == Self::Native {
            let mut command = Command::new(args.worker_program());
            command.env("DASKJOB_PYTHON", &args.python);
            return command;
        }
        let mut command = Command::new(&args.python);
        command.args(["-m", "dask", "worker"]);
        command
    }
}

/// How many real workers of what size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    pub workers: usize,
    nthreads: &'static str,
    memory_limit: &'static str,
}

impl Shape {
    /// One for each core of a small machine.
    pub const USUAL: Self = Self {
        workers: 2,
        nthreads: "1",
        memory_limit: "0",
    };
    pub const ONE_OF_TWO_THREADS: Self = Self {
        workers: 1,
        nthreads: "2",
        memory_limit: "0",
    };
    pub const SHORT_OF_MEMORY: Self = Self {
        workers: 1,
        nthreads: "1",
        memory_limit: "1.25GiB",
    };
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
    real: Vec<Process>,
    scheduler: Process,
    pub address: String,
    pub directory: TempDir,
}

impl Cluster {
    pub fn start(
        engine: Engine,
        workers: Workers,
        shape: Shape,
        args: &EngineArgs,
    ) -> Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("daskjob-bench-")
            .tempdir()
            .context("make a directory for logs")?;
        fs::write(directory.path().join("bench_tasks.py"), TASKS).context("write the tasks")?;
        let scheduler_file = directory.path().join("scheduler.json");
        let mut command = engine.command(args);
        command
            .args(["--host", "127.0.0.1", "--port", "0"])
            .args(["--dashboard-address", "127.0.0.1:0"])
            .arg("--scheduler-file")
            .arg(&scheduler_file)
            .env(PYTHON_PATH, directory.path());
        let mut scheduler = Process::start("scheduler", command, directory.path())?;
        let address = await_address(&scheduler_file, &mut scheduler)?;
        let (fake, real) = match workers {
            Workers::FakeWide => (Some(FakeWorkers::start(&address, 8, 64)?), Vec::new()),
            Workers::FakeNarrow => (Some(FakeWorkers::start(&address, 8, 1)?), Vec::new()),
            Workers::Stock | Workers::Native => {
                let start = |index| real_worker(index, &address, workers, shape, args, &directory);
                let real = (0..shape.workers).map(start);
                (None, real.collect::<Result<_>>()?)
            }
        };
        Ok(Self {
            _fake: fake,
            real,
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

    pub fn make_tasks_importable(&self, command: &mut Command) {
        command.env(PYTHON_PATH, self.directory.path());
    }

    /// The ends of the workers' logs.
    pub fn worker_log_tails(&self) -> String {
        let tails = self.real.iter().map(Process::log_tail);
        tails.collect::<Vec<_>>().join("\n")
    }

    /// CPU seconds of all real workers with everything below them.
    pub fn workers_cpu_seconds(&self) -> f64 {
        let each = self.real.iter();
        each.map(|worker| usage::cpu(worker.pid()).cpu_seconds)
            .sum()
    }

    pub fn worker_pids(&self) -> Vec<u32> {
        self.real.iter().map(Process::pid).collect()
    }
}

fn real_worker(
    index: usize,
    address: &str,
    workers: Workers,
    shape: Shape,
    args: &EngineArgs,
    directory: &TempDir,
) -> Result<Process> {
    let mut command = workers.command(args);
    command
        .arg(address)
        .args(["--host", "127.0.0.1", "--no-nanny", "--no-dashboard"])
        .args(["--nthreads", shape.nthreads])
        .args(["--memory-limit", shape.memory_limit])
        .args(["--name", &format!("worker-{index}")])
        .env(PYTHON_PATH, directory.path())
        .arg("--local-directory")
        .arg(directory.path().join(format!("scratch-{index}")));
    Process::start(&format!("worker-{index}"), command, directory.path())
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
