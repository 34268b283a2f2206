//! The custom resources users write, one file per kind, and the CRD manifests made from them.
//!
//! Types only: what a value means is decided in `plan`. Nothing here talks to Kubernetes.

mod dask_job;
mod edits;
pub mod generate;
mod quantity;
mod role;
mod rules;
mod workers;

pub use contract::status::JobStatus as DaskJobStatus;
pub use dask_job::{DaskJob, DaskJobSpec, Engine, JobSpec, NetworkPolicySpec, SchedulerSpec};
pub use generate::{manifests, schema_of_dask_job};
pub use quantity::Quantity;
pub use role::{EnvVar, RoleSpec, Template};
pub use workers::{DEFAULT_GROUP, WorkerGroupSpec, WorkersSpec};

/// Group of every kind of ours.
pub const GROUP: &str = "daskjob.dev";
/// Version of the native kind.
pub const VERSION: &str = "v1alpha1";
/// Name of the native kind.
pub const KIND: &str = "DaskJob";

/// `group/version`, as a manifest writes it.
pub fn api_version() -> String {
    format!("{GROUP}/{VERSION}")
}

#[cfg(test)]
mod tests;
