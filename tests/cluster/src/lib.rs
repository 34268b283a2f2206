//! A real Kubernetes for tests: found or started by `cargo xtask cluster up`, see there what it consists of.
//!
//! Owns the way of a test into the cluster's network namespace, its client, its own namespace there and kubectl; knows
//! nothing of how a cluster is started. Invariant: on a machine that cannot have one, a test says why in one line and
//! passes; a cluster that should be there and is not fails the test.

mod cargo;
mod cluster;
mod described;
mod fake;
mod image;
mod kubectl;
mod namespace;
mod operator;
mod raw;
mod wait;
mod workplace;

pub use cluster::{Cluster, Tier, on_cluster};
pub use fake::on_fake_nodes;
pub use image::{BASE_IMAGE, OPERATOR_IMAGE, WORKER_IMAGE};
pub use kubectl::Answer;
pub use namespace::TestNamespace;
pub use raw::Refusal;
pub use wait::{eventually, within};
pub use workplace::{Workplace, in_a_workplace};
