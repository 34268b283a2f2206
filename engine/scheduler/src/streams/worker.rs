//! A worker's stream: it registers, then reports and is told what to do until either side ends.

use super::{StreamEnd, run};
use crate::context::Context;
use crate::core_loop::{AddWorker, Input};
use crate::{clock, mismatch, registration};
use protocol::messages::decode_worker_batch;
use protocol::{Value, map};
use scheduler_core::{Refusal, Registration, WorkerId, heartbeat_interval};
use std::sync::Arc;
use tokio::sync::oneshot;
use tracing::{info, warn};
use transport::{FrameReader, FrameWriter, Outbox, outbox};

/// What may wait for a worker that does not read, in bytes.
const OUTBOX_BYTES: usize = 1 << 30;

/// Registers the worker and carries its stream until it ends. `request` holds the fields of `register-worker`.
pub async fn serve(
    ctx: &Arc<Context>,
    request: Value,
    reader: &mut FrameReader,
    mut writer: FrameWriter,
) {
    let registration = match registration::parse(&request).await {
        Ok(registration) => registration,
        Err(message) => return refuse(&message, &mut writer).await,
    };
    let (address, name) = (Arc::clone(&registration.address), registration.name.clone());
    let (outbox, mut driver) = outbox(writer, OUTBOX_BYTES);
    let versions = registration.versions.clone();
    let server_id = Arc::clone(&registration.server_id);
    let worker = match add(ctx, registration, outbox).await {
        Ok(worker) => worker,
        Err(message) => return refuse(&message, driver.writer()).await,
    };
    info!(worker = %address, name = ?name, "worker registered");
    let end = match welcome(ctx, &versions, &server_id, driver.writer()).await {
        Ok(()) => run(driver, read(ctx, worker, reader)).await,
        Err(end) => end,
    };
    info!(worker = %address, reason = %end, "worker stream ended");
    // Nothing is left to tell when the core has stopped.
    let _stopped = ctx.core.send(Input::WorkerGone(worker)).await;
}

async fn add(
    ctx: &Context,
    registration: Registration,
    outbox: Outbox<scheduler_core::ToWorker>,
) -> Result<WorkerId, String> {
    let (answer, result) = oneshot::channel();
    let add = AddWorker {
        registration,
        outbox,
        answer,
    };
    let stopped = |_| "the scheduler is closing".to_owned();
    ctx.core
        .send(Input::AddWorker(Box::new(add)))
        .await
        .map_err(|_| "the scheduler is closing".to_owned())?;
    result
        .await
        .map_err(stopped)?
        .map_err(|refusal: Refusal| refusal.to_string())
}

async fn refuse(message: &str, writer: &mut FrameWriter) {
    warn!(reason = message, "worker refused");
    let reply = map! {
        "status" => "error",
        "message" => message,
        "time" => clock::now().seconds(),
    };
    // A worker that is gone already needs no refusal.
    let _gone = writer.send_value(&reply).await;
}

/// The reply to a registration; everything else on this stream comes after it.
async fn welcome(
    ctx: &Context,
    versions: &Value,
    server_id: &str,
    writer: &mut FrameWriter,
) -> Result<(), StreamEnd> {
    let (interval, others) = ctx
        .core
        .call(|core, _, _| {
            (
                heartbeat_interval(core.worker_count()),
                core.worker_versions(),
            )
        })
        .await?;
    let ours = ctx.versions().await;
    let reply = map! {
        "status" => "OK",
        "time" => clock::now().seconds(),
        "heartbeat-interval" => interval,
        "worker-plugins" => ctx.plugins.for_workers(),
        "warning" => mismatch::warning(&ours, &others, versions, server_id),
        "error" => "",
    };
    writer.send_value(&reply).await?;
    Ok(())
}

async fn read(
    ctx: &Context,
    worker: WorkerId,
    reader: &mut FrameReader,
) -> Result<StreamEnd, StreamEnd> {
    while let Some(frames) = reader.recv().await? {
        let messages = decode_worker_batch(&frames)?;
        let closes = messages
            .iter()
            .any(|message| matches!(message, protocol::messages::FromWorker::CloseStream));
        ctx.core
            .send(Input::WorkerMessages(worker, messages))
            .await?;
        if closes {
            break;
        }
    }
    Ok(StreamEnd::Closed)
}
