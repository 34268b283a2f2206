//! Numbers about the whole: metrics, `/json/counts.json`, and how much memory the core takes.

use crate::counters::Counters;
use crate::ids::Time;
use crate::scheduler::Scheduler;
use crate::task::{PHASES, Rare};
use protocol::Key;
use std::sync::Arc;

/// How workers stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerCounts {
    pub idle: usize,
    pub partially_saturated: usize,
    pub saturated: usize,
    pub paused: usize,
    pub retiring: usize,
}

/// `/json/counts.json`
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counts {
    pub bytes: u64,
    pub clients: usize,
    pub cores: u64,
    pub erred: u64,
    pub hosts: usize,
    pub idle: usize,
    pub memory: u64,
    pub processing: u64,
    pub released: u64,
    pub saturated: usize,
    pub tasks: usize,
    pub unrunnable: usize,
    pub waiting: u64,
    pub waiting_data: u64,
    pub workers: usize,
}

/// What metrics say about one prefix.
#[derive(Clone, Debug)]
pub struct PrefixTotals {
    pub name: Arc<str>,
    pub suspicious: u64,
    pub compute_seconds: f64,
    pub transfer_seconds: f64,
    pub output_bytes: i64,
    pub duration_average_seconds: Option<f64>,
    /// Tasks now in each state, by name of the state.
    pub states: Vec<(&'static str, u32)>,
    /// How often tasks entered each state.
    pub state_totals: Vec<(&'static str, u64)>,
}

/// Bytes of the core's structures, by what they are for; run specs and keys' own bytes apart.
#[derive(Clone, Copy, Debug, Default)]
pub struct MemoryUse {
    pub tasks: usize,
    pub table: usize,
    pub edges: usize,
    pub rare: usize,
    pub workers: usize,
    pub clients: usize,
    pub keys: usize,
}

impl MemoryUse {
    /// All but the keys' own bytes.
    pub fn structures(&self) -> usize {
        self.table + self.edges + self.rare + self.workers + self.clients
    }
}

impl Scheduler {
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    pub fn started(&self) -> Time {
        self.started
    }

    pub fn task_count(&self) -> usize {
        self.tasks.len()
    }

    pub fn worker_count(&self) -> usize {
        self.workers.len()
    }

    /// Connected clients.
    pub fn client_count(&self) -> usize {
        self.clients
            .iter()
            .filter(|(_, client)| client.connected)
            .count()
    }

    pub fn total_nthreads(&self) -> u64 {
        self.workers.total_nthreads
    }

    pub fn total_memory(&self) -> u64 {
        self.workers.total_memory
    }

    pub fn group_count(&self) -> usize {
        self.groups.live_groups()
    }

    /// Expected seconds of work and transfer ahead of all workers.
    pub fn total_occupancy_seconds(&self) -> f64 {
        self.total_occupancy()
    }

    /// Whether no task has anything left to do.
    pub fn is_done(&self) -> bool {
        self.groups.iter().all(|(_, group)| group.is_done())
    }

    /// Tasks in each state, by name of the state, without forgotten ones.
    pub fn task_counts(&self) -> Vec<(&'static str, u64)> {
        PHASES
            .iter()
            .filter(|phase| phase.name() != "forgotten")
            .map(|phase| (phase.name(), self.count_in(phase.index())))
            .collect()
    }

    fn count_in(&self, phase: usize) -> u64 {
        self.groups
            .prefixes()
            .map(|(_, prefix)| u64::from(prefix.states[phase]))
            .sum()
    }

    pub fn worker_counts(&self) -> WorkerCounts {
        let mut counts = WorkerCounts::default();
        for worker in self.workers.iter() {
            let place = match worker.status {
                crate::WorkerStatus::Paused => &mut counts.paused,
                crate::WorkerStatus::ClosingGracefully => &mut counts.retiring,
                _ if self.workers.idle.contains(worker.rank) => &mut counts.idle,
                _ if self.workers.saturated.contains(worker.rank) => &mut counts.saturated,
                _ => &mut counts.partially_saturated,
            };
            *place += 1;
        }
        counts
    }

    pub fn counts(&self) -> Counts {
        let of = |name: &str| {
            let counts = self.task_counts();
            counts
                .iter()
                .find(|(own, _)| *own == name)
                .map_or(0, |(_, count)| *count)
        };
        Counts {
            bytes: self.workers.iter().map(|worker| worker.nbytes).sum(),
            // Stock Dask counts its pseudo clients here.
            clients: self.clients.len(),
            cores: self.workers.total_nthreads,
            erred: of("erred"),
            hosts: self.workers.hosts.len(),
            idle: self.workers.idle.len(),
            // Replicas, as in stock Dask.
            memory: self
                .workers
                .iter()
                .map(|worker| worker.has_what.len() as u64)
                .sum(),
            processing: of("processing"),
            released: of("released"),
            saturated: self.workers.saturated.len(),
            tasks: self.tasks.len(),
            unrunnable: self.unrunnable.len(),
            waiting: of("waiting"),
            waiting_data: self
                .tasks
                .iter()
                .filter(|(_, task)| task.waiters > 0)
                .count() as u64,
            workers: self.workers.len(),
        }
    }

    pub fn prefix_totals(&self) -> Vec<PrefixTotals> {
        let seconds = |durations: &[(Arc<str>, u64)], action: &str| {
            let found = durations.iter().find(|(own, _)| **own == *action);
            found.map_or(0.0, |(_, micros)| *micros as f64 / 1e6)
        };
        self.groups
            .prefixes()
            .map(|(_, prefix)| PrefixTotals {
                name: Arc::clone(&prefix.name),
                suspicious: prefix.suspicious,
                compute_seconds: seconds(&prefix.all_durations_us, "compute"),
                transfer_seconds: seconds(&prefix.all_durations_us, "transfer"),
                output_bytes: prefix.nbytes_total,
                duration_average_seconds: (prefix.duration_average >= 0.0)
                    .then_some(prefix.duration_average),
                states: PHASES
                    .iter()
                    .map(|phase| (phase.name(), prefix.states[phase.index()]))
                    .collect(),
                state_totals: PHASES
                    .iter()
                    .map(|phase| (phase.name(), prefix.state_totals[phase.index()]))
                    .collect(),
            })
            .collect()
    }

    /// Sums of what workers reported; names may be tuples.
    pub fn worker_metrics(&self) -> impl Iterator<Item = (&Key, f64)> {
        self.counters
            .worker_metrics
            .iter()
            .map(|(name, value)| (name, *value))
    }

    pub fn memory_use(&self) -> MemoryUse {
        let mut total = MemoryUse {
            tasks: self.tasks.len(),
            table: self.tasks.table_bytes(),
            workers: self
                .workers
                .iter()
                .map(|worker| worker.has_what.heap_bytes())
                .sum(),
            clients: self
                .clients
                .iter()
                .map(|(_, client)| client.wants.heap_bytes())
                .sum(),
            ..MemoryUse::default()
        };
        for (_, task) in self.tasks.iter() {
            total.edges += task.dependencies.heap_bytes() + task.dependents.heap_bytes();
            total.edges += task.who_has.heap_bytes() + task.who_wants.heap_bytes();
            total.rare += if task.rare.is_some() {
                size_of::<Rare>()
            } else {
                0
            };
            total.keys += task.key.heap_bytes();
        }
        total
    }
}
