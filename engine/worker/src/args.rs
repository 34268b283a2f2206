//! The flags of the worker program: those of `dask worker` by the same names, and a few of our own.
//!
//! Owns names, help texts and what clap can refuse by itself; what the values mean is `config`'s to say. Flags that are not
//! served yet are known, so that they are refused by name.

use clap::Args;
use std::path::PathBuf;

/// Launch a Dask worker: it runs tasks in a Python process of its own, which is replaced when it dies.
#[derive(Debug, Clone, Default, Args)]
#[command(version, args_override_self = true)]
pub struct WorkerArgs {
    /// Address of the scheduler, such as tcp://10.0.0.1:8786 [default: DASK_SCHEDULER_ADDRESS]
    #[arg(value_name = "SCHEDULER")]
    pub scheduler: Option<String>,

    /// Arguments for the preloaded modules, behind the address
    #[arg(value_name = "PRELOAD_ARGV", allow_hyphen_values = true, num_args = 0..)]
    pub preload_argv: Vec<String>,

    /// File with the scheduler's address (JSON, written by the scheduler); waited for
    #[arg(long, value_name = "FILE")]
    pub scheduler_file: Option<PathBuf>,

    /// File with the certificates of the authority that signed everyone's (PEM)
    #[arg(long, value_name = "FILE")]
    pub tls_ca_file: Option<PathBuf>,

    /// File with this worker's certificate (PEM)
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// File with the certificate's private key (PEM)
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<PathBuf>,

    /// Port to listen on, or a range such as 3000:3026 [default: a free one]
    #[arg(long, value_name = "PORT")]
    pub worker_port: Option<String>,

    /// Port of the nanny, or a range [default: a free one]
    #[arg(long, value_name = "PORT")]
    pub nanny_port: Option<String>,

    /// Where to answer HTTP (/health, /metrics): :PORT or HOST:PORT; a busy port is replaced by a free one
    #[arg(long, value_name = "ADDRESS", default_value = ":0")]
    pub dashboard_address: String,

    /// Answer HTTP (the default); there is no page of a dashboard
    #[arg(long, overrides_with = "no_dashboard", hide_short_help = true)]
    pub dashboard: bool,

    /// Has no effect: there is no page of a dashboard, and /health and /metrics are answered all the same, as in stock Dask
    #[arg(long)]
    pub no_dashboard: bool,

    /// Prefix of all paths of HTTP; without it they are answered too
    #[arg(long, value_name = "PREFIX", hide_short_help = true)]
    pub dashboard_prefix: Option<String>,

    /// Address to listen on with its port, such as tcp://0.0.0.0:9000, where others connect to another one (--contact-address)
    #[arg(long, value_name = "ADDRESS")]
    pub listen_address: Option<String>,

    /// Address others connect to, such as tcp://10.0.0.1:4000
    #[arg(long, value_name = "ADDRESS")]
    pub contact_address: Option<String>,

    /// Address to listen on: an IP or a host name [default: every address, of IPv4 and IPv6; others are told the one that
    /// leads to the scheduler]
    #[arg(long, value_name = "HOST")]
    pub host: Option<String>,

    /// Network interface to listen on, like eth0 or ib0
    #[arg(long, value_name = "NAME")]
    pub interface: Option<String>,

    /// tcp or tls [default: the scheduler's]
    #[arg(long, value_name = "PROTOCOL")]
    pub protocol: Option<String>,

    /// Threads of each worker; 0 is as many as there are cores, shared between the workers
    #[arg(long, value_name = "COUNT", default_value = "0")]
    pub nthreads: usize,

