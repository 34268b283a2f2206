//! The worker program: connections, an executor process, disk and memory around the pure core.
//!
//! `supervisor` carries a worker through its lives, `living` is the course of one, `ending` its end, `life` what its tasks
//! share and `directory` where it keeps files; `nanny` is its second address and `nanny_python` what users run there.
//! `machine` owns the core and is the only one who touches it; `actions` and `heard` are what the core wants and what the
//! executor says. `executor` is the process beside, `server`, `outgoing`, `replicas` and `peers` the connections with others,
//! `values` and `spill` what is kept here, `watch` and `heartbeat` what happens on time, `http`, `termination` and `logs` what
//! deployments and clients read, `guard` what a first process of a container does.

mod actions;
pub mod args;
mod clock;
pub mod config;
mod directory;
mod ending;
mod errors;
mod executor;
mod guard;
mod heard;
mod heartbeat;
mod http;
mod life;
mod living;
mod logs;
mod machine;
mod measure;
mod nanny;
mod nanny_python;
mod outgoing;
mod peers;
mod program;
mod registration;
mod replicas;
mod requests;
mod server;
mod spill;
mod streams;
mod supervisor;
mod termination;
mod values;
mod watch;

pub use args::WorkerArgs;
use config::Config;
use std::process::ExitCode;
use tracing::error;

/// Runs workers with these flags until they are told to end. Everything they have to say goes to the log.
pub fn main(args: &WorkerArgs) -> ExitCode {
    let settings = telemetry::Settings {
        format: args.log_format,
        filter: args.log.clone().unwrap_or_default(),
    };
    if let Err(failure) = telemetry::set_up(&settings) {
        eprintln!("failed to {failure}");
        return ExitCode::FAILURE;
    }
    return_large_buffers();
    let config = match Config::of_process(args) {
        Ok(config) => config,
        Err(refusal) => {
            eprintln!("failed to {refusal}");
            termination::leave_config_error(&args.termination_log, &refusal.to_string());
            return ExitCode::from(contract::exit_code::REFUSED);
        }
    };
    if let Some(Err(failure)) = args.end_with_parent.map(transport::end_with_parent) {
        error!("failed to watch the process that started this one: {failure}");
        return ExitCode::FAILURE;
    }
    match program::run(config) {
        Ok(code) => code,
        Err(failure) => {
            error!("failed to {failure:#}");
            ExitCode::from(termination::leave_failure(&args.termination_log, &failure))
        }
    }
}

/// Has the allocator give a large buffer back to the system when it is freed, however many there were before.
fn return_large_buffers() {
    #[cfg(target_env = "gnu")]
    {
        const LARGE_BYTES: libc::c_int = 256 * 1024;
        // SAFETY: called before there is another thread; it changes a number of the allocator.
        let _accepted = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE_BYTES) };
    }
}

/// Sixteen letters and digits that nobody else has.
fn random_word() -> String {
    random_uuid().replace('-', "")[..16].to_owned()
}

/// From 0 to 1.
fn random_share() -> f64 {
    let digits = u32::from_str_radix(&random_word()[..8], 16);
    f64::from(digits.unwrap_or(0)) / f64::from(u32::MAX)
}

fn random_uuid() -> String {
    let uuid = std::fs::read_to_string("/proc/sys/kernel/random/uuid");
    uuid.map_or_else(
        |_| format!("{:016x}{:016x}", clock::now().0, std::process::id()),
        |uuid| uuid.trim().to_owned(),
    )
}
