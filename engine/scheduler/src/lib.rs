//! The scheduler program: connections, RPC handlers and HTTP around the pure core.
//!
//! `core_loop` owns the core and is the only one who touches it. `server` accepts connections; `streams` carries the
//! long-lived ones of clients and workers, `rpc` answers requests, `graph` opens graphs in helper processes, `http`
//! shows what the core knows. `program` starts and ends it all.

mod actions;
pub mod args;
mod clock;
pub mod config;
mod context;
mod core_loop;
mod encode;
mod endpoints;
mod files;
mod graph;
mod http;
mod mismatch;
mod plugins;
mod program;
mod registration;
mod rpc;
mod server;
mod streams;
mod uploads;

pub use args::SchedulerArgs;
use config::Config;
use std::process::ExitCode;
use std::time::Duration;
use tracing::error;

/// How long tasks that still run at the end have to stop.
const LAST_TASKS: Duration = Duration::from_secs(1);

/// Threads that carry connections; the core needs one of them at a time.
const THREADS: usize = 2;

/// Runs a scheduler with these flags until it is told to end. Everything it has to say goes to the log.
pub fn main(args: &SchedulerArgs) -> ExitCode {
    let settings = telemetry::Settings {
        format: args.log_format,
        filter: args.log.clone().unwrap_or_default(),
    };
    if let Err(failure) = telemetry::set_up(&settings) {
        eprintln!("failed to {failure}");
        return ExitCode::FAILURE;
    }
    let config = match Config::of_process(args) {
        Ok(config) => config,
        Err(refusal) => {
            eprintln!("failed to {refusal}");
            return ExitCode::from(contract::exit_code::REFUSED);
        }
    };
    if let Some(Err(failure)) = args.end_with_parent.map(transport::end_with_parent) {
        error!("failed to watch the process that started this one: {failure}");
        return ExitCode::FAILURE;
    }
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            error!("failed to {failure:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(config: Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(program::run(config));
    // Connections end here; what they hold (helpers, their directory) goes with them.
    runtime.shutdown_timeout(LAST_TASKS);
    outcome
}
