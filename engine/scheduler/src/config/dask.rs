//! Dask's configuration as far as a scheduler goes by it, with Dask's defaults.
//!
//! Owns the names of the keys and their defaults. Keys that are not here are everyone else's, or belong to what this
//! scheduler does not have yet (stealing, locks, profiles), and pass unread. Invariant: a value that was accepted is
//! usable as it is.

use std::time::Duration;

use transport::TlsVersion;

use configuration::read::{self, BadValue, Reader};
use configuration::tree::{Raw, Tree};

const KIB: u64 = 1024;

#[derive(Debug, Clone, PartialEq)]
pub struct DaskConfig {
    pub scheduler: SchedulerConfig,
    pub worker_memory: WorkerMemoryConfig,
    pub comm: CommConfig,
    pub adaptive_target_duration: Duration,
    pub admin: AdminConfig,
    /// What metric names begin with; empty for nothing.
    pub prometheus_namespace: String,
}

#[derive(Debug, Clone, PartialEq)]
pub struct SchedulerConfig {
    pub allowed_failures: u32,
    pub bandwidth_bytes: u64,
    /// Operations that are refused.
    pub blocked_handlers: Vec<String>,
    pub contact_address: Option<String>,
    pub default_data_size_bytes: u64,
    pub events_cleanup_delay: Duration,
    pub idle_timeout: Option<Duration>,
    pub no_workers_timeout: Option<Duration>,
    /// Infinity switches queuing off.
    pub worker_saturation: f64,
    pub rootish_taskgroup: usize,
    pub rootish_taskgroup_dependencies: usize,
    pub worker_ttl: Option<Duration>,
    pub unknown_task_duration: Duration,
    pub default_task_durations: Vec<(String, Duration)>,
    /// Walk the core's invariants after every event.
    pub validate: bool,
    pub preload: Vec<String>,
    pub preload_argv: Vec<String>,
    /// How often the active memory manager looks.
    pub memory_manager_interval: Duration,
    pub dashboard_tls: DashboardTls,
}

/// TLS of the HTTP server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DashboardTls {
    pub certificate: Option<String>,
    pub key: Option<String>,
}

/// What of the workers' memory settings the scheduler goes by.
#[derive(Debug, Clone, PartialEq)]
pub struct WorkerMemoryConfig {
    pub recent_to_old_time: Duration,
    /// Whether workers end above a limit: a task whose inputs fit none is then refused.
    pub terminates: bool,
    pub rebalance_measure: String,
    pub rebalance_sender_min: f64,
    pub rebalance_recipient_max: f64,
    pub rebalance_sender_recipient_gap: f64,
}

