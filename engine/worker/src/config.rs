//! What this worker was told, parsed once: flags over variables over defaults.
//!
//! Owns the meaning of flags and every refusal about them; opens no socket and starts no process. Of Dask's configuration it
//! reads the `DASK_DISTRIBUTED__WORKER__…` variables named here; configuration files are not read yet.

#[path = "../../scheduler/src/config/units.rs"]
mod units;

use crate::args::WorkerArgs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use transport::{Security, SecurityError, TlsSettings, TlsVersion};

/// Everything the worker program runs by.
#[derive(Debug, Clone)]
pub struct Config {
    pub scheduler: SchedulerAt,
    pub python: PathBuf,
    pub preload: Vec<String>,
    pub preload_argv: Vec<String>,
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
    pub death_timeout: Option<Duration>,
    pub lifetime: Option<Duration>,
    pub drain_timeout: Duration,
    pub local_directory: PathBuf,
    pub pid_file: Option<PathBuf>,
    /// Host and port of HTTP.
    pub http: (String, u16),
    pub outgoing_connections: usize,
    pub incoming_connections: usize,
}

#[derive(Debug, Clone)]
pub enum SchedulerAt {
    Address(String),
    /// A JSON file that names it, perhaps later.
    File(PathBuf),
}

/// Fractions of the memory limit; none is switched off.
#[derive(Debug, Clone)]
pub struct MemoryConfig {
    pub target: Option<f64>,
    pub spill: Option<f64>,
    pub pause: Option<f64>,
    pub terminate: Option<f64>,
    pub transfer: Option<f64>,
    pub max_spill_bytes: Option<u64>,
}

