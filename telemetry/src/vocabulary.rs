//! The words of our log: one name a thing, so that one search finds it in every program.
//!
//! `tracing` takes field names from the source, so these constants document and tests compare;
//! an event writes the word itself.

/// Name of the cluster or job an event belongs to.
pub const CLUSTER: &str = "cluster";
/// Kubernetes namespace.
pub const NAMESPACE: &str = "namespace";
/// Kubernetes object, `kind/name`.
pub const OBJECT: &str = "object";
/// Identity of a client, as it registered.
pub const CLIENT: &str = "client";
/// Address of a worker.
pub const WORKER: &str = "worker";
/// Key of a task.
pub const TASK: &str = "task";
/// What went wrong, with its causes.
pub const ERROR: &str = "error";
/// How long it took, in milliseconds.
pub const ELAPSED_MS: &str = "elapsed_ms";

/// All of them.
pub const WORDS: [&str; 8] = [
    CLUSTER, NAMESPACE, OBJECT, CLIENT, WORKER, TASK, ERROR, ELAPSED_MS,
];
