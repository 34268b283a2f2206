//! Paths the scheduler answers over HTTP, and the one body that is read by more than one program.

use serde::{Deserialize, Serialize};

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
