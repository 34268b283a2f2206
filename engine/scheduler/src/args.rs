//! The flags of the scheduler program: those of `dask scheduler` by the same names, and a few of our own.
//!
//! Owns names, help texts and what clap can refuse by itself; what the values mean together with Dask's configuration
//! is `config`'s to say.

use std::path::PathBuf;

use clap::{ArgAction, Args};

/// Launch a Dask scheduler.
///
/// Every flag of `dask scheduler` is known by the same name, and Dask's configuration (YAML files and `DASK_…`
/// variables) is read as Dask reads it; a flag wins over both.
#[derive(Debug, Clone, Args)]
#[command(version, args_override_self = true)]
pub struct SchedulerArgs {
    /// Address to listen on: an IP, a host name, or a URI such as tls://0.0.0.0:8786
    #[arg(
        long,
        value_name = "HOST",
        default_value = "",
        hide_default_value = true
    )]
    pub host: String,

    /// Port to listen on [default: 8786]; 0 takes a free one, 8786:8790 the first free one of a range. A comma
    /// separates one for each protocol
    #[arg(long, value_name = "PORT")]
    pub port: Option<String>,

    /// Network interface to listen on, like eth0 or ib0
    #[arg(long, value_name = "NAME")]
    pub interface: Option<String>,

    /// tcp or tls [default: tcp, or tls where encryption is required]. A comma separates several
    #[arg(long, value_name = "PROTOCOL")]
    pub protocol: Option<String>,

    /// File with the certificates of the authority that signed everyone's (PEM)
    #[arg(long, value_name = "FILE")]
    pub tls_ca_file: Option<PathBuf>,

    /// File with this scheduler's certificate (PEM)
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// File with the certificate's private key (PEM)
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// Where to answer HTTP: status page, /health, /metrics, /json, /api/v1. A busy port is replaced by a free one;
    /// a comma separates several addresses
    #[arg(long, value_name = "ADDRESS", default_value = ":8787")]
    pub dashboard_address: String,

    /// Answer HTTP with a status page (the default)
    #[arg(long, overrides_with = "no_dashboard")]
    pub dashboard: bool,

    /// Leave out the status page; /health, /metrics, /json and /api/v1 are answered all the same, as in stock Dask
    #[arg(long)]
    pub no_dashboard: bool,

    /// Start a Jupyter server too: not supported, refused
    #[arg(long, overrides_with = "no_jupyter", hide_short_help = true)]
    pub jupyter: bool,

    /// Start no Jupyter server (the default)
    #[arg(long, hide_short_help = true)]
    pub no_jupyter: bool,

    /// Has no effect, as in Dask
    #[arg(long, hide = true, overrides_with = "no_show")]
    pub show: bool,

    /// Has no effect, as in Dask
    #[arg(long, hide = true)]
    pub no_show: bool,

    /// Prefix for every HTTP path, for a proxy that passes paths on unchanged
    #[arg(
        long,
        value_name = "PREFIX",
        default_value = "",
        hide_default_value = true
    )]
    pub dashboard_prefix: String,

    /// Has no effect, as in Dask
    #[arg(long, hide = true, value_name = "BOOLEAN", action = ArgAction::Set)]
    pub use_xheaders: Option<String>,

    /// File to write the process id to; removed at the end
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,

    /// File to write the scheduler's address and identity to (JSON), for others to find it by; removed at the end
    #[arg(long, value_name = "FILE")]
    pub scheduler_file: Option<PathBuf>,

    /// Python module or file ("foo.bar", "/path/to/foo.py") to load; repeat for several. It is loaded in the Python
    /// process that opens graphs, beside the scheduler: its imports and its dask_setup(scheduler) run there
    #[arg(long, value_name = "MODULE")]
    pub preload: Vec<String>,

    /// End after this long without work, like 300 or "5 minutes"
    #[arg(long, value_name = "DURATION")]
    pub idle_timeout: Option<String>,

    /// Python interpreter that opens graphs; it needs the dask and distributed of the users
    /// [default: python3, then python, on PATH]
    #[arg(long, value_name = "PATH", env = contract::environment::PYTHON, hide_env_values = true)]
    pub python: Option<PathBuf>,

    /// How long opening one graph may take before that graph fails, like "10 minutes"
    #[arg(long, value_name = "DURATION", default_value = "10 minutes")]
    pub graph_time_limit: String,

    /// How much memory a Python process that opens graphs may take before the graph it opens fails, like 4GiB; 0 is no
    /// limit [default: 60% of the memory of this machine or container]
    #[arg(long, value_name = "BYTES")]
    pub graph_memory_limit: Option<String>,

    /// End when the process with this number, which started this one, is gone
    #[arg(long, value_name = "PID", hide_short_help = true)]
    pub end_with_parent: Option<u32>,

    /// What to log: error, warn, info, debug, trace, or by module such as scheduler=debug,info [default: info]
    #[arg(long, value_name = "FILTER", env = contract::environment::LOG, hide_env_values = true)]
    pub log: Option<String>,

    /// Shape of log lines: text or json
    #[arg(long, value_name = "FORMAT", env = contract::environment::LOG_FORMAT, hide_env_values = true, default_value = "text")]
    pub log_format: telemetry::Format,

    /// Arguments for the preloaded modules, after all flags of the scheduler
    #[arg(value_name = "PRELOAD_ARGV", allow_hyphen_values = true, num_args = 0..)]
    pub preload_argv: Vec<String>,
}