#[derive(Debug, Clone)]
pub struct TlsFiles {
    pub authority: PathBuf,
    pub certificate: PathBuf,
    pub key: PathBuf,
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
    #[error("serve {0}: this worker does not have it yet; use stock `dask worker`")]
    NotServed(&'static str),
    #[error("understand {flag} {value:?}: {reason}")]
    Flag {
        flag: &'static str,
        value: String,
        reason: String,
    },
    #[error("use --tls-ca-file, --tls-cert and --tls-key: all three are needed")]
    TlsIncomplete,
    #[error(transparent)]
    Security(#[from] SecurityError),
    #[error(transparent)]
    Interface(#[from] transport::InterfaceError),
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
        refuse_unserved(args)?;
        let workers = args.nworkers.parse::<usize>();
        let workers = workers.ok().filter(|count| *count > 0);
        let workers = workers.ok_or_else(|| {
            wrong(
                "--nworkers",
                &args.nworkers,
                "only a number of at least 1 is served",
            )
        })?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let nthreads = match args.nthreads {
            0 => (cores / workers).max(1),
            given => given,
        };
        let (security, tls) = security(args)?;
        let host = match &args.interface {
            Some(name) => Some(transport::interface_ip(name)?.to_string()),
            None => args.host.clone(),
        };
        let preload_argv = args.preload_argv.clone();
        Ok(Self {
            scheduler: scheduler(args)?,
            python: interpreter(args.python.as_deref())?,
            preload: args.preload.clone(),
            preload_argv,
            workers,
            nthreads,
            name: args.name.clone().filter(|name| !name.is_empty()),
            resources: resources(&args.resources)?,
            memory_limit: memory_limit(&args.memory_limit, nthreads, cores)?,
            memory: MemoryConfig::of_process()?,
            nanny: !args.no_nanny,
            worker_ports: ports("--worker-port", args.worker_port.as_deref())?,
            nanny_ports: ports("--nanny-port", args.nanny_port.as_deref())?,
            host,
            contact_address: args.contact_address.clone(),
            protocol: args.protocol.clone(),
            security,
            tls,
            death_timeout: optional_duration("--death-timeout", args.death_timeout.as_deref())?,
            lifetime: optional_duration("--lifetime", Some(&args.lifetime))?,
            drain_timeout: duration("--drain-timeout", &args.drain_timeout)?,
            local_directory: local_directory(args.local_directory.as_deref()),
            pid_file: args.pid_file.clone(),
            http: http_address(&args.dashboard_address)?,
            outgoing_connections: variable_number("CONNECTIONS__OUTGOING")?
                .map_or(50, |count| count as usize),
            incoming_connections: variable_number("CONNECTIONS__INCOMING")?
                .map_or(10, |count| count as usize),
        })
    }
}

fn refuse_unserved(args: &WorkerArgs) -> Result<(), ConfigError> {
    let asked = [
        (args.dashboard_prefix.is_some(), "--dashboard-prefix"),
        (args.listen_address.is_some(), "--listen-address"),
        (args.lifetime_stagger.is_some(), "--lifetime-stagger"),
        (args.lifetime_restart, "--lifetime-restart"),
        (args.worker_class.is_some(), "--worker-class"),
        (!args.preload_nanny.is_empty(), "--preload-nanny"),
    ];
    match asked.into_iter().find(|(is_asked, _)| *is_asked) {
        Some((_, flag)) => Err(ConfigError::NotServed(flag)),
        None => Ok(()),
    }
}

fn scheduler(args: &WorkerArgs) -> Result<SchedulerAt, ConfigError> {
    if let Some(address) = &args.scheduler {
        return Ok(SchedulerAt::Address(with_scheme(address)));
    }
    if let Some(file) = &args.scheduler_file {
        return Ok(SchedulerAt::File(file.clone()));
    }
    let set = std::env::var(contract::environment::SCHEDULER_ADDRESS).ok();
    let set = set.filter(|address| !address.is_empty());
    set.map(|address| SchedulerAt::Address(with_scheme(&address)))
        .ok_or(ConfigError::NoScheduler)
}

fn with_scheme(address: &str) -> String {
    match address.contains("://") {
        true => address.to_owned(),
        false => format!("tcp://{address}"),
    }
}

fn interpreter(named: Option<&Path>) -> Result<PathBuf, ConfigError> {
    let found = match named {
        Some(path) if path.components().count() > 1 => path.is_file().then(|| path.to_owned()),
        Some(name) => on_path(name),
        None => on_path(Path::new("python3")).or_else(|| on_path(Path::new("python"))),
    };
    let name = || named.map_or(String::new(), |path| format!(" {}", path.display()));
    found.ok_or_else(|| ConfigError::Python { named: name() })
}

fn on_path(name: &Path) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}

fn security(args: &WorkerArgs) -> Result<(Security, Option<TlsFiles>), ConfigError> {
    let (authority, certificate, key) = (&args.tls_ca_file, &args.tls_cert, &args.tls_key);
    let files = match (authority, certificate, key) {
        (None, None, None) => return Ok((Security::none(), None)),
        (Some(authority), Some(certificate), Some(key)) => TlsFiles {
            authority: authority.clone(),
            certificate: certificate.clone(),
            key: key.clone(),
        },
        _ => return Err(ConfigError::TlsIncomplete),
    };
    let text = |path: &Path| path.to_string_lossy().into_owned();
    let mut security = Security::tls(&TlsSettings {
        authority: text(&files.authority),
        certificate: text(&files.certificate),
        key: text(&files.key),
        min_version: TlsVersion::Tls12,
        max_version: TlsVersion::Tls13,
    })?;
    security.server_name = args.scheduler_sni.clone();
    Ok((security, Some(files)))
}

fn ports(flag: &'static str, text: Option<&str>) -> Result<RangeInclusive<u16>, ConfigError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else {
        return Ok(0..=0);
    };
    let number = |part: &str| {
        part.parse::<u16>()
            .map_err(|error| wrong(flag, text, error))
    };
    match text.split_once(':') {
        Some((first, last)) => Ok(number(first)?..=number(last)?),
        None => number(text).map(|port| port..=port),
    }
}

fn http_address(text: &str) -> Result<(String, u16), ConfigError> {
    let (host, port) = text.rsplit_once(':').unwrap_or(("", text));
    let port = port.parse::<u16>();
    let port = port.map_err(|error| wrong("--dashboard-address", text, error))?;
    Ok((host.to_owned(), port))
}

