//! The scheduler's core against workers and clients, in virtual time, with faults drawn from a seed.
//!
//! Workers are models, which may be odder than any real one, or the worker's core in a simulated shell, or some of each.
//! One seed is one run and always the same run. The invariants of the cores are walked after every event; at the end
//! every wanted key must be in memory or erred, and once all clients have left no task and no data may be left.
//! Replay: `SIMULATION_SEED=<seed> cargo test --release -p simulation -- --nocapture`.

mod chance;
mod client;
mod member;
mod real_worker;
mod settings;
mod timeline;
mod worker;
mod workload;
mod world;

pub use real_worker::Seen;
pub use settings::{Settings, Workers};
pub use world::{Failure, Summary, run};
