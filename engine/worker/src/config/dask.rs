//! Dask's configuration as far as a worker goes by it, with Dask's defaults.
//!
//! Owns the names of the keys and their defaults. Keys that are not here are everyone else's (the executor reads them in Python), or
//! belong to what this worker does not have, and pass unread. Invariant: a value that was accepted is usable as it is.

use configuration::read::{self, BadValue, Reader};
use configuration::tree::{Raw, Tree};
use std::time::Duration;
use transport::TlsVersion;

#[derive(Debug, Clone, PartialEq)]
pub struct DaskConfig {
    pub scheduler_address: Option<String>,
    pub temporary_directory: Option<String>,
    pub file_locks: bool,
    pub memory: MemoryConfig,
    pub outgoing_connections: usize,
    pub incoming_connections: usize,
    pub message_bytes_limit: u64,
    pub resources: Vec<(String, f64)>,
    pub lifetime: LifetimeConfig,
    pub preload: Vec<String>,
    pub preload_argv: Vec<String>,
    pub preload_nanny: Vec<String>,
    pub preload_nanny_argv: Vec<String>,
    /// Variables for the Python process, where they are not set.
    pub environment: Vec<(String, String)>,
    /// `scheduler.worker-ttl`: a worker that is silent for longer is lost.
    pub worker_ttl: Option<Duration>,
    pub default_data_size: u64,
    pub low_level_log_length: usize,
    pub log_length: usize,
    pub comm: CommConfig,
    /// What metric names begin with; empty for nothing.
    pub prometheus_namespace: String,
}

/// Fractions of the memory limit; none is switched off.
#[derive(Debug, Clone, PartialEq)]
pub struct MemoryConfig {
    pub target: Option<f64>,
    pub spill: Option<f64>,
    pub pause: Option<f64>,
    pub terminate: Option<f64>,
    pub transfer: Option<f64>,
    pub max_spill_bytes: Option<u64>,
    pub monitor_interval: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub struct LifetimeConfig {
    pub duration: Option<Duration>,
    pub stagger: Duration,
    pub restart: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct CommConfig {
    pub connect_timeout: Duration,
    /// How long a silent connection counts as alive.
    pub tcp_timeout: Option<Duration>,
    pub require_encryption: Option<bool>,
    /// Certificates and keys are paths, or PEM text itself.
    pub authority: Option<String>,
    pub certificate: Option<String>,
    pub key: Option<String>,
    pub oldest_version: TlsVersion,
    pub newest_version: TlsVersion,
}

impl DaskConfig {
    pub fn read(tree: &Tree) -> Result<Self, Vec<BadValue>> {
        let mut reader = Reader::new(tree);
        let r = &mut reader;
        let worker = |name: &str| format!("distributed.worker.{name}");
        let config = Self {
            scheduler_address: r.optional_text("scheduler-address"),
            temporary_directory: r.optional_text("temporary-directory"),
            file_locks: r.flag(&worker("use-file-locking"), true),
            memory: memory(r),
            outgoing_connections: r.size(&worker("connections.outgoing"), 50),
            incoming_connections: r.size(&worker("connections.incoming"), 10),
            message_bytes_limit: r.bytes(&worker("transfer.message-bytes-limit"), 50_000_000),
            resources: r.entries(&worker("resources"), read::number),
            lifetime: LifetimeConfig {
                duration: r.optional_duration(&worker("lifetime.duration"), None),
                stagger: r
                    .optional_duration(&worker("lifetime.stagger"), None)
                    .unwrap_or_default(),
                restart: r.flag(&worker("lifetime.restart"), false),
            },
            preload: r.texts(&worker("preload")).unwrap_or_default(),
            preload_argv: r.texts(&worker("preload-argv")).unwrap_or_default(),
            preload_nanny: r.texts("distributed.nanny.preload").unwrap_or_default(),
            preload_nanny_argv: r
                .texts("distributed.nanny.preload-argv")
                .unwrap_or_default(),
            environment: environment(r),
            worker_ttl: r.optional_duration(
                "distributed.scheduler.worker-ttl",
                Some(Duration::from_secs(300)),
            ),
            default_data_size: r.bytes("distributed.scheduler.default-data-size", 1024),
            low_level_log_length: r.size("distributed.admin.low-level-log-length", 1_000),
            log_length: r.size("distributed.admin.log-length", 10_000),
            comm: comm(r),
            prometheus_namespace: r
                .optional_text_or("distributed.dashboard.prometheus.namespace", "dask"),
        };
        let bad = reader.finish();
        if bad.is_empty() { Ok(config) } else { Err(bad) }
    }
}

fn memory(r: &mut Reader<'_>) -> MemoryConfig {
    let mut share = |name: &str, default: f64| {
        let key = format!("distributed.worker.memory.{name}");
        r.read(&key, Some(default), |raw| match raw {
            Raw::Null | Raw::Bool(false) => Ok(None),
            raw => match read::number(raw)? {
                share if (0.0..=1.0).contains(&share) => Ok((share > 0.0).then_some(share)),
                _ => Err("it must lie between 0 and 1, or be false".to_owned()),
            },
        })
    };
    MemoryConfig {
        target: share("target", 0.60),
        spill: share("spill", 0.70),
        pause: share("pause", 0.80),
        terminate: share("terminate", 0.95),
        transfer: share("transfer", 0.10),
        max_spill_bytes: r.read(
            "distributed.worker.memory.max-spill",
            None,
            |raw| match raw {
                Raw::Null | Raw::Bool(false) => Ok(None),
                raw => read::bytes(raw).map(Some),
            },
        ),
        monitor_interval: r.duration(
            "distributed.worker.memory.monitor-interval",
            Duration::from_millis(100),
        ),
    }
}

fn environment(r: &mut Reader<'_>) -> Vec<(String, String)> {
    let value = |raw: &Raw| match raw {
        Raw::Null => Ok(None),
        raw => read::text(raw).map(Some),
    };
    let mut entries = r.entries("distributed.nanny.pre-spawn-environ", value);
    entries.extend(r.entries("distributed.nanny.environ", value));
    let set = entries.into_iter();
    set.filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

fn comm(r: &mut Reader<'_>) -> CommConfig {
    let seconds = Duration::from_secs;
    let tls = |name: &str| format!("distributed.comm.tls.{name}");
    CommConfig {
        connect_timeout: r.duration("distributed.comm.timeouts.connect", seconds(30)),
        tcp_timeout: r.optional_duration("distributed.comm.timeouts.tcp", Some(seconds(30))),
        require_encryption: r.optional("distributed.comm.require-encryption", read::flag),
        authority: r.optional_text(&tls("ca-file")),
        certificate: r.optional_text(&tls("worker.cert")),
        key: r.optional_text(&tls("worker.key")),
        oldest_version: tls_version(r, &tls("min-version")).unwrap_or(TlsVersion::Tls12),
        newest_version: tls_version(r, &tls("max-version")).unwrap_or(TlsVersion::Tls13),
    }
}

fn tls_version(r: &mut Reader<'_>, key: &str) -> Option<TlsVersion> {
    r.optional(key, |raw| read::number(raw)?.try_into())
}
