//! Environment variables that one of our programs sets and another reads.
//!
//! What a user writes into `env` always wins over a value listed here.

/// Address of the scheduler, `tcp://host:port`. Dask's own name: a plain `Client()` reads it, and so
/// does a `dask worker` without an address.
pub const SCHEDULER_ADDRESS: &str = "DASK_SCHEDULER_ADDRESS";

/// Name of the job, as in `metadata.name`. Set for every role.
pub const JOB_NAME: &str = "DASKJOB_NAME";

/// Number of the attempt, from 1. Set for every role.
pub const ATTEMPT: &str = "DASKJOB_ATTEMPT";

/// `scheduler`, `worker` or `runner` ([`crate::Role`]). Set for every role.
pub const ROLE: &str = "DASKJOB_ROLE";

/// Name of the worker group (`default` for `spec.workers`). Set for workers.
pub const WORKER_GROUP: &str = "DASKJOB_WORKER_GROUP";

/// Path of the Python interpreter for the job, the graph helper and the executors.
pub const PYTHON: &str = "DASKJOB_PYTHON";

/// Directory for what may be downloaded again: virtual environments made by `daskjob run`.
/// Default: `$XDG_CACHE_HOME/daskjob`, else `~/.cache/daskjob`.
pub const CACHE_DIRECTORY: &str = "DASKJOB_CACHE_DIR";

/// Filter of our own log, in the syntax of `tracing_subscriber::EnvFilter` (`info`,
/// `scheduler=debug,info`).
pub const LOG: &str = "DASKJOB_LOG";

/// `text` (default) or `json`: shape of our own log lines.
pub const LOG_FORMAT: &str = "DASKJOB_LOG_FORMAT";

/// Where Python looks for modules: the job's files first, then what was set before.
pub const PYTHON_PATH: &str = "PYTHONPATH";

/// Dask's method for shuffling data frames. `tasks` under the native engine until its scheduler
/// carries peer-to-peer shuffles.
pub const DATAFRAME_SHUFFLE_METHOD: &str = "DASK_DATAFRAME__SHUFFLE__METHOD";

/// Dask's method for rechunking arrays. `tasks` under the native engine, for the same reason.
pub const ARRAY_RECHUNK_METHOD: &str = "DASK_ARRAY__RECHUNK__METHOD";

/// Threads a BLAS or OpenMP library may start in a worker, and when the allocator gives memory back;
/// a nanny sets the same before it starts a worker process. `(name, value)`.
pub const NANNY_DEFAULTS: [(&str, &str); 4] = [
    ("MALLOC_TRIM_THRESHOLD_", "65536"),
    ("MKL_NUM_THREADS", "1"),
    ("OMP_NUM_THREADS", "1"),
    ("OPENBLAS_NUM_THREADS", "1"),
];

/// Share of its memory at which a nanny ends a worker, or `False`. `(name, value)` for workers in a container with a limit:
/// there the kernel ends them, and the launcher says so ([`crate::launch::END_WHEN_OUT_OF_MEMORY`]).
pub const NO_NANNY_TERMINATION: (&str, &str) =
    ("DASK_DISTRIBUTED__WORKER__MEMORY__TERMINATE", "False");

/// Python's seed for `hash()`: one value on all workers, or object keys would be sent to different
/// partitions by different workers. `(name, value)`, applied where it is unset or `0`.
pub const HASH_SEED: (&str, &str) = ("PYTHONHASHSEED", "6640");

/// Output of the job's program is shown as it is written, also through a pipe. `(name, value)`, for the
/// runner.
pub const RUNNER_DEFAULTS: [(&str, &str); 1] = [("PYTHONUNBUFFERED", "1")];

/// Dask's name for the list of HTTP routes of a stock scheduler, and the list with `/api/v1/*`, which stock leaves out.
/// `(name, value)`.
pub const STOCK_HTTP_ROUTES: (&str, &str) = (
    "DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES",
    r#"["distributed.http.scheduler.prometheus", "distributed.http.scheduler.info", "distributed.http.scheduler.json", "distributed.http.health", "distributed.http.proxy", "distributed.http.statics", "distributed.http.scheduler.api"]"#,
);

/// Where Dask puts scratch files that no flag places elsewhere.
pub const TEMPORARY_DIRECTORY: &str = "DASK_TEMPORARY_DIRECTORY";

/// Where programs put files that may go: the system's own name.
pub const SYSTEM_TEMPORARY_DIRECTORY: &str = "TMPDIR";

/// Flags of the operator, as its environment: see `daskjob-operator --help`.
pub const OPERATOR_NAMESPACES: &str = "DASKJOB_OPERATOR_NAMESPACES";
pub const OPERATOR_WORKER_IMAGE: &str = "DASKJOB_OPERATOR_WORKER_IMAGE";
pub const OPERATOR_IMAGE_PULL_POLICY: &str = "DASKJOB_OPERATOR_IMAGE_PULL_POLICY";
pub const OPERATOR_IMAGE_PULL_SECRETS: &str = "DASKJOB_OPERATOR_IMAGE_PULL_SECRETS";
pub const OPERATOR_CLUSTER_DOMAIN: &str = "DASKJOB_OPERATOR_CLUSTER_DOMAIN";
pub const OPERATOR_RUN_AS_NON_ROOT: &str = "DASKJOB_OPERATOR_RUN_AS_NON_ROOT";
pub const OPERATOR_TERMINATION_GRACE_SECONDS: &str = "DASKJOB_OPERATOR_TERMINATION_GRACE_SECONDS";
pub const OPERATOR_CONCURRENCY: &str = "DASKJOB_OPERATOR_CONCURRENCY";
pub const OPERATOR_LEADER_ELECTION: &str = "DASKJOB_OPERATOR_LEADER_ELECTION";
pub const OPERATOR_LEASE_NAME: &str = "DASKJOB_OPERATOR_LEASE_NAME";
pub const OPERATOR_NAMESPACE: &str = "DASKJOB_OPERATOR_NAMESPACE";
pub const OPERATOR_LABELS: &str = "DASKJOB_OPERATOR_LABELS";
pub const OPERATOR_IDENTITY: &str = "DASKJOB_OPERATOR_IDENTITY";
pub const OPERATOR_LISTEN: &str = "DASKJOB_OPERATOR_LISTEN";
