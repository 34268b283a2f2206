//! What this worker was told, parsed once: flags over Dask's configuration over defaults.
//!
//! Owns the meaning of flags and configuration together and every refusal about them; opens no socket and starts no
//! process. Invariant: whoever holds a [`Config`] asks neither the environment nor a configuration file again.

mod dask;
mod flags;
mod processes;

use crate::args::WorkerArgs;
use configuration::read::BadValue;
use configuration::{Environment, SourceError, interpreter, sources};
use dask::DaskConfig;
pub use dask::MemoryConfig;
use processes::Processes;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tracing::warn;
use transport::{Security, SecurityError};

/// Everything the worker program runs by.
#[derive(Debug, Clone)]
pub struct Config {
    pub scheduler: SchedulerAt,
    pub python: PathBuf,
    pub preload: Vec<String>,
    pub preload_argv: Vec<String>,
    /// Loaded in the Python of the nanny, which is not started for want of them.
    pub preload_nanny: Vec<String>,
    pub preload_nanny_argv: Vec<String>,
    /// Variables of the Python process, where they are not set.
    pub environment: Vec<(String, String)>,
    pub workers: usize,
    pub nthreads: usize,
    pub name: Option<String>,
    pub resources: Vec<(Arc<str>, f64)>,
    pub memory_limit: Option<u64>,
    pub memory: MemoryConfig,
    /// Whether a Python process that has died is replaced.
    pub nanny: bool,
    pub worker_ports: RangeInclusive<u16>,
    pub nanny_ports: RangeInclusive<u16>,
    /// A host or IP to listen on; else everywhere.
    pub host: Option<String>,
    pub contact_address: Option<String>,
    pub protocol: Option<String>,
    pub security: Security,
    pub tls: Option<TlsFiles>,
    pub connect_timeout: Duration,
    pub tcp_timeout: Duration,
    pub death_timeout: Option<Duration>,
    pub lifetime: Option<Lifetime>,
    pub drain_timeout: Duration,
    /// How long the Python process may be silent before it counts as hanging.
    pub hang_timeout: Option<Duration>,
    /// Whether the worker ends when its Python process has run out of memory.
    pub end_when_out_of_memory: bool,
    /// Where the cause of a loss is left.
    pub termination_log: PathBuf,
    pub local_directory: PathBuf,
    /// Whether what killed workers left there is told by locks, and removed.
    pub file_locks: bool,
    pub pid_file: Option<PathBuf>,
    /// Host and port of HTTP.
    pub http: (String, u16),
    /// Begins with a slash, or is empty.
    pub http_prefix: String,
    pub metrics_namespace: String,
    pub outgoing_connections: usize,
    pub incoming_connections: usize,
    pub message_bytes_limit: u64,
    pub default_data_size: u64,
    pub low_level_log_length: usize,
    pub log_length: usize,
    /// The level below which Dask in Python shows nothing.
    pub silence_logs: Option<u32>,
}

#[derive(Debug, Clone)]
pub enum SchedulerAt {
    Address(String),
    /// A JSON file that names it, perhaps later.
    File(PathBuf),
}

/// How long each life of a worker may be.
#[derive(Debug, Clone, PartialEq)]
pub struct Lifetime {
    pub duration: Duration,
    /// Drawn anew for each life, up to so much more or less.
    pub stagger: Duration,
    /// Another one follows.
    pub restart: bool,
}

/// Paths, or PEM text itself.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    pub authority: String,
    pub certificate: String,
    pub key: String,
}

