//! Numbers for people and machines that watch: HTTP pages, metrics, progress.
//!
//! Taking them costs a walk over workers and prefixes, never over tasks; the two questions that need every task are
//! methods of their own.

use crate::counters::Counters;
use crate::group::{Prefix, StateCounts};
use crate::scheduler::Scheduler;
use crate::task::{PHASES, Phase};
use crate::worker::Worker;
use protocol::Key;
use std::sync::Arc;

/// What there is at one moment.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Connected; pseudo clients are none.
    pub clients: u64,
    /// Pseudo clients included, as stock Dask counts them in one place.
    pub all_clients: u64,
    pub hosts: u64,
    pub idle_workers: u64,
    pub saturated_workers: u64,
    pub running_workers: u64,
    pub workers: Vec<WorkerFigures>,
    /// Every state but forgotten, in Dask's order.
    pub tasks: Vec<(&'static str, u64)>,
    pub task_groups: u64,
    pub prefixes: Vec<PrefixFigures>,
    pub counters: Counters,
}

#[derive(Clone, Debug)]
pub struct WorkerFigures {
    /// As users see it.
    pub name: String,
    pub address: Arc<str>,
    pub status: &'static str,
    pub threads: u64,
    pub processing: u64,
    pub in_memory: u64,
    /// Sizes of the results it holds.
    pub result_bytes: u64,
    pub process_memory_bytes: u64,
    /// Zero is no limit.
    pub memory_limit_bytes: u64,
    /// Per cent of one core, where the worker has said so.
    pub cpu_percent: f64,
    /// Seconds since the Unix epoch.
    pub last_seen: f64,
}

#[derive(Clone, Debug)]
pub struct PrefixFigures {
    pub name: Arc<str>,
    pub suspicious: u64,
    pub compute_seconds: f64,
    pub transfer_seconds: f64,
    pub result_bytes: i64,
    /// How often tasks entered each state.
    pub state_totals: Vec<(&'static str, u64)>,
}

/// A task that failed.
#[derive(Clone, Debug)]
pub struct FailedTask {
    pub key: Key,
    pub exception: Arc<str>,
}

impl Figures {
    pub fn tasks_in(&self, state: &str) -> u64 {
        let found = self.tasks.iter().find(|(name, _)| *name == state);
        found.map_or(0, |(_, count)| *count)
    }

    pub fn paused_workers(&self) -> u64 {
        let paused = self.workers.iter().filter(|worker| worker.status == "paused");
        paused.count() as u64
    }

    /// How often tasks of any prefix entered a state.
    pub fn entered(&self, state: &str) -> u64 {
        let totals = self.prefixes.iter().flat_map(|prefix| &prefix.state_totals);
        let own = totals.filter(|(name, _)| *name == state);
        own.map(|(_, count)| count).sum()
    }
}

impl Scheduler {
    pub fn figures(&self) -> Figures {
        let clients = self.clients.iter();
        let mut states = StateCounts::default();
        for (_, prefix) in self.groups.prefixes() {
            for (sum, count) in states.iter_mut().zip(prefix.states) {
                *sum += count;
            }
        }
        Figures {
            clients: clients.filter(|(_, client)| client.connected).count() as u64,
            all_clients: self.clients.len() as u64,
            hosts: self.workers.hosts.len() as u64,
            idle_workers: self.workers.idle.len() as u64,
            saturated_workers: self.workers.saturated.len() as u64,
            running_workers: self.workers.running.len() as u64,
            workers: self.workers.iter().map(of_worker).collect(),
            tasks: named(|phase| u64::from(states[phase.index()])),
            task_groups: self.groups.live_groups() as u64,
            prefixes: self.groups.prefixes().map(|(_, prefix)| of_prefix(prefix)).collect(),
            counters: self.counters.clone(),
        }
    }

    /// How many tasks others wait for. Walks every task.
    pub fn awaited_tasks(&self) -> u64 {
        let awaited = self.tasks.iter().filter(|(_, task)| task.waiters > 0);
        awaited.count() as u64
    }

    /// Some of the tasks that failed by themselves, at most `limit`. Walks tasks only while there are failed ones.
    pub fn failed_tasks(&self, limit: usize) -> Vec<FailedTask> {
        let failed = |(_, prefix): (_, &Prefix)| prefix.states[Phase::Erred.index()] > 0;
        if !self.groups.prefixes().any(failed) {
            return Vec::new();
        }
        let tasks = self.tasks.iter().filter_map(|(_, task)| {
            let blame = task.blame().filter(|blame| blame.key == task.key)?;
            Some(FailedTask {
                key: task.key.clone(),
                exception: Arc::clone(&blame.error.exception_text),
            })
        });
        tasks.take(limit).collect()
    }
}

/// A number for every state but forgotten.
fn named(count: impl Fn(Phase) -> u64) -> Vec<(&'static str, u64)> {
    let phases = PHASES.iter().filter(|phase| **phase != Phase::Forgotten);
    phases.map(|phase| (phase.name(), count(*phase))).collect()
}

fn of_worker(worker: &Worker) -> WorkerFigures {
    let cpu = worker.metrics.get("cpu").and_then(protocol::Value::as_f64);
    let name = worker.name.as_key().map(|name| name.to_string());
    WorkerFigures {
        name: name.unwrap_or_else(|| worker.address.to_string()),
        address: Arc::clone(&worker.address),
        status: worker.status.name(),
        threads: u64::from(worker.nthreads),
        processing: worker.processing.len() as u64,
        in_memory: worker.has_what.len() as u64,
        result_bytes: worker.nbytes,
        process_memory_bytes: worker.memory.process,
        memory_limit_bytes: worker.memory_limit,
        cpu_percent: cpu.unwrap_or(0.0),
        last_seen: worker.last_seen.seconds(),
    }
}

fn of_prefix(prefix: &Prefix) -> PrefixFigures {
    let seconds = |action: &str| {
        let durations = prefix.all_durations_us.iter();
        let own = durations.filter(|(name, _)| **name == *action);
        own.map(|(_, micros)| *micros as f64 / 1e6).sum()
    };
    let totals = |phase: &Phase| (phase.name(), prefix.state_totals[phase.index()]);
    PrefixFigures {
        name: Arc::clone(&prefix.name),
        suspicious: prefix.suspicious,
        compute_seconds: seconds("compute"),
        transfer_seconds: seconds("transfer"),
        result_bytes: prefix.nbytes_total,
        state_totals: PHASES.iter().map(totals).collect(),
    }
}
