//! What is measured: names, sizes, what one counts in, and which workers it takes.

use clap::ValueEnum;
use serde::Serialize;

use crate::cluster::{Shape, Workers};

/// The scenarios, by the names of the Python client's functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScenarioName {
    /// Memory of a worker that has nothing to do, and never had much
    Idle,
    /// client.map of a trivial function
    Map,
    /// A binary reduction
    Tree,
    /// Every output needs a part of every input
    AllToAll,
    /// Each task needs the one before
    Chain,
    /// One task, submitted and awaited
    Latency,
    /// Results held in memory
    Held,
    /// Blocks from the workers to the client, through the scheduler and past it
    Gather,
    /// Blocks from the client to the workers, through the scheduler and past it
    Scatter,
    /// Blocks from one worker to the other
    Transfer,
    /// Blocks made and read again where memory holds half of them
    Spill,
    /// A trivial task beside one that keeps the interpreter busy
    Neighbour,
    /// Shortest task at which half of the workers' time is spent in tasks: tasks without dependencies
    MetgParallel,
    /// The same where each task needs its neighbours of the step before
    MetgStencil,
}

/// What comes out of a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Time and CPU of a task.
    PerTask,
    /// Numbers with units of their own.
    Figures,
}

/// A scenario with its size.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub name: ScenarioName,
    /// What the client is told: tasks, leaves, parts, links, blocks or milliseconds.
    pub size: usize,
}

impl Scenario {
    pub fn new(name: ScenarioName, quick: bool) -> Self {
        let (full, short) = match name {
            ScenarioName::Map => (20_000, 2_000),
            ScenarioName::Tree => (10_000, 1_000),
            ScenarioName::AllToAll => (100, 30),
            ScenarioName::Chain => (1_000, 100),
            ScenarioName::Latency => (200, 50),
            ScenarioName::Held => (100_000, 20_000),
            ScenarioName::Idle => (0, 0),
            ScenarioName::Gather | ScenarioName::Scatter | ScenarioName::Transfer => (16, 4),
            ScenarioName::Spill => (24, 24),
            ScenarioName::Neighbour => (50, 20),
            ScenarioName::MetgParallel | ScenarioName::MetgStencil => (1_500, 500),
        };
        Self {
            name,
            size: if quick { short } else { full },
        }
    }

    pub fn outcome(self) -> Outcome {
        match self.name {
            ScenarioName::Map
            | ScenarioName::Tree
            | ScenarioName::AllToAll
            | ScenarioName::Chain
            | ScenarioName::Latency
            | ScenarioName::Held => Outcome::PerTask,
            ScenarioName::Idle
            | ScenarioName::Gather
            | ScenarioName::Scatter
            | ScenarioName::Transfer
            | ScenarioName::Spill
            | ScenarioName::Neighbour
            | ScenarioName::MetgParallel
            | ScenarioName::MetgStencil => Outcome::Figures,
        }
    }

    /// Whether it says something about these workers.
    pub fn applies_to(self, workers: Workers) -> bool {
        match self.name {
            ScenarioName::Map | ScenarioName::Tree | ScenarioName::AllToAll => true,
            ScenarioName::Chain | ScenarioName::Latency => workers != Workers::FakeNarrow,
            ScenarioName::Held => workers == Workers::FakeWide,
            // How fast data move and how short tasks may be: of workers that run something.
            _ => workers.are_real(),
        }
    }

    /// Which workers it is measured with, where they are real.
    pub fn shape(self) -> Shape {
        match self.name {
            ScenarioName::Spill => Shape::SHORT_OF_MEMORY,
            ScenarioName::Neighbour => Shape::ONE_OF_TWO_THREADS,
            _ => Shape::USUAL,
        }
    }

    /// The word the client understands.
    pub fn word(self) -> &'static str {
        match self.name {
            ScenarioName::Map => "map",
            ScenarioName::Tree => "tree",
            ScenarioName::AllToAll => "all_to_all",
            ScenarioName::Chain => "chain",
            ScenarioName::Latency => "latency",
            ScenarioName::Held => "held",
            ScenarioName::Idle => "idle",
            ScenarioName::Gather => "gather",
            ScenarioName::Scatter => "scatter",
            ScenarioName::Transfer => "transfer",
            ScenarioName::Spill => "spill",
            ScenarioName::Neighbour => "neighbour",
            ScenarioName::MetgParallel => "metg_parallel",
            ScenarioName::MetgStencil => "metg_stencil",
        }
    }

    /// For the table of what a task costs.
    pub fn title(self) -> String {
        match self.name {
            ScenarioName::Map => format!("map of {}", self.size),
            ScenarioName::Tree => format!("tree of {} leaves", self.size),
            ScenarioName::AllToAll => format!("all-to-all {0}×{0}", self.size),
            ScenarioName::Chain => format!("chain of {}", self.size),
            ScenarioName::Latency => format!("submit to done, {} times", self.size),
            ScenarioName::Held => format!("{} results held", self.size),
            _ => self.word().to_owned(),
        }
    }
}
