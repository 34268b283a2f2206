//! Decides which worker runs which task. Performs no I/O, reads no clock, draws no chance but from its seed.
//!
//! Map: [`Scheduler`] is the machine; `state` and `transitions` hold the life of a task, `placement` chooses workers,
//! `stimuli` are the things that happen, `policies` the slow decisions (retire, adaptive, timeouts), `queries` answer
//! questions without changing anything, `check` walks the invariants.
//! Not here yet, and to come beside `policies`: work stealing, peer-to-peer shuffles, ReduceReplicas; beside `stimuli`:
//! publish, variables, queues, locks.
//! Invariant: same inputs, same seed, same effects.

mod config;
mod effects;
mod error;
mod graph;
mod heartbeat;
mod ids;
mod registration;

pub use config::{Check, Config};
pub use effects::{
    Action, ComputeTask, DependencyLocation, Effects, LogLevel, Replicas, TaskPriority, ToClient,
    ToWorker,
};
pub use error::TaskError;
pub use graph::{Actors, Annotations, Dep, Graph, GraphTask, RunSpec, SpecSlab};
pub use heartbeat::{Heartbeat, HeartbeatAnswer};
pub use ids::{ClientId, Time, WorkerId};
pub use registration::{Refusal, Registration, Removal, WorkerName, WorkerStatus};