fn resources(text: &str) -> Result<Vec<(Arc<str>, f64)>, ConfigError> {
    let one = |part: &str| {
        let (name, amount) = part
            .split_once('=')
            .ok_or_else(|| wrong("--resources", text, "it is not NAME=AMOUNT"))?;
        let amount =
            units::parse_float(amount).map_err(|error| wrong("--resources", text, error))?;
        Ok((Arc::from(name), amount))
    };
    let parts = text.split([' ', ',']).filter(|part| !part.is_empty());
    parts.map(one).collect()
}

/// As `distributed` understands it.
fn memory_limit(text: &str, nthreads: usize, cores: usize) -> Result<Option<u64>, ConfigError> {
    let machine = crate::measure::memory_of_machine();
    let share = |fraction: f64| machine.map(|bytes| (bytes as f64 * fraction) as u64);
    let limit = match text {
        "" | "0" | "none" | "None" => return Ok(None),
        "auto" => return Ok(share((nthreads as f64 / cores as f64).min(1.0))),
        number => match number.parse::<f64>() {
            Ok(fraction) if fraction <= 1.0 => return Ok(share(fraction)),
            Ok(bytes) => bytes as u64,
            Err(_) => {
                let bytes = units::parse_bytes(number);
                let bytes = bytes.map_err(|error| wrong("--memory-limit", text, error))?;
                u64::try_from(bytes).map_err(|error| wrong("--memory-limit", text, error))?
            }
        },
    };
    Ok(Some(machine.map_or(limit, |most| limit.min(most))).filter(|limit| *limit > 0))
}

fn duration(flag: &'static str, text: &str) -> Result<Duration, ConfigError> {
    let seconds = units::parse_timedelta(text).map_err(|error| wrong(flag, text, error))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| wrong(flag, text, error))
}

fn optional_duration(
    flag: &'static str,
    text: Option<&str>,
) -> Result<Option<Duration>, ConfigError> {
    match text.filter(|text| !text.is_empty()) {
        Some(text) => duration(flag, text).map(Some),
        None => Ok(None),
    }
}

/// Where Dask's programs put their scratch files.
fn local_directory(given: Option<&Path>) -> PathBuf {
    let set = || std::env::var_os(contract::environment::TEMPORARY_DIRECTORY).map(PathBuf::from);
    let base = given.map(Path::to_owned).or_else(set);
    let base = base.unwrap_or_else(std::env::temp_dir);
    match base.ends_with("dask-scratch-space") {
        true => base,
        false => base.join("dask-scratch-space"),
    }
}

impl MemoryConfig {
    fn of_process() -> Result<Self, ConfigError> {
        let max_spill_bytes = match variable("MEMORY__MAX_SPILL") {
            Some((name, text)) if !is_off(&text) => Some(
                units::parse_bytes(&text)
                    .ok()
                    .and_then(|bytes| u64::try_from(bytes).ok())
                    .ok_or_else(|| wrong(name, &text, "it is no number of bytes"))?,
            ),
            _ => None,
        };
        Ok(Self {
            target: fraction("MEMORY__TARGET", 0.60)?,
            spill: fraction("MEMORY__SPILL", 0.70)?,
            pause: fraction("MEMORY__PAUSE", 0.80)?,
            terminate: fraction("MEMORY__TERMINATE", 0.95)?,
            transfer: fraction("MEMORY__TRANSFER", 0.10)?,
            max_spill_bytes,
        })
    }
}

fn is_off(text: &str) -> bool {
    matches!(text.trim(), "False" | "false" | "None" | "")
}

/// A variable of Dask's worker settings, with the name to complain by.
fn variable(key: &'static str) -> Option<(&'static str, String)> {
    let value = std::env::var(format!("DASK_DISTRIBUTED__WORKER__{key}")).ok()?;
    Some((key, value))
}

fn variable_number(key: &'static str) -> Result<Option<f64>, ConfigError> {
    let Some((name, text)) = variable(key) else {
        return Ok(None);
    };
    let number = units::parse_float(&text).map_err(|error| wrong(name, &text, error))?;
    Ok(Some(number))
}

fn fraction(key: &'static str, default: f64) -> Result<Option<f64>, ConfigError> {
    match variable(key) {
        Some((_, text)) if is_off(&text) => Ok(None),
        Some(_) => Ok(variable_number(key)?.filter(|fraction| *fraction > 0.0)),
        None => Ok(Some(default)),
    }
}