    /// How many workers to run; below 0 that many less than there are cores, and one more; auto chooses threads too
    #[arg(
        long,
        value_name = "COUNT",
        default_value = "1",
        allow_hyphen_values = true
    )]
    pub nworkers: String,

    /// Name of the worker; several get -0, -1 … behind it [default: its address]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,

    /// Memory of each worker: bytes, "5 GiB", a fraction of the machine's such as 0.5, auto, or 0 for no limit
    #[arg(long, value_name = "BYTES", default_value = "auto")]
    pub memory_limit: String,

    /// Replace a Python process that has died (the default)
    #[arg(long, overrides_with = "no_nanny")]
    pub nanny: bool,

    /// End when the Python process has died
    #[arg(long)]
    pub no_nanny: bool,

    /// File to write the process id to; removed at the end
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,

    /// Directory for the worker's files; what workers that were killed left there is removed, stock's too
    #[arg(long, value_name = "DIRECTORY")]
    pub local_directory: Option<PathBuf>,

    /// Abstract resources, such as "GPU=2 MEM=10e9"
    #[arg(long, value_name = "RESOURCES")]
    pub resources: Option<String>,

    /// How long to wait for a scheduler before giving up, like 60 or "5 minutes"
    #[arg(long, value_name = "DURATION")]
    pub death_timeout: Option<String>,

    /// End, having handed everything over, after so long
    #[arg(long, value_name = "DURATION")]
    pub lifetime: Option<String>,

    /// Draw each lifetime anew, up to so much longer or shorter
    #[arg(long, value_name = "DURATION")]
    pub lifetime_stagger: Option<String>,

    /// Begin again at the end of the lifetime
    #[arg(long, overrides_with = "no_lifetime_restart")]
    pub lifetime_restart: bool,

    /// End at the end of the lifetime (the default)
    #[arg(long)]
    pub no_lifetime_restart: bool,

    /// Class of the worker: not served, refused
    #[arg(long, value_name = "CLASS", hide_short_help = true)]
    pub worker_class: Option<String>,

    /// Python module or file to load in the Python process; repeat for several
    #[arg(long, value_name = "MODULE")]
    pub preload: Vec<String>,

    /// Python module or file to load in the nanny, which has a Python process of its own then; repeat for several
    #[arg(long, value_name = "MODULE")]
    pub preload_nanny: Vec<String>,

    /// Name of the scheduler in its certificate
    #[arg(long, value_name = "NAME")]
    pub scheduler_sni: Option<String>,

    /// How long tasks may go on and values be handed over after SIGTERM; the worker is gone 2 s later at the latest
    /// [default: 30 s; 0 ends at once, as stock does]
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    pub drain_timeout: String,

    /// How long the Python process may be silent, as in a C call that keeps the interpreter's lock, before it counts as
    /// hanging and is replaced; 0 never [default: distributed.scheduler.worker-ttl, 5 minutes]
    #[arg(long, value_name = "DURATION")]
    pub hang_timeout: Option<String>,

    /// End as soon as memory has run out, instead of going on with another Python process
    #[arg(long)]
    pub end_when_out_of_memory: bool,

    /// File to leave the cause in when the Python process is lost or cannot be started; it must be there
    #[arg(long, value_name = "FILE", default_value = contract::termination::PATH)]
    pub termination_log: PathBuf,

    /// Python interpreter that runs tasks; it needs the dask and distributed of the users
    /// [default: python3, then python, on PATH]
    #[arg(long, value_name = "PATH", env = contract::environment::PYTHON, hide_env_values = true)]
    pub python: Option<PathBuf>,

    /// End when the process with this number, which started this one, is gone
    #[arg(long, value_name = "PID", hide_short_help = true)]
    pub end_with_parent: Option<u32>,

    /// Of what Dask says in the Python process, only this level of Python's logging and above goes to stderr, such as 30 for
    /// warnings; clients that ask for logs get the rest too; 0 is all
    #[arg(long, value_name = "LEVEL", hide_short_help = true)]
    pub silence_logs: Option<u32>,

    /// What to log: error, warn, info, debug, trace, or by module such as worker=debug,info [default: info]
    #[arg(long, value_name = "FILTER", env = contract::environment::LOG, hide_env_values = true)]
    pub log: Option<String>,

    /// Shape of log lines: text or json
    #[arg(long, value_name = "FORMAT", env = contract::environment::LOG_FORMAT, hide_env_values = true, default_value = "text")]
    pub log_format: telemetry::Format,
}
