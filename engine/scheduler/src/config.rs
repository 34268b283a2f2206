//! What this scheduler was told, parsed once: flags over Dask's configuration over defaults.
//!
//! Owns the meaning of flags and configuration together and every refusal about them; opens no socket and starts no
//! process. Invariant: whoever holds a [`Config`] asks neither the environment nor a configuration file again.

pub mod dask;
pub mod listen;
pub mod security;

use std::path::PathBuf;
use std::time::Duration;

use configuration::read::BadValue;
pub use configuration::sources::Environment;
use configuration::sources::{self, SourceError};
use configuration::{interpreter, units};
use protocol::Limits;
use scheduler_core::Check;
use thiserror::Error;
use tracing::warn;

use crate::args::SchedulerArgs;
use dask::{DashboardTls, DaskConfig};
use listen::{Binding, DashboardBinding, ListenError};
use security::{Security, SecurityError};

/// Everything the scheduler program runs by.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where peers connect; the first one is the scheduler's address.
    pub bindings: Vec<Binding>,
    pub security: Security,
    pub http: HttpConfig,
    /// What peers are told to connect to instead of the address listened on.
    pub contact_address: Option<String>,
    pub idle_timeout: Option<Duration>,
    pub pid_file: Option<PathBuf>,
    pub scheduler_file: Option<PathBuf>,
    /// The interpreter that opens graphs, where one was named.
    pub python: Option<PathBuf>,
    /// How long opening one graph may take.
    pub graph_time_limit: Duration,
    /// How much memory a process that opens graphs may take, where it was said; zero is no limit.
    pub graph_memory_limit_bytes: Option<u64>,
    pub preload: Vec<String>,
    pub preload_argv: Vec<String>,
    pub dask: DaskConfig,
}

/// Where and how HTTP is answered.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    pub bindings: Vec<DashboardBinding>,
    /// Certificate and key, where it is answered by TLS.
    pub tls: DashboardTls,
    /// Whether `/status` is the status page; everything else is answered in any case.
    pub status_page: bool,
    /// Begins with a slash, or is empty.
    pub prefix: String,
}

/// What the user has to mend before a scheduler can start.
#[derive(Debug, Error)]
pub enum ConfigError {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("understand the Dask configuration:{}", lines(.0))]
    BadValues(Vec<BadValue>),
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Security(#[from] SecurityError),
    #[error(
        "find the Python interpreter{named} that opens graphs; name one that has dask and distributed with --python or {}",
        contract::environment::PYTHON
    )]
    Python { named: String },
    #[error("understand {flag} {value:?}: {reason}")]
    Flag {
        flag: &'static str,
        value: String,
        reason: String,
    },
    #[error(
        "start a Jupyter server: it is not supported; run `jupyter server` beside the scheduler"
    )]
    Jupyter,
    #[error(
        "understand the extra argument {0:?}; arguments for a preloaded module need --preload before them, and --help shows the flags"
    )]
    ExtraArgument(String),
}

fn lines(bad: &[BadValue]) -> String {
    bad.iter().map(|bad| format!("\n  {bad}")).collect()
}

impl Config {
    /// Reads flags and the surroundings of this process.
    pub fn of_process(args: &SchedulerArgs) -> Result<Self, ConfigError> {
        let python =
            interpreter::find(args.python.as_deref()).ok_or_else(|| ConfigError::Python {
                named: args
                    .python
                    .as_ref()
                    .map(|path| format!(" {}", path.display()))
                    .unwrap_or_default(),
            })?;
        Self::new(args, &Environment::of_process(interpreter::prefix(&python)))
    }

    /// Reads flags and an environment.
    pub fn new(args: &SchedulerArgs, environment: &Environment) -> Result<Self, ConfigError> {
        let collected = sources::collect(environment)?;
        for (old, new) in collected.renamed {
            warn!(old, new, "a configuration key was renamed in Dask");
        }
        let dask = DaskConfig::read(&collected.tree).map_err(ConfigError::BadValues)?;
        refuse_unsupported(args)?;
        if let Some(ciphers) = &dask.comm.tls.ciphers {
            warn!(%ciphers, "distributed.comm.tls.ciphers is passed over: TLS here has safe ciphers only");
        }
        let security = Security::new(args, &dask.comm);
        let bindings = listen::bindings(args, &dask.comm, &security)?;
        security.check(&bindings)?;
        let scheduler = &dask.scheduler;
        Ok(Self {
            bindings,
            security,
            http: HttpConfig {
                bindings: listen::dashboard_bindings(&args.dashboard_address)?,
                tls: scheduler.dashboard_tls.clone(),
                status_page: !args.no_dashboard,
                prefix: http_prefix(&args.dashboard_prefix),
            },
            contact_address: scheduler.contact_address.clone(),
            idle_timeout: idle_timeout(args, scheduler.idle_timeout)?,
            pid_file: args.pid_file.clone(),
            scheduler_file: args.scheduler_file.clone(),
            python: args.python.clone(),
            graph_time_limit: graph_time_limit(&args.graph_time_limit)?,
            graph_memory_limit_bytes: graph_memory_limit_bytes(args)?,
            preload: given_or(&args.preload, &scheduler.preload),
            preload_argv: given_or(&args.preload_argv, &scheduler.preload_argv),
            dask,
        })
    }

