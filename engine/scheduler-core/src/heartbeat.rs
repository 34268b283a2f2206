//! What workers report about themselves every now and then.

use protocol::{Key, Value};

/// One report of a worker.
#[derive(Clone, Debug)]
pub struct Heartbeat {
    /// The worker's clock when it sent this, in seconds.
    pub now_seconds: f64,
    /// The whole map, shown to users as it is; bandwidth, memory and spilled bytes are read from it.
    pub metrics: Value,
    /// How long each running task has been running, in seconds.
    pub executing: Vec<(Key, f64)>,
    /// The host's own numbers, a map.
    pub host_info: Value,
}

/// What the worker is told.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum HeartbeatAnswer {
    /// Come back after so many seconds.
    Known { interval: f64 },
    /// Nobody of that address is registered; the worker will close.
    Missing,
}
