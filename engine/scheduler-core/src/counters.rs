//! Totals since the start, for metrics.

use indexmap::IndexMap;
use protocol::{Key, KeyBuildHasher};

/// Only ever grow.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    pub client_connections_added: u64,
    pub client_connections_removed: u64,
    pub workers_added: u64,
    pub workers_removed: u64,
    pub tasks_forgotten: u64,
    pub transitions: u64,
    /// Sums of what workers send as `digests_total_since_heartbeat`; names may be tuples.
    pub(crate) worker_metrics: IndexMap<Key, f64, KeyBuildHasher>,
}
