//! Command line flags that one of our programs passes to another. Where stock Dask has the same
//! flag, the name is Dask's, so that either program can stand behind it. Those of the launcher are in [`crate::launch`].

/// Address to listen on.
pub const HOST: &str = "--host";
/// Port to listen on; `0` is a free one.
pub const PORT: &str = "--port";
/// Address of the HTTP server, `host:port`.
pub const DASHBOARD_ADDRESS: &str = "--dashboard-address";
/// No status page; health, metrics and the API are answered all the same.
pub const NO_DASHBOARD: &str = "--no-dashboard";
/// File the scheduler writes its identity to, and others read its address from.
pub const SCHEDULER_FILE: &str = "--scheduler-file";
/// Seconds without work after which the scheduler ends.
pub const IDLE_TIMEOUT: &str = "--idle-timeout";
/// Python interpreter of the graph helper or of the executor (ours only).
pub const PYTHON: &str = "--python";
/// Threads of one worker.
pub const NTHREADS: &str = "--nthreads";
/// Memory of one worker in bytes; `0` is no limit.
pub const MEMORY_LIMIT: &str = "--memory-limit";
/// Name of one worker.
pub const NAME: &str = "--name";
/// Abstract resources of one worker, `"GPU=1 DISK=2"`.
pub const RESOURCES: &str = "--resources";
/// Directory for a worker's files.
pub const LOCAL_DIRECTORY: &str = "--local-directory";
/// How long a worker that was told to end may hand over what only it has; `0` is not at all (ours only).
pub const DRAIN_TIMEOUT: &str = "--drain-timeout";
/// What a worker needs of the time until it is ended by force to end in good order once everything is handed over.
pub const DRAIN_MARGIN_SECONDS: u64 = 2;
/// File in which a worker leaves why its Python process was lost, as [`crate::termination`] (ours only).
pub const TERMINATION_LOG: &str = crate::launch::TERMINATION_LOG;
/// A worker ends as soon as memory has run out, instead of going on with another Python process (ours only).
pub const END_WHEN_OUT_OF_MEMORY: &str = crate::launch::END_WHEN_OUT_OF_MEMORY;
/// Seconds after which a worker that has no scheduler ends.
pub const DEATH_TIMEOUT: &str = "--death-timeout";
