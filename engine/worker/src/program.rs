//! Starts what the flags ask for and ends it: one thread for all workers, signals, the pid file.

use crate::config::Config;
use crate::guard::Guard;
use crate::life::End;
use crate::nanny::Nanny;
use crate::supervisor::{Outcome, Supervisor, find_scheduler};
use crate::termination;
use anyhow::Context as _;
use std::convert::Infallible;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::{JoinSet, LocalSet};
use tracing::{error, info};

struct PidFile(PathBuf);

impl Drop for PidFile {
    fn drop(&mut self) {
        // Somebody may have removed it before us, which is what we want.
        let _gone = std::fs::remove_file(&self.0);
    }
}

/// Until all workers are over.
pub fn run(config: Config) -> anyhow::Result<ExitCode> {
    telemetry::recent::keep(config.log_length);
    let pid_file = config.pid_file.clone();
    let _pid_file = match pid_file {
        Some(path) => {
            std::fs::write(&path, std::process::id().to_string())
                .with_context(|| format!("write {}", path.display()))?;
            Some(PidFile(path))
        }
        None => None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let all = LocalSet::new();
    let outcome = all.block_on(&runtime, supervise(Rc::new(config)));
    drop(all);
    runtime.shutdown_background();
    outcome
}

async fn supervise(config: Rc<Config>) -> anyhow::Result<ExitCode> {
    // First of all: for process 1 a signal that is not taken does nothing.
    let mut signals = Signals::take()?;
    let scheduler = tokio::select! {
        found = find_scheduler(&config) => found?,
        reason = signals.next() => {
            info!(reason, "nothing has begun yet");
            return Ok(ExitCode::SUCCESS);
        }
    };
    let guard = Guard::new();
    let mut workers = JoinSet::new();
    let mut nannies = Vec::new();
    for number in 0..config.workers {
        let name = config.name.as_ref().map(|name| match config.workers {
            1 => name.clone(),
            _ => format!("{name}-{number}"),
        });
        let supervisor = Supervisor::new(&config, name, scheduler.clone(), Rc::clone(&guard));
        nannies.push(Rc::clone(&supervisor.nanny));
        workers.spawn_local(supervisor.run());
    }
    let code = tokio::select! {
        code = all_over(&mut workers) => code?,
        never = end_in_time(&config, &nannies, signals) => match never {},
        never = guard.watch(&config, &nannies) => match never {},
    };
    if code == ExitCode::SUCCESS {
        guard.ends_well(&config);
    }
    Ok(code)
}

/// What ends the program from outside.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn take() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("wait for SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("wait for SIGTERM")?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "signal SIGINT",
            _ = self.terminate.recv() => "signal SIGTERM",
        }
    }
}

async fn all_over(workers: &mut JoinSet<anyhow::Result<Outcome>>) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    while let Some(ended) = workers.join_next().await {
        match ended.context("run a worker")?? {
            Outcome::Closed => {}
            Outcome::OutOfMemory { cause } => {
                error!(cause, "the worker ends, for memory has run out");
                return Ok(ExitCode::from(termination::KILLED));
            }
            Outcome::Lost { cause } => {
                error!(cause, "the worker ends with its Python process");
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

/// A signal ends workers politely, a second one at once.
async fn end_in_time(config: &Config, nannies: &[Rc<Nanny>], mut signals: Signals) -> Infallible {
    let mut is_urgent = config.drain_timeout.is_zero();
    loop {
        let reason = signals.next().await;
        info!(reason, "the workers end");
        for nanny in nannies {
            let reason = reason.to_owned();
            nanny.finish(match is_urgent {
                true => End::Close { reason },
                false => End::Retire {
                    reason,
                    again: false,
                },
            });
        }
        is_urgent = true;
    }
}
