//! What is measured: names, sizes, and what one counts in.

use clap::ValueEnum;
use serde::Serialize;

use crate::cluster::Workers;

/// The scenarios, by the names of the Python client's functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScenarioName {
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
}

/// A scenario with its size.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub name: ScenarioName,
    /// What the client is told: tasks, leaves, parts or links.
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
        };
        Self {
            name,
            size: if quick { short } else { full },
        }
    }

    /// Whether it says something about these workers.
    pub fn applies_to(self, workers: Workers) -> bool {
        match self.name {
            ScenarioName::Map | ScenarioName::Tree | ScenarioName::AllToAll => true,
            ScenarioName::Chain | ScenarioName::Latency => workers != Workers::FakeNarrow,
            ScenarioName::Held => workers == Workers::FakeWide,
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
        }
    }

    /// For the table.
    pub fn title(self) -> String {
        match self.name {
            ScenarioName::Map => format!("map of {}", self.size),
            ScenarioName::Tree => format!("tree of {} leaves", self.size),
            ScenarioName::AllToAll => format!("all-to-all {0}×{0}", self.size),
            ScenarioName::Chain => format!("chain of {}", self.size),
            ScenarioName::Latency => format!("submit to done, {} times", self.size),
            ScenarioName::Held => format!("{} results held", self.size),
        }
    }
}