/// What the user has to mend before a worker can start.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error(
        "find the scheduler: give its address, --scheduler-file or {}",
        contract::environment::SCHEDULER_ADDRESS
    )]
    NoScheduler,
    #[error(
        "find the Python interpreter{named}; name one that has dask and distributed with --python or {}",
        contract::environment::PYTHON
    )]
    Python { named: String },
    #[error("serve {flag}: {remedy}")]
    NotServed {
        flag: &'static str,
        remedy: &'static str,
    },
    #[error("use {one} together with {other}: {reason}")]
    Together {
        one: &'static str,
        other: &'static str,
        reason: &'static str,
    },
    #[error("understand {flag} {value:?}: {reason}")]
    Flag {
        flag: &'static str,
        value: String,
        reason: String,
    },
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("understand the Dask configuration:{}", lines(.0))]
    BadValues(Vec<BadValue>),
    #[error(
        "use TLS without {0}; give --tls-ca-file, --tls-cert and --tls-key, or distributed.comm.tls in the configuration"
    )]
    TlsIncomplete(&'static str),
    #[error(transparent)]
    Security(#[from] SecurityError),
    #[error(transparent)]
    Interface(#[from] transport::InterfaceError),
}

fn lines(bad: &[BadValue]) -> String {
    bad.iter().map(|bad| format!("\n  {bad}")).collect()
}

fn wrong(flag: &'static str, value: &str, reason: impl ToString) -> ConfigError {
    ConfigError::Flag {
        flag,
        value: value.to_owned(),
        reason: reason.to_string(),
    }
}

impl Config {
    /// Reads flags and the surroundings of this process.
    pub fn of_process(args: &WorkerArgs) -> Result<Self, ConfigError> {
        let named = || {
            let python = args.python.as_ref();
            python.map_or(String::new(), |path| format!(" {}", path.display()))
        };
        let python = interpreter::find(args.python.as_deref())
            .ok_or_else(|| ConfigError::Python { named: named() })?;
        let environment = Environment::of_process(interpreter::prefix(&python));
        Self::new(args, python, &environment)
    }

    /// Reads flags and an environment.
    pub fn new(
        args: &WorkerArgs,
        python: PathBuf,
        environment: &Environment,
    ) -> Result<Self, ConfigError> {
        let collected = sources::collect(environment)?;
        for (old, new) in collected.renamed {
            warn!(old, new, "a configuration key was renamed in Dask");
        }
        let dask = DaskConfig::read(&collected.tree).map_err(ConfigError::BadValues)?;
        flags::refuse_unserved(args)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let Processes { workers, nthreads } = Processes::of(args, cores)?;
        let (security, tls) = flags::security(args, &dask.comm)?;
        let place = flags::place(args, workers)?;
        let is_set = |name: &str| environment.variable(name).is_some();
        Ok(Self {
            scheduler: flags::scheduler(args, dask.scheduler_address.as_deref())?,
            python,
            preload: given_or(&args.preload, &dask.preload),
            preload_argv: given_or(&args.preload_argv, &dask.preload_argv),
            preload_nanny: given_or(&args.preload_nanny, &dask.preload_nanny),
            preload_nanny_argv: dask.preload_nanny_argv,
            environment: dask
                .environment
                .iter()
                .filter(|(name, _)| !is_set(name))
                .cloned()
                .collect(),
            workers,
            nthreads,
            name: args.name.clone().filter(|name| !name.is_empty()),
            resources: flags::resources(args.resources.as_deref(), &dask.resources)?,
            memory_limit: processes::memory_limit(&args.memory_limit, nthreads, cores)?,
            memory: dask.memory,
            nanny: !args.no_nanny,
            worker_ports: place.worker_ports,
            nanny_ports: flags::ports("--nanny-port", args.nanny_port.as_deref())?,
            host: place.host,
            contact_address: place.contact_address,
            protocol: place.protocol,
            security,
            tls,
            connect_timeout: dask.comm.connect_timeout,
            tcp_timeout: dask.comm.tcp_timeout.unwrap_or(DAY),
            death_timeout: flags::duration("--death-timeout", args.death_timeout.as_deref())?,
            lifetime: flags::lifetime(args, &dask.lifetime)?,
            drain_timeout: flags::duration("--drain-timeout", Some(&args.drain_timeout))?
                .unwrap_or_default(),
            hang_timeout: match args.hang_timeout.as_deref() {
                None => dask.worker_ttl,
                given => flags::duration("--hang-timeout", given)?,
            }
            .filter(|timeout| !timeout.is_zero()),
            end_when_out_of_memory: args.end_when_out_of_memory,
            termination_log: args.termination_log.clone(),
            local_directory: flags::local_directory(
                args.local_directory.as_deref(),
                dask.temporary_directory.as_deref(),
            ),
            file_locks: dask.file_locks,
            pid_file: args.pid_file.clone(),
            http: flags::http_address(&args.dashboard_address)?,
            http_prefix: flags::http_prefix(args.dashboard_prefix.as_deref()),
            metrics_namespace: dask.prometheus_namespace,
            outgoing_connections: dask.outgoing_connections,
            incoming_connections: dask.incoming_connections,
            message_bytes_limit: dask.message_bytes_limit,
            default_data_size: dask.default_data_size,
            low_level_log_length: dask.low_level_log_length,
            log_length: dask.log_length,
            silence_logs: args.silence_logs.filter(|level| *level > 0),
        })
    }
}

/// Where something is switched off that must have an end.
const DAY: Duration = Duration::from_secs(86_400);

fn given_or(given: &[String], configured: &[String]) -> Vec<String> {
    if given.is_empty() { configured } else { given }.to_vec()
}

#[cfg(test)]
mod tests;
