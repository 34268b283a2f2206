//! What differs between seeds beside chance itself.

use crate::chance::Chance;
use scheduler_core::Config;

/// Who works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    Models,
    /// The real core, beside models in some runs.
    Cores,
}

#[derive(Clone, Debug)]
pub struct Settings {
    /// How many workers of a hundred decide by the real core.
    pub real: u64,
    pub workers: usize,
    pub max_threads: u64,
    pub clients: usize,
    pub graphs: usize,
    pub tasks_a_graph: usize,
    /// Worker deaths and retirements, cancels, disconnects …; none of them after this.
    pub faults: usize,
    /// Values let go and scattered again under the same name.
    pub scatters_again: usize,
    pub trouble_ends_ms: u64,
    pub slowest_message_ms: u64,
    /// Percentages of tasks.
    pub failing: u64,
    pub killing: u64,
    pub restricted: u64,
    /// Print every message.
    pub verbose: bool,
}

impl Settings {
    pub fn drawn(chance: &mut Chance, workers: Workers) -> Self {
        Self {
            real: match workers {
                Workers::Models => 0,
                Workers::Cores => *chance.pick(&[100, 100, 50]).unwrap_or(&100),
            },
            workers: 1 + chance.below(5),
            max_threads: chance.between(1, 4),
            clients: 1 + chance.below(3),
            graphs: 1 + chance.below(6),
            tasks_a_graph: 2 + chance.below(14),
            faults: chance.below(14),
            scatters_again: *chance.pick(&[0, 3, 30]).unwrap_or(&0),
            trouble_ends_ms: 3000,
            slowest_message_ms: *chance.pick(&[1, 20, 200]).unwrap_or(&1),
            failing: *chance.pick(&[0, 10, 30]).unwrap_or(&0),
            killing: *chance.pick(&[0, 0, 5]).unwrap_or(&0),
            restricted: *chance.pick(&[0, 20]).unwrap_or(&0),
            verbose: false,
        }
    }

    pub fn config(&self, chance: &mut Chance) -> Config {
        Config {
            worker_saturation: *chance.pick(&[1.1, 1.0, 2.0, f64::INFINITY]).unwrap_or(&1.1),
            no_workers_timeout: *chance.pick(&[None, Some(60.0)]).unwrap_or(&None),
            worker_ttl: *chance.pick(&[None, Some(20.0)]).unwrap_or(&None),
            ..Config::default()
        }
    }
}
