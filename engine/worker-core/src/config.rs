//! What the core can be told to do differently; names and defaults are those of `distributed.yaml`.

use std::sync::Arc;

/// Whether invariants are walked after every batch of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Costs nothing.
    Never,
    /// A full walk: tests and simulations.
    EveryEvent,
}

/// Sizes in bytes, fractions of the memory limit.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where peers reach this worker. Peers on the same host are preferred.
    pub address: Arc<str>,
    /// How many tasks run at a time, those that have seceded not counted.
    pub nthreads: usize,
    /// So many runs are given to the executor beyond `nthreads` while everything it has takes less than a millisecond, so
    /// that a thread that becomes free finds the next at once. They count as executing: nobody can steal them. Where one
    /// takes long after all, they are called back.
    pub executions_ahead: usize,
    /// Abstract resources by name.
    pub resources: Vec<(Arc<str>, f64)>,
    pub memory_limit: Option<u64>,
    /// `worker.connections.incoming`: not asked beyond, unless what is coming is small
    pub incoming_connections: usize,
    /// `worker.transfer.message-bytes-limit`
    pub message_bytes_limit: u64,
    /// `worker.memory.transfer`: bytes asked for and not yet there
    pub memory_transfer: Option<f64>,
    /// `worker.memory.target`: values spill beyond, by their own sizes
    pub memory_target: Option<f64>,
    /// `worker.memory.spill`: values spill beyond, by measured memory
    pub memory_spill: Option<f64>,
    /// `worker.memory.pause`
    pub memory_pause: Option<f64>,
    /// `worker.memory.terminate`
    pub memory_terminate: Option<f64>,
    /// `worker.memory.max-spill`
    pub max_spill: Option<u64>,
    /// `scheduler.default-data-size`
    pub default_data_size: u64,
    /// `admin.low-level-log-length`: how many transitions are kept
    pub low_level_log_length: usize,
}

impl Config {
    /// Stock's defaults for a worker of so many threads at this address.
    pub fn new(address: &str, nthreads: usize) -> Self {
        Self {
            address: Arc::from(address),
            nthreads,
            executions_ahead: 32,
            resources: Vec::new(),
            memory_limit: None,
            incoming_connections: 10,
            message_bytes_limit: 50_000_000,
            memory_transfer: Some(0.10),
            memory_target: Some(0.60),
            memory_spill: Some(0.70),
            memory_pause: Some(0.80),
            memory_terminate: Some(0.95),
            max_spill: None,
            default_data_size: 1024,
            low_level_log_length: 1000,
        }
    }
}