    /// How long a silent connection counts as alive; switched off it is a day.
    pub fn tcp_timeout(&self) -> Duration {
        const DAY: Duration = Duration::from_secs(86_400);
        self.dask.comm.tcp_timeout.unwrap_or(DAY)
    }

    /// What a peer may send once it has introduced itself.
    pub fn limits(&self) -> Limits {
        Limits {
            max_message_bytes: self.dask.comm.message_bytes_limit,
            ..Limits::default()
        }
    }

    /// Whether the core walks its invariants after every event.
    pub fn check(&self) -> Check {
        if self.dask.scheduler.validate {
            Check::EveryEvent
        } else {
            Check::Never
        }
    }

    /// What of it the core wants to know.
    pub fn core(&self) -> scheduler_core::Config {
        let Self { dask, .. } = self;
        let scheduler = &dask.scheduler;
        let seconds = |duration: Option<Duration>| duration.map(|duration| duration.as_secs_f64());
        scheduler_core::Config {
            allowed_failures: scheduler.allowed_failures,
            bandwidth: scheduler.bandwidth_bytes as f64,
            default_data_size: scheduler.default_data_size_bytes,
            events_cleanup_delay: scheduler.events_cleanup_delay.as_secs_f64(),
            idle_timeout: seconds(self.idle_timeout),
            no_workers_timeout: seconds(scheduler.no_workers_timeout),
            worker_saturation: scheduler.worker_saturation,
            rootish_taskgroup: scheduler.rootish_taskgroup,
            rootish_taskgroup_dependencies: scheduler.rootish_taskgroup_dependencies,
            worker_ttl: seconds(scheduler.worker_ttl),
            unknown_task_duration: scheduler.unknown_task_duration.as_secs_f64(),
            default_task_durations: scheduler
                .default_task_durations
                .iter()
                .map(|(name, duration)| (name.clone(), duration.as_secs_f64()))
                .collect(),
            low_level_log_length: dask.admin.low_level_log_length,
            memory_terminate: dask.worker_memory.terminates,
            memory_recent_to_old_time: dask.worker_memory.recent_to_old_time.as_secs_f64(),
            memory_manager_interval: scheduler.memory_manager_interval.as_secs_f64(),
            adaptive_target_duration: dask.adaptive_target_duration.as_secs_f64(),
        }
    }
}

fn refuse_unsupported(args: &SchedulerArgs) -> Result<(), ConfigError> {
    if args.jupyter {
        return Err(ConfigError::Jupyter);
    }
    match args.preload_argv.first() {
        Some(argument) if args.preload.is_empty() => {
            Err(ConfigError::ExtraArgument(argument.clone()))
        }
        _ => Ok(()),
    }
}

fn given_or(given: &[String], configured: &[String]) -> Vec<String> {
    if given.is_empty() { configured } else { given }.to_vec()
}

fn idle_timeout(
    args: &SchedulerArgs,
    configured: Option<Duration>,
) -> Result<Option<Duration>, ConfigError> {
    let Some(value) = args.idle_timeout.as_ref().filter(|value| !value.is_empty()) else {
        return Ok(configured);
    };
    let fail = |reason: String| ConfigError::Flag {
        flag: "--idle-timeout",
        value: value.clone(),
        reason,
    };
    let seconds = units::parse_timedelta(value).map_err(|error| fail(error.to_string()))?;
    let duration = Duration::try_from_secs_f64(seconds).map_err(|error| fail(error.to_string()))?;
    Ok((!duration.is_zero()).then_some(duration))
}

fn graph_time_limit(value: &str) -> Result<Duration, ConfigError> {
    let fail = |reason: String| ConfigError::Flag {
        flag: "--graph-time-limit",
        value: value.to_owned(),
        reason,
    };
    let seconds = units::parse_timedelta(value).map_err(|error| fail(error.to_string()))?;
    match Duration::try_from_secs_f64(seconds) {
        Ok(limit) if !limit.is_zero() => Ok(limit),
        Ok(_) => Err(fail("no graph can be opened in no time".to_owned())),
        Err(error) => Err(fail(error.to_string())),
    }
}

fn graph_memory_limit_bytes(args: &SchedulerArgs) -> Result<Option<u64>, ConfigError> {
    let Some(value) = &args.graph_memory_limit else {
        return Ok(None);
    };
    let fail = |reason: String| ConfigError::Flag {
        flag: "--graph-memory-limit",
        value: value.clone(),
        reason,
    };
    let bytes = units::parse_bytes(value).map_err(|error| fail(error.to_string()))?;
    u64::try_from(bytes)
        .map(Some)
        .map_err(|_| fail("it is negative".to_owned()))
}

/// The prefix with one slash before it and none after it.
fn http_prefix(prefix: &str) -> String {
    match prefix.trim_matches('/') {
        "" => String::new(),
        prefix => format!("/{prefix}"),
    }
}

#[cfg(test)]
mod tests;
