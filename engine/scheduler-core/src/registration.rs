//! How workers arrive and leave.

pub use protocol::messages::WorkerStatus;

use protocol::Value;
use std::sync::Arc;

/// A worker's own name for itself: any scalar of the wire; numbers are common.
pub type WorkerName = Value;

/// What a worker says when it registers.
#[derive(Clone, Debug)]
pub struct Registration {
    /// Concrete address, already normalised.
    pub address: Arc<str>,
    /// The host part of the address, without port.
    pub host: Arc<str>,
    pub name: WorkerName,
    pub nthreads: u32,
    pub memory_limit: Option<u64>,
    pub resources: Vec<(Arc<str>, f64)>,
    pub local_directory: Arc<str>,
    /// `{"dashboard": port}` and the like
    pub services: Value,
    pub nanny: Option<Arc<str>>,
    pub pid: i64,
    pub versions: Value,
    pub metrics: Value,
    /// A map that becomes part of the worker's identity.
    pub extra: Value,
    pub server_id: Arc<str>,
    pub status: WorkerStatus,
    /// The worker's clock when it sent this, in seconds.
    pub now_seconds: f64,
    pub stimulus_id: protocol::Text,
}

/// Why a worker may not join.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error("name taken, {name:?}")]
    NameTaken { name: Value },
    #[error("worker already exists {address}")]
    AddressTaken { address: Arc<str> },
}

/// How a worker leaves.
#[derive(Clone, Debug)]
pub struct Removal {
    /// Its tasks are then not suspected of having killed it.
    pub expected: bool,
    /// Tell it to close, together with its nanny.
    pub close: bool,
    pub reason: Arc<str>,
    pub stimulus_id: protocol::Text,
}

impl Removal {
    /// The stream ended without a word.
    pub fn connection_lost() -> Self {
        Self {
            expected: false,
            close: true,
            reason: Arc::from("the connection was lost"),
            stimulus_id: protocol::Text::from_static("handle-worker-cleanup"),
        }
    }
}
