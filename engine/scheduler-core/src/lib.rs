//! Decides which worker runs which task. Performs no I/O, reads no clock, draws no chance but from its seed.
//!
//! Map: [`Scheduler`] is the machine; `state` and `transitions` hold the life of a task, `placement` chooses workers,
//! `stimuli` are the things that happen, `policies` the slow decisions (retire, adaptive, timeouts), `queries` answer
//! questions without changing anything, `check` walks the invariants.
//! Not here yet, and to come beside `policies`: work stealing, peer-to-peer shuffles, ReduceReplicas; beside `stimuli`:
//! publish, variables, queues, locks.
//! Invariant: same inputs, same seed, same effects.

mod check;
mod client;
mod collectors;
mod config;
mod counters;
mod effects;
mod error;
mod events;
mod freeing;
mod graph;
mod group;
mod heartbeat;
mod id_set;
mod ids;
mod key_split;
mod occupancy;
pub mod order;
mod pickles;
mod placement;
mod policies;
mod queries;
mod rank_set;
mod recommendations;
mod registration;
mod replicas;
mod restrictions;
mod scheduler;
mod stimuli;
mod story;
mod task;
mod transitions;
mod worker;

#[cfg(test)]
mod tests;

pub use config::{Check, Config};
pub use counters::Counters;
pub use effects::{
    Action, ComputeTask, DependencyLocation, Effects, LogLevel, Replicas, TaskPriority, ToClient,
    ToWorker,
};
pub use error::TaskError;
pub use graph::{Actors, Amounts, Annotations, Dep, Graph, GraphTask, RunSpec, SpecSlab};
pub use heartbeat::{Heartbeat, HeartbeatAnswer};
pub use ids::{ClientId, Time, WorkerId};
pub use policies::adaptive::CloseRequest;
pub use policies::rebalance::{MemoryMeasure, Move, RebalancePlan, RebalanceRules};
pub use policies::replicate::GatherPlan;
pub use policies::retire::AfterRetiring;
pub use queries::identity::WorkerContact;
pub use queries::metadata::MetadataError;
pub use queries::status::{FailedTask, WorkerSummary};
pub use queries::totals::{Counts, MemoryUse, PrefixTotals, WorkerCounts};
pub use registration::{Refusal, Registration, Removal, WorkerName, WorkerStatus};
pub use scheduler::Scheduler;
pub use stimuli::heartbeat_interval;
