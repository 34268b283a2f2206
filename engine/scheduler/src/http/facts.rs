//! What pages and APIs show, gathered from the core and put into the words of `contract`.

use crate::clock;
use crate::context::Context;
use crate::core_loop::Stopped;
use contract::http::{FailedTask, FailureCounts, MemoryState, SchedulerStatus, WorkerState};
use scheduler_core::{Scheduler, WorkerSummary};

/// How many workers the present work could use.
pub async fn desired_workers(ctx: &Context) -> Result<u64, Stopped> {
    ctx.core.call(|core, _, _| core.adaptive_target(None)).await
}

/// Since when there has been nothing to do, in seconds since the Unix epoch.
pub async fn idle_since(ctx: &Context) -> Result<Option<f64>, Stopped> {
    let since = ctx
        .core
        .call(|core, now, effects| core.check_idle(now, effects))
        .await?;
    Ok(since.map(|since| since.seconds()))
}

/// The status, with at most so many failed tasks.
pub async fn status(ctx: &Context, failed: usize) -> Result<SchedulerStatus, Stopped> {
    let identity = &ctx.identity;
    let mut status = SchedulerStatus {
        id: identity.id.clone(),
        address: identity.addresses.first().cloned().unwrap_or_default(),
        started: identity.started.seconds(),
        now: clock::now().seconds(),
        idle_since: idle_since(ctx).await?,
        ..SchedulerStatus::default()
    };
    ctx.core
        .call(move |core, _, _| {
            fill(&mut status, core, failed);
            status
        })
        .await
}

/// Adds what only the core knows.
fn fill(status: &mut SchedulerStatus, core: &Scheduler, failed: usize) {
    let (counters, prefixes) = (core.counters(), core.prefix_totals());
    let entered = |state: &str| {
        let totals = prefixes.iter().flat_map(|prefix| &prefix.state_totals);
        totals
            .filter(|(own, _)| *own == state)
            .map(|(_, count)| count)
            .sum()
    };
    status.clients = core.client_count() as u64;
    status.threads = core.total_nthreads();
    status.desired_workers = core.adaptive_target(None);
    status.workers = core.worker_summaries().iter().map(worker).collect();
    status.memory = memory(&status.workers);
    let tasks = core.task_counts().into_iter();
    status.tasks = tasks
        .map(|(state, count)| (state.to_owned(), count))
        .collect();
    status.failures = FailureCounts {
        workers_added: counters.workers_added,
        workers_removed: counters.workers_removed,
        tasks_erred: entered("erred"),
        tasks_suspicious: prefixes.iter().map(|prefix| prefix.suspicious).sum(),
    };
    let failed = core.failed_tasks(failed).into_iter();
    status.failed_tasks = failed
        .map(|task| FailedTask {
            key: task.key.to_string(),
            exception: task.exception_text.to_string(),
        })
        .collect();
}

fn memory(workers: &[WorkerState]) -> MemoryState {
    let sum = |of: fn(&WorkerState) -> u64| workers.iter().map(of).sum();
    MemoryState {
        result_bytes: sum(|worker| worker.result_bytes),
        process_bytes: sum(|worker| worker.process_memory_bytes),
        limit_bytes: sum(|worker| worker.memory_limit_bytes),
    }
}

fn worker(worker: &WorkerSummary) -> WorkerState {
    WorkerState {
        name: worker.name.clone(),
        address: worker.address.to_string(),
        status: worker.status.to_owned(),
        threads: u64::from(worker.nthreads),
        processing: worker.processing as u64,
        in_memory: worker.in_memory as u64,
        result_bytes: worker.result_bytes,
        process_memory_bytes: worker.process_memory_bytes,
        memory_limit_bytes: worker.memory_limit_bytes,
        cpu_percent: worker.cpu_percent,
        last_seen: worker.last_seen_seconds,
    }
}
