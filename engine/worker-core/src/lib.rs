//! Decides what a worker fetches, runs, keeps, spills and drops. Performs no I/O, reads no clock, draws no chance but from
//! its seed.
//!
//! Map: [`Worker`] is the machine: [`Event`]s in batches go in, [`Effects`] come out. `task` and `transitions` hold the
//! life of a task, `stimuli` are the things that happen, `queues` and `fetching` choose what runs and what is asked for,
//! `store` and `policies` what is kept in memory, `queries` answer questions without changing anything, `check` walks the
//! invariants.
//! Invariant: same events, same seed, same effects.

mod check;
mod config;
mod durations;
mod effects;
mod events;
mod fetching;
mod gathers;
mod ids;
mod kinds;
mod peers;
mod policies;
mod priority;
mod queries;
mod queues;
mod runs;
mod stimuli;
mod store;
mod story;
mod task;
mod transitions;
mod worker;

#[cfg(test)]
mod tests;

pub use config::{Check, Config};
pub use effects::{Action, Effects, Execution, Gather, Input, Location, LogLevel, Source};
pub use events::{
    Event, Executed, GatherOutcome, Gathered, Outcome, SpillOutcome, TaskError, UpdateData,
};
pub use ids::{ExecutionId, GatherId, Time, UpdateId, ValueId};
pub use policies::transfers::may_serve;
pub use queries::{HeldValue, IncomingTransfers, ManagedMemory};
pub use story::Transition;
pub use worker::Worker;
