//! What the control plane and the programs inside a cluster agree on: ports, environment names,
//! flags, HTTP paths, labels, exit codes, the status of a job and the message a container leaves behind.
//!
//! Words only: no behaviour beyond writing and reading these words. A name that two programs share
//! is a constant here and nowhere else.

pub mod distributed;
pub mod environment;
pub mod exit_code;
pub mod flags;
pub mod http;
pub mod labels;
pub mod launch;
pub mod paths;
pub mod ports;
pub mod status;
pub mod termination;
pub mod timestamp;
pub mod yaml;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The parts a job is made of.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Scheduler,
    Worker,
    Runner,
}

impl Role {
    /// The word used in names, labels, log files and status.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Scheduler => "scheduler",
            Role::Worker => "worker",
            Role::Runner => "runner",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(self.as_str())
    }
}
