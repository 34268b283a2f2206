//! The process: sets up, waits for the lease and for signals, ends in order.

use crate::clock::Clock;
use crate::config::{self, Config, OperatorArgs};
use crate::definitions;
use crate::facts::Http;
use crate::leader::Leadership;
use crate::operator::{Operator, Running};
use crate::server;
use anyhow::{Context, Result, bail};
use kube::Client;
use std::future::Future;
use std::path::Path;
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info};

const CONNECT: Duration = Duration::from_secs(10);
const SILENCE: Duration = Duration::from_secs(310);

/// Runs the operator until it is told to stop.
pub fn main(args: &OperatorArgs) -> ExitCode {
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            error!(error = %format!("{cause:#}"), "the operator ends");
            eprintln!("daskjob-operator: {cause:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &OperatorArgs) -> Result<()> {
    let settings = telemetry::Settings {
        format: args.log_format.parse().map_err(anyhow::Error::msg)?,
        filter: args.log.clone(),
    };
    telemetry::set_up(&settings)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the runtime")?;
    match &args.apply_definitions {
        Some(file) => runtime.block_on(apply_definitions(file)),
        None => runtime.block_on(operate(args)),
    }
}

async fn connection() -> Result<kube::Config> {
    kube::Config::infer()
        .await
        .context("find the cluster: neither a kubeconfig nor a pod's service account")
}

async fn apply_definitions(file: &Path) -> Result<()> {
    let client = Client::try_from(connection().await?).context("make a client")?;
    definitions::apply(client, file).await
}

async fn operate(args: &OperatorArgs) -> Result<()> {
    let mut stop = Stop::new().context("listen for signals")?;
    let mut connection = connection().await?;
    // Whether and when a call is repeated is the caller's to say.
    connection.default_retry = false;
    // A connection that died without a word is noticed: watches end before by themselves.
    connection.connect_timeout = Some(CONNECT);
    connection.read_timeout = Some(SILENCE);
    let config = Config::new(
        args,
        &connection.default_namespace,
        config::is_inside_cluster(),
    );
    let client = Client::try_from(connection).context("make a client")?;
    let listener = TcpListener::bind(config.listen)
        .await
        .with_context(|| format!("listen on {}", config.listen))?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        identity = config.identity,
        image = config.objects.worker_image,
        namespaces = config.namespaces.join(","),
        listen = %config.listen,
        "the operator starts"
    );
    let running = Operator::start(
        client.clone(),
        config,
        Arc::new(Http::default()),
        Clock::System,
    );
    let shown = server::serve(listener, running.operator.clone(), running.synced.clone());
    let server = tokio::spawn(shown);
    let outcome = serve(client, running, stop.asked()).await;
    server.abort();
    outcome
}

/// Acts until it is told to stop, and in order; where there is a Lease, while it holds it. Who has lost it ends: the
/// kubelet starts the next life, which knows nothing from before.
pub async fn serve(
    client: Client,
    mut running: Running,
    stop: impl Future<Output = ()>,
) -> Result<()> {
    let mut stop = pin!(stop);
    let config = running.operator.config.clone();
    let Some(lease) = &config.lease else {
        let outcome = act(&mut running, stop).await;
        running.stop().await;
        return outcome;
    };
    let mut leadership = Leadership::stand(client, lease, &config.identity)
        .await
        .context("stand for leader")?;
    let outcome = lead(&mut running, &mut leadership, stop.as_mut()).await;
    running.stop().await;
    leadership.release().await;
    outcome
}

/// Acts once this replica leads, for as long as it does.
async fn lead(
    running: &mut Running,
    leadership: &mut Leadership,
    mut stop: Pin<&mut impl Future<Output = ()>>,
) -> Result<()> {
    let leads = tokio::select! {
        leads = leadership.becomes(true) => leads,
        () = stop.as_mut() => return Ok(()),
        () = running.broken() => bail!("a watch ended"),
    };
    if !leads {
        bail!("the lease can no longer be followed");
    }
    tokio::select! {
        outcome = act(running, stop) => outcome,
        _ = leadership.becomes(false) => bail!("another replica has the lease"),
    }
}

async fn act(running: &mut Running, mut stop: Pin<&mut impl Future<Output = ()>>) -> Result<()> {
    tokio::select! {
        () = running.act() => {}
        () = stop.as_mut() => return Ok(()),
    }
    running.operator.metrics.leads(true);
    info!("everything is listed; jobs are looked at");
    tokio::select! {
        () = stop => info!("told to stop"),
        () = running.broken() => bail!("a task of the operator ended"),
    }
    Ok(())
}

/// SIGTERM and SIGINT.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> std::io::Result<Self> {
        Ok(Stop {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
