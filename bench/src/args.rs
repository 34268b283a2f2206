//! The command line.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};

use crate::cluster::{Engine, Workers};
use crate::operator::Product;
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
    /// What scheduler and workers cost a task, how fast they move data, how short tasks may be
    Engine(EngineArgs),
    /// What an operator costs a job: from apply to the first task, clean-up, many jobs at once, memory and CPU
    Operator(OperatorArgs),
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
    /// The worker program to measure [default: daskjob-worker beside daskjob]
    #[arg(long, value_name = "PATH")]
    pub daskjob_worker: Option<PathBuf>,
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

/// A part of `bench operator`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Measure {
    /// Memory and CPU without jobs
    Idle,
    /// One job at a time on the real node
    Latency,
    /// 20 jobs of 5 workers at once on fake nodes
    Burst,
    /// Many jobs of 4 workers on fake nodes beside plain creates; a job of 500 workers beside a small one (ours only)
    Scale,
}

#[derive(Debug, ClapArgs)]
pub struct OperatorArgs {
    /// Write everything that was measured here as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Python with dask-kubernetes
    #[arg(
        long,
        value_name = "PATH",
        env = "DASKJOB_BENCH_DASK_KUBERNETES_PYTHON"
    )]
    pub dask_kubernetes_python: Option<PathBuf>,
    /// Three rounds instead of ten, 100 jobs instead of 1,000
    #[arg(long)]
    pub quick: bool,
    /// Only these parts
    #[arg(long, value_enum, value_delimiter = ',')]
    pub only: Vec<Measure>,
    /// Only these operators
    #[arg(long, value_enum, value_delimiter = ',')]
    pub operator: Vec<Product>,
    /// How many jobs one after the other
    #[arg(long, value_name = "COUNT")]
    pub rounds: Option<usize>,
    /// How many jobs at once on fake nodes
    #[arg(long, value_name = "COUNT")]
    pub jobs: Option<u32>,
}

impl OperatorArgs {
    pub fn measures(&self) -> Vec<Measure> {
        chosen_or_all(&self.only)
    }

    pub fn products(&self) -> Vec<Product> {
        chosen_or_all(&self.operator)
    }

    pub fn rounds(&self) -> usize {
        self.rounds
            .unwrap_or(if self.quick { 3 } else { 10 })
            .max(1)
    }

    pub fn jobs(&self) -> u32 {
        self.jobs
            .unwrap_or(if self.quick { 100 } else { 1000 })
            .max(1)
    }
}

/// What was chosen, or everything.
fn chosen_or_all<T: ValueEnum + Clone>(chosen: &[T]) -> Vec<T> {
    if chosen.is_empty() {
        T::value_variants().to_vec()
    } else {
        chosen.to_vec()
    }
}

impl EngineArgs {
    pub fn worker_program(&self) -> PathBuf {
        let beside = || self.daskjob.with_file_name("daskjob-worker");
        self.daskjob_worker.clone().unwrap_or_else(beside)
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    const HELP: &str = include_str!("../help.txt");

    /// The options of one command that say what is measured; the others name programs.
    fn options(command: &clap::Command) -> Vec<String> {
        let programs = [
            "python",
            "daskjob",
            "daskjob-worker",
            "dask-kubernetes-python",
        ];
        command
            .get_arguments()
            .filter_map(|argument| argument.get_long())
            .filter(|name| *name != "help" && !programs.contains(name))
            .map(|name| format!("--{name}"))
            .collect()
    }

    #[test]
    fn the_help_of_xtask_has_every_measurement_and_option() {
        for command in Args::command().get_subcommands() {
            assert!(HELP.contains(&format!("\n  {} ", command.get_name())));
            for option in options(command) {
                assert!(HELP.contains(&format!("\n  {option} ")), "{option}");
            }
        }
    }

    #[test]
    fn the_examples_of_that_help_are_understood() {
        let examples: Vec<_> = HELP
            .lines()
            .filter_map(|line| line.strip_prefix("  cargo xtask "))
            .collect();
        assert_eq!(examples.len(), 3);
        for example in examples {
            Args::try_parse_from(example.split(' ')).unwrap();
        }
    }
}
