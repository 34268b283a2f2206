//! The scheduler's core against simulated workers and clients, in virtual time, with faults drawn from a seed.
//!
//! One seed is one run and always the same run. The invariants of the core are walked after every event; at the end
//! every wanted key must be in memory or erred, and once all clients have left no task and no data may be left.
//! Replay: `SIMULATION_SEED=<seed> cargo test --release -p simulation -- --nocapture`.

mod chance;
mod client;
mod settings;
mod timeline;
mod worker;
mod workload;
mod world;

pub use settings::Settings;
pub use world::{Failure, Summary, run};
