//! Start and end of the scheduler program: binds, starts the helpers, writes the files others find it by, and takes
//! everything down again in order.

use crate::config::Config;
use crate::context::{Context, Identity};
use crate::core_loop::{CoreHandle, CoreLoop};
use crate::graph::{GraphHelpers, HelperOptions};
use crate::plugins::Plugins;
use crate::streams::status::StatusFeed;
use crate::{actions, clock, endpoints, files, http, mismatch, rpc, server, uploads};
use anyhow::Context as _;
use scheduler_core::{Action, Effects, Scheduler, ToWorker};
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{info, warn};
use transport::Listener;

/// How long scheduler plugins get to close: with everything behind it less than the five seconds of a pod's grace.
const PLUGINS_END: Duration = Duration::from_secs(3);
/// How long peers get to read their goodbye.
const GOODBYE: Duration = Duration::from_millis(500);

/// Runs a scheduler until it is told to end.
pub async fn run(config: Config) -> anyhow::Result<()> {
    telemetry::recent::keep(config.dask.admin.log_length);
    let config = Arc::new(config);
    let listeners = endpoints::listen(&config).await?;
    let http_listeners = http::bind(&config.http).await?;
    let core = Scheduler::new(config.core(), seed(), config.check(), clock::now());
    let (core_loop, handle, asked) = CoreLoop::new(core);
    let ctx = context(&config, &listeners, &http_listeners, handle).await?;

    let mut tasks = JoinSet::new();
    let core_task = tokio::spawn(core_loop.run());
    tasks.spawn(actions::perform(Arc::clone(&ctx), asked));
    for listener in http_listeners {
        tasks.spawn(http::serve(Arc::clone(&ctx), listener));
    }
    for listener in listeners {
        tasks.spawn(server::accept(Arc::clone(&ctx), listener));
    }
    announce(&ctx);
    let _files = files::write(&ctx)?;

    let reason = wait_for_end(&ctx).await?;
    info!(reason, "closing scheduler");
    close(&ctx, &mut tasks).await;
    core_task.abort();
    Ok(())
}

async fn context(
    config: &Arc<Config>,
    listeners: &[Listener],
    http_listeners: &[http::BoundListener],
    core: CoreHandle,
) -> anyhow::Result<Arc<Context>> {
    let addresses: Vec<String> = match &config.contact_address {
        Some(address) => vec![protocol::address::normalize(address)],
        None => listeners
            .iter()
            .map(|it| it.contact_address(None))
            .collect(),
    };
    let identity = Identity {
        id: format!("Scheduler-{}", random_uuid()),
        addresses,
        dashboard_port: http_listeners.first().map(http::BoundListener::port),
        started: clock::now(),
    };
    let ctx = Arc::new(Context {
        core,
        pool: endpoints::pool(config)?,
        graphs: GraphHelpers::start(helper_options(config)),
        config: Arc::clone(config),
        identity,
        plugins: Plugins::default(),
        rpc: rpc::State::default(),
        status_feed: StatusFeed::default(),
        closing: watch::channel(None).0,
    });
    rpc::open_backdoor(&ctx);
    Ok(ctx)
}

/// The lines that people and deployment tools look for.
fn announce(ctx: &Context) {
    for address in &ctx.identity.addresses {
        info!("  Scheduler at: {address:>25}");
    }
    if let Some(port) = ctx.identity.dashboard_port {
        info!("  dashboard at: {:>25}", format!(":{port}"));
    }
}

/// Waits for a signal or for a reason to close from within.
async fn wait_for_end(ctx: &Context) -> anyhow::Result<String> {
    let mut interrupt = signal(SignalKind::interrupt()).context("wait for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("wait for SIGTERM")?;
    let mut closing = ctx.closing.subscribe();
    tokio::select! {
        _ = interrupt.recv() => Ok("signal SIGINT".into()),
        _ = terminate.recv() => Ok("signal SIGTERM".into()),
        closing = closing.wait_for(Option::is_some) => {
            let closing = closing.context("wait for a reason to close")?;
            Ok(closing.as_ref().map_or_else(String::new, |closing| closing.reason.clone()))
        }
    }
}

/// Tells workers to close and waits a moment for them to have read it; clients see their connection end.
async fn close(ctx: &Context, tasks: &mut JoinSet<()>) {
    let plugins = ctx.graphs.close_plugins();
    if tokio::time::timeout(PLUGINS_END, plugins).await.is_err() {
        warn!("scheduler plugins did not close in time");
    }
    ctx.graphs.end();
    let told = ctx
        .core
        .call(|core, _, effects| tell_workers(core, effects))
        .await;
    if told.is_err() {
        warn!("the core ended before the scheduler closed");
    }
    let all_gone = async {
        while ctx
            .core
            .call(|core, _, _| core.worker_count())
            .await
            .is_ok_and(|count| count > 0)
        {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    // A worker that does not go is left to its own devices: its connection ends with this process.
    let _late = tokio::time::timeout(GOODBYE, all_gone).await;
    tasks.shutdown().await;
}

/// A worker that is told to close takes its nanny with it.
fn tell_workers(core: &Scheduler, effects: &mut Effects) {
    for worker in core.workers() {
        let reason = Arc::from("scheduler-close");
        effects.worker(worker.id, ToWorker::Close { reason });
        effects.worker(worker.id, ToWorker::CloseStream);
        effects.action(Action::DropWorkerConnection(worker.id));
    }
}

fn helper_options(config: &Config) -> HelperOptions {
    let defaults = HelperOptions::default();
    HelperOptions {
        python: config.python.clone().unwrap_or(defaults.python),
        time_limit: config.graph_time_limit,
        memory_limit_bytes: match config.graph_memory_limit_bytes {
            Some(0) => None,
            given => given.or(defaults.memory_limit_bytes),
        },
        check_release: |versions| mismatch::refusal(versions, contract::distributed::SUPPORTED),
        preload: config.preload.clone(),
        preload_argv: config.preload_argv.clone(),
        local_directory: uploads::directory(&std::env::temp_dir()),
        ..defaults
    }
}

/// Differs from run to run; everything the core draws by chance follows from it.
fn seed() -> u64 {
    clock::now().0 ^ u64::from(std::process::id()).rotate_left(32)
}

fn random_uuid() -> String {
    let bytes = std::fs::read_to_string("/proc/sys/kernel/random/uuid");
    bytes.map_or_else(
        |_| format!("{:016x}-{}", clock::now().0, std::process::id()),
        |uuid| uuid.trim().to_owned(),
    )
}
