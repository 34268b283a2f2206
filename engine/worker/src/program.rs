//! Starts what the flags ask for and ends it: one thread for all workers, signals, the pid file.

use crate::config::Config;
use crate::life::End;
use crate::nanny::Nanny;
use crate::supervisor::{Outcome, Supervisor, find_scheduler};
use anyhow::Context as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;
use tokio::signal::unix::{SignalKind, signal};
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
    let scheduler = find_scheduler(&config).await?;
    let mut workers = JoinSet::new();
    let mut nannies = Vec::new();
    for number in 0..config.workers {
        let name = config.name.as_ref().map(|name| match config.workers {
            1 => name.clone(),
            _ => format!("{name}-{number}"),
        });
        let supervisor = Supervisor::new(&config, name, scheduler.clone());
        nannies.push(Rc::clone(&supervisor.nanny));
        workers.spawn_local(supervisor.run());
    }
    let ending = end_in_time(&config, &nannies);
    tokio::select! {
        code = all_over(&mut workers) => code,
        failure = ending => failure.map(|()| ExitCode::SUCCESS),
    }
}

async fn all_over(workers: &mut JoinSet<anyhow::Result<Outcome>>) -> anyhow::Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    while let Some(ended) = workers.join_next().await {
        match ended.context("run a worker")?? {
            Outcome::Closed => {}
            Outcome::Lost { cause } => {
                error!(cause, "the worker ends with its Python process");
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}

/// Signals and the lifetime end workers politely; a second signal ends them at once. Returns only if signals cannot be had.
async fn end_in_time(config: &Config, nannies: &[Rc<Nanny>]) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt()).context("wait for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("wait for SIGTERM")?;
    let lifetime = async {
        match config.lifetime {
            Some(lifetime) => tokio::time::sleep(lifetime).await,
            None => std::future::pending().await,
        }
    };
    let mut lifetime = std::pin::pin!(lifetime);
    let mut is_over = false;
    let mut is_urgent = config.drain_timeout.is_zero();
    loop {
        let reason = tokio::select! {
            _ = interrupt.recv() => "signal SIGINT",
            _ = terminate.recv() => "signal SIGTERM",
            () = &mut lifetime, if !is_over => "the lifetime is over",
        };
        is_over = true;
        info!(reason, "the workers end");
        for nanny in nannies {
            let reason = reason.to_owned();
            nanny.finish(match is_urgent {
                true => End::Close { reason },
                false => End::Retire { reason },
            });
        }
        is_urgent = true;
    }
}
