//! What people and operators watch: each worker in a line, and which tasks failed.

use crate::queries::identity::name_text;
use crate::scheduler::Scheduler;
use crate::task::Phase;
use crate::worker::Worker;
use protocol::{Key, Value};
use std::sync::Arc;

/// One worker in a line.
#[derive(Clone, Debug)]
pub struct WorkerSummary {
    /// As users see it.
    pub name: String,
    pub address: Arc<str>,
    pub status: &'static str,
    pub nthreads: u32,
    pub processing: usize,
    /// Results it holds.
    pub in_memory: usize,
    pub result_bytes: u64,
    pub process_memory_bytes: u64,
    /// Zero is no limit.
    pub memory_limit_bytes: u64,
    /// Per cent of one core; zero until the worker has said so.
    pub cpu_percent: f64,
    /// Seconds since the Unix epoch.
    pub last_seen_seconds: f64,
}

/// A task that failed by itself.
#[derive(Clone, Debug)]
pub struct FailedTask {
    pub key: Key,
    pub exception_text: Arc<str>,
}

impl Scheduler {
    /// All workers, in order of address.
    pub fn worker_summaries(&self) -> Vec<WorkerSummary> {
        self.workers.iter().map(summary).collect()
    }

    /// Some of the tasks that failed, at most `limit`. Walks tasks only while there are failed ones.
    pub fn failed_tasks(&self, limit: usize) -> Vec<FailedTask> {
        let erred = Phase::Erred.index();
        if !self
            .groups
            .prefixes()
            .any(|(_, prefix)| prefix.states[erred] > 0)
        {
            return Vec::new();
        }
        let failed = self.tasks.iter().filter_map(|(_, task)| {
            let blame = task.blame().filter(|blame| blame.key == task.key)?;
            Some(FailedTask {
                key: task.key.clone(),
                exception_text: Arc::clone(&blame.error.exception_text),
            })
        });
        failed.take(limit).collect()
    }
}

fn summary(worker: &Worker) -> WorkerSummary {
    let cpu = worker.metrics.get("cpu").and_then(Value::as_f64);
    WorkerSummary {
        name: name_text(&worker.name),
        address: Arc::clone(&worker.address),
        status: worker.status.name(),
        nthreads: worker.nthreads,
        processing: worker.processing.len(),
        in_memory: worker.has_what.len(),
        result_bytes: worker.nbytes,
        process_memory_bytes: worker.memory.process,
        memory_limit_bytes: worker.memory_limit,
        cpu_percent: cpu.unwrap_or(0.0),
        last_seen_seconds: worker.last_seen.seconds(),
    }
}
