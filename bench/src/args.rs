//! The command line.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};

use crate::cluster::{Engine, Workers};
use crate::scenario::ScenarioName;

/// Measures daskjob beside stock Dask.
#[derive(Debug, Parser)]
#[command(name = "bench")]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// What a scheduler costs a task: CPU of its whole process tree, wall time, memory
    Engine(EngineArgs),
}

#[derive(Debug, ClapArgs)]
pub struct EngineArgs {
    /// Write every sample and the summary here as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Python with distributed, for clients, stock schedulers and stock workers
    #[arg(
        long,
        value_name = "PATH",
        env = "DASKJOB_PYTHON",
        default_value = "python3"
    )]
    pub python: PathBuf,
    /// The daskjob program to measure
    #[arg(
        long,
        value_name = "PATH",
        env = "DASKJOB_BIN",
        default_value = "daskjob"
    )]
    pub daskjob: PathBuf,
    /// A tenth of the tasks, once
    #[arg(long)]
    pub quick: bool,
    /// Only these scenarios
    #[arg(long, value_enum, value_delimiter = ',')]
    pub only: Vec<ScenarioName>,
    /// Only these engines
    #[arg(long, value_enum, value_delimiter = ',')]
    pub engine: Vec<Engine>,
    /// Only against these workers
    #[arg(long, value_enum, value_delimiter = ',')]
    pub workers: Vec<Workers>,
    /// How often everything is measured; the engines alternate
    #[arg(long)]
    pub repeats: Option<usize>,
}

/// What was chosen, or everything.
fn chosen_or_all<T: clap::ValueEnum + Clone>(chosen: &[T]) -> Vec<T> {
    if chosen.is_empty() {
        T::value_variants().to_vec()
    } else {
        chosen.to_vec()
    }
}

impl EngineArgs {
    pub fn engines(&self) -> Vec<Engine> {
        chosen_or_all(&self.engine)
    }

    pub fn scenarios(&self) -> Vec<ScenarioName> {
        chosen_or_all(&self.only)
    }

    pub fn workers(&self) -> Vec<Workers> {
        chosen_or_all(&self.workers)
    }

    pub fn repeats(&self) -> usize {
        self.repeats
            .unwrap_or(if self.quick { 1 } else { 3 })
            .max(1)
    }
}