#[derive(Debug, Clone, PartialEq)]
pub struct CommConfig {
    /// Compression offered to peers; none by default.
    pub compression: Option<String>,
    pub default_scheme: String,
    pub socket_backlog: u32,
    /// Longest message a peer may send, a key of our own; none is without limit, as in Dask.
    pub message_bytes_limit: Option<u64>,
    pub connect_timeout: Duration,
    /// How long a silent connection counts as alive.
    pub tcp_timeout: Option<Duration>,
    pub require_encryption: Option<bool>,
    pub tls: TlsConfig,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    pub authority: Option<String>,
    pub certificate: Option<String>,
    pub key: Option<String>,
    pub ciphers: Option<String>,
    pub oldest_version: TlsVersion,
    pub newest_version: TlsVersion,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminConfig {
    /// How many log lines are kept for `get_logs`.
    pub log_length: usize,
    pub low_level_log_length: usize,
    pub system_monitor_interval: Duration,
}

impl DaskConfig {
    pub fn read(tree: &Tree) -> Result<Self, Vec<BadValue>> {
        let mut reader = Reader::new(tree);
        let r = &mut reader;
        let config = Self {
            scheduler: scheduler(r),
            worker_memory: worker_memory(r),
            comm: comm(r),
            adaptive_target_duration: r.duration(
                "distributed.adaptive.target-duration",
                Duration::from_secs(5),
            ),
            admin: admin(r),
            prometheus_namespace: r
                .optional_text_or("distributed.dashboard.prometheus.namespace", "dask"),
        };
        let bad = reader.finish();
        if bad.is_empty() { Ok(config) } else { Err(bad) }
    }
}

fn scheduler(r: &mut Reader<'_>) -> SchedulerConfig {
    let seconds = Duration::from_secs;
    SchedulerConfig {
        allowed_failures: r.count("distributed.scheduler.allowed-failures", 3) as u32,
        bandwidth_bytes: r.bytes("distributed.scheduler.bandwidth", 100_000_000),
        blocked_handlers: list(r, "distributed.scheduler.blocked-handlers"),
        contact_address: r.optional_text("distributed.scheduler.contact-address"),
        default_data_size_bytes: r.bytes("distributed.scheduler.default-data-size", KIB),
        events_cleanup_delay: r
            .duration("distributed.scheduler.events-cleanup-delay", seconds(3600)),
        idle_timeout: r.optional_duration("distributed.scheduler.idle-timeout", None),
        no_workers_timeout: r.optional_duration("distributed.scheduler.no-workers-timeout", None),
        worker_saturation: r.read("distributed.scheduler.worker-saturation", 1.1, saturation),
        rootish_taskgroup: r.size("distributed.scheduler.rootish-taskgroup", 5),
        rootish_taskgroup_dependencies: r
            .size("distributed.scheduler.rootish-taskgroup-dependencies", 5),
        worker_ttl: r.optional_duration("distributed.scheduler.worker-ttl", Some(seconds(300))),
        unknown_task_duration: r.duration(
            "distributed.scheduler.unknown-task-duration",
            Duration::from_millis(500),
        ),
        default_task_durations: task_durations(r),
        validate: r.flag("distributed.scheduler.validate", false),
        preload: list(r, "distributed.scheduler.preload"),
        preload_argv: list(r, "distributed.scheduler.preload-argv"),
        memory_manager_interval: r.duration(
            "distributed.scheduler.active-memory-manager.interval",
            seconds(2),
        ),
        dashboard_tls: DashboardTls {
            certificate: r.optional_text("distributed.scheduler.dashboard.tls.cert"),
            key: r.optional_text("distributed.scheduler.dashboard.tls.key"),
        },
    }
}

fn worker_memory(r: &mut Reader<'_>) -> WorkerMemoryConfig {
    const KEY: &str = "distributed.worker.memory";
    WorkerMemoryConfig {
        recent_to_old_time: r.duration(
            &format!("{KEY}.recent-to-old-time"),
            Duration::from_secs(30),
        ),
        terminates: r.read(&format!("{KEY}.terminate"), true, |raw| match raw {
            Raw::Null | Raw::Bool(false) => Ok(false),
            raw => read::number(raw).map(|share| share != 0.0),
        }),
        rebalance_measure: measure(r, &format!("{KEY}.rebalance.measure")),
        rebalance_sender_min: r.share(&format!("{KEY}.rebalance.sender-min"), 0.3),
        rebalance_recipient_max: r.share(&format!("{KEY}.rebalance.recipient-max"), 0.6),
        rebalance_sender_recipient_gap: r
            .share(&format!("{KEY}.rebalance.sender-recipient-gap"), 0.1),
    }
}

fn comm(r: &mut Reader<'_>) -> CommConfig {
    let seconds = Duration::from_secs;
    CommConfig {
        compression: r.read("distributed.comm.compression", None, compression),
        default_scheme: r.text("distributed.comm.default-scheme", "tcp"),
        socket_backlog: r.count("distributed.comm.socket-backlog", 2048) as u32,
        message_bytes_limit: r.optional("daskjob.comm.message-bytes-limit", read::bytes),
        connect_timeout: r.duration("distributed.comm.timeouts.connect", seconds(30)),
        tcp_timeout: r.optional_duration("distributed.comm.timeouts.tcp", Some(seconds(30))),
        require_encryption: r.optional("distributed.comm.require-encryption", read::flag),
        tls: TlsConfig {
            authority: r.optional_text("distributed.comm.tls.ca-file"),
            certificate: r.optional_text("distributed.comm.tls.scheduler.cert"),
            key: r.optional_text("distributed.comm.tls.scheduler.key"),
            ciphers: r.optional_text("distributed.comm.tls.ciphers"),
            oldest_version: tls_version(r, "distributed.comm.tls.min-version")
                .unwrap_or(TlsVersion::Tls12),
            newest_version: tls_version(r, "distributed.comm.tls.max-version")
                .unwrap_or(TlsVersion::Tls13),
        },
    }
}

fn admin(r: &mut Reader<'_>) -> AdminConfig {
    AdminConfig {
        log_length: r.size("distributed.admin.log-length", 10_000),
        low_level_log_length: r.size("distributed.admin.low-level-log-length", 1_000),
        system_monitor_interval: r.duration(
            "distributed.admin.system-monitor.interval",
            Duration::from_millis(500),
        ),
    }
}

fn list(r: &mut Reader<'_>, key: &str) -> Vec<String> {
    r.texts(key).unwrap_or_default()
}

fn measure(r: &mut Reader<'_>, key: &str) -> String {
    const KNOWN: [&str; 4] = ["process", "optimistic", "managed", "managed_total"];
    r.read(key, "optimistic".to_owned(), |raw| {
        let text = read::text(raw)?;
        if KNOWN.contains(&text.as_str()) {
            Ok(text)
        } else {
            Err(format!("it must be one of {}", KNOWN.join(", ")))
        }
    })
}

/// Dask's own durations and the user's; the user's win.
fn task_durations(r: &mut Reader<'_>) -> Vec<(String, Duration)> {
    const OWN: [&str; 4] = [
        "rechunk-split",
        "split-shuffle",
        "split-taskshuffle",
        "split-stage",
    ];
    let mut durations = r.entries(
        "distributed.scheduler.default-task-durations",
        read::duration,
    );
    for name in OWN {
        if !durations.iter().any(|(known, _)| known == name) {
            durations.push((name.to_owned(), Duration::from_micros(1)));
        }
    }
    durations
}

fn saturation(raw: &Raw) -> Result<f64, String> {
    match read::number(raw)? {
        saturation if saturation > 0.0 => Ok(saturation),
        _ => Err("it must be greater than 0, or \"inf\"".to_owned()),
    }
}

fn compression(raw: &Raw) -> Result<Option<String>, String> {
    match raw {
        Raw::Null | Raw::Bool(false) => Ok(None),
        Raw::Text(text) => match text.to_lowercase().as_str() {
            "auto" | "lz4" | "zstd" | "snappy" | "zlib" => Ok(Some(text.to_lowercase())),
            _ => Err("it must be false, auto or the name of a compression".to_owned()),
        },
        _ => Err("it must be false, auto or the name of a compression".to_owned()),
    }
}

fn tls_version(r: &mut Reader<'_>, key: &str) -> Option<TlsVersion> {
    r.optional(key, |raw| read::number(raw)?.try_into())
}
