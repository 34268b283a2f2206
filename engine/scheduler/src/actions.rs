//! What the core asks of the program beside messages to peers.

use crate::context::Context;
use crate::rpc::RetirementEnd;
use protocol::{Value, array, map};
use scheduler_core::{Action, LogLevel};
use std::sync::Arc;
use tokio::sync::mpsc;
use tracing::{debug, error, info, warn};

/// Performs actions until the core ends.
pub async fn perform(ctx: Arc<Context>, mut asked: mpsc::UnboundedReceiver<Action>) {
    while let Some(action) = asked.recv().await {
        match action {
            Action::CloseScheduler { reason } => ctx.close(&*reason),
            Action::RestartByNanny { address, nanny, .. } => {
                let ctx = Arc::clone(&ctx);
                tokio::spawn(async move { restart(&ctx, &address, &nanny).await });
            }
            Action::WorkerAdded { address, identity } => {
                let workers = Value::Map(vec![(Value::from(&*address), identity)]);
                let event = array!["add", map! {"workers" => workers}];
                ctx.status_feed.publish(&event);
            }
            Action::WorkerRemoved { address } => {
                ctx.status_feed.publish(&array!["remove", &*address]);
                ctx.pool.remove(&address);
            }
            Action::RetirementEnded {
                worker,
                address,
                retired,
                identity,
            } => ctx.rpc.retirements.publish(&RetirementEnd {
                worker,
                address,
                retired,
                identity,
            }),
            Action::Log {
                level,
                message,
                subject,
            } => log(level, message, &subject),
            // The core loop sees to connections.
            Action::DropWorkerConnection(_)
            | Action::DropBrokenWorker { .. }
            | Action::DropBrokenClient { .. } => {}
        }
    }
}

/// Restarts a worker that has not been heard of for too long.
async fn restart(ctx: &Context, worker: &str, nanny: &str) {
    let request = map! {"op" => "restart", "reply" => true, "close" => true};
    if let Err(error) = ctx.pool.call_value(nanny, &request).await {
        warn!(worker, nanny, error = %error, "nanny did not restart a silent worker");
    }
}

fn log(level: LogLevel, message: &'static str, subject: &str) {
    match level {
        LogLevel::Debug => debug!(subject, "{message}"),
        LogLevel::Info => info!(subject, "{message}"),
        LogLevel::Warning => warn!(subject, "{message}"),
        LogLevel::Error => error!(subject, "{message}"),
    }
}
