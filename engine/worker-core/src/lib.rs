//! Decides what a worker fetches, runs, keeps, spills and drops. Performs no I/O, reads no clock, draws no chance but from
//! its seed.

mod config;
mod effects;
mod events;
mod ids;

pub use config::{Check, Config};
pub use effects::{Action, Effects, Execution, Gather, Input, Location, LogLevel, Source};
pub use events::{
    Event, Executed, GatherOutcome, Gathered, Outcome, SpillOutcome, TaskError, UpdateData,
};
pub use ids::{ExecutionId, GatherId, Time, UpdateId, ValueId};
