//! Paths the scheduler answers over HTTP, and the bodies that are read by more than one program.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `ok` as text, as soon as the scheduler takes connections.
pub const HEALTH: &str = "/health";
/// Prometheus text.
pub const METRICS: &str = "/metrics";
/// [`Counts`] as JSON; stock and native answer alike.
pub const COUNTS: &str = "/json/counts.json";
/// `{"workers": n}`: how many workers the present work could use.
pub const ADAPTIVE_TARGET: &str = "/api/v1/adaptive_target";
/// `{"idle_since": seconds or null}`.
pub const CHECK_IDLE: &str = "/api/v1/check_idle";
/// `POST {"workers": [address, …]}` or `{"n": count}`: empty these workers, then close them.
pub const RETIRE_WORKERS: &str = "/api/v1/retire_workers";
/// `{"num_workers": n, "workers": [{"name", "address"}]}`.
pub const GET_WORKERS: &str = "/api/v1/get_workers";

/// [`SchedulerStatus`] as JSON; the native scheduler alone. `?failed=20` asks for failed tasks too.
pub const STATUS: &str = "/api/v1/status";
/// The status page for people.
pub const STATUS_PAGE: &str = "/status";

/// What goes on in a scheduler, from [`STATUS`]. Cheap to ask: its cost does not grow with the number of tasks unless
/// failed ones are asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SchedulerStatus {
    pub id: String,
    pub address: String,
    /// Seconds since the Unix epoch, as every time here.
    pub started: f64,
    pub now: f64,
    /// Since when there has been nothing to do; null while there is.
    pub idle_since: Option<f64>,
    pub clients: u64,
    pub threads: u64,
    /// How many workers the present work could use.
    pub desired_workers: u64,
    pub workers: Vec<WorkerState>,
    /// How many tasks there are in each of Dask's states.
    pub tasks: BTreeMap<String, u64>,
    pub memory: MemoryState,
    pub failures: FailureCounts,
    /// Some of the tasks that failed, where they were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failed_tasks: Vec<FailedTask>,
}

/// One worker, in [`SchedulerStatus`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerState {
    pub name: String,
    pub address: String,
    /// Dask's word: `running`, `paused`, `closing_gracefully` …
    pub status: String,
    pub threads: u64,
    /// Tasks given to it and not finished.
    pub processing: u64,
    /// Results it holds.
    pub in_memory: u64,
    pub result_bytes: u64,
    pub process_memory_bytes: u64,
    /// Zero is no limit.
    pub memory_limit_bytes: u64,
    /// Per cent of one core.
    pub cpu_percent: f64,
    pub last_seen: f64,
}

/// Memory of all workers together, in [`SchedulerStatus`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryState {
    pub result_bytes: u64,
    pub process_bytes: u64,
    pub limit_bytes: u64,
}

/// What went wrong since the scheduler started, in [`SchedulerStatus`]. These only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FailureCounts {
    pub workers_added: u64,
    /// Workers that left for whatever reason; those still here are the difference.
    pub workers_removed: u64,
    /// How often a task became erred.
    pub tasks_erred: u64,
    /// How often a task was on a worker that was lost.
    pub tasks_suspicious: u64,
}

/// A task that failed, in [`SchedulerStatus`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FailedTask {
    pub key: String,
    pub exception: String,
}

/// What the scheduler counts, from [`COUNTS`]. A field that a release does not have reads as zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Bytes held by workers.
    pub bytes: u64,
    pub clients: u64,
    /// Threads of all workers together.
    pub cores: u64,
    pub workers: u64,
    /// All tasks the scheduler knows.
    pub tasks: u64,
    pub erred: u64,
    pub memory: u64,
    pub processing: u64,
    pub released: u64,
    pub unrunnable: u64,
    pub waiting: u64,
    /// How many workers the present work could use.
    pub desired_workers: u64,
}
