//! How many workers there should be, and which could go: what adaptive deployments ask.

use super::fields::Fields;
use super::{RpcError, not_yet};
use crate::context::Context;
use bytes::Bytes;
use protocol::Value;
use scheduler_core::{CloseRequest, Effects, Scheduler, Time, WorkerId};
use std::sync::Arc;

/// The arguments of `workers_to_close`, which `retire_workers` takes too.
pub const FIELDS: [&str; 6] = ["memory_ratio", "n", "key", "minimum", "target", "attribute"];

pub async fn workers_to_close(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let attribute = fields.optional_text("attribute")?;
    let attribute = attribute.map_or_else(|| "address".to_owned(), |text| text.to_string());
    let workers = choose(ctx, &mut fields).await?;
    let wanted = attribute.clone();
    let values = ctx.core.call(move |core, _, _| {
        let value = |worker: &WorkerId| attribute_of(core, *worker, &wanted);
        workers.iter().map(value).collect::<Option<Value>>()
    });
    values.await?.ok_or_else(|| {
        let message = format!("'WorkerState' object has no attribute '{attribute}'");
        RpcError::builtin("AttributeError", message)
    })
}

/// What a worker is called by, or another of its attributes.
fn attribute_of(core: &Scheduler, worker: WorkerId, attribute: &str) -> Option<Value> {
    match attribute {
        "address" => Some(Value::from(&*core.worker(worker)?.address)),
        // In an identity these are words for something else.
        "type" | "id" => None,
        other => core.worker_identity(worker, true).take(other),
    }
}

/// The workers that could go at low cost.
pub async fn choose(ctx: &Arc<Context>, fields: &mut Fields) -> Result<Vec<WorkerId>, RpcError> {
    let group_by = if fields.has("key") {
        Some(fields.bytes("key")?)
    } else {
        None
    };
    let mut request = CloseRequest {
        memory_ratio: fields.optional_number("memory_ratio")?,
        count: fields.optional_int("n")?,
        minimum: fields.optional_int("minimum")?,
        target: fields.optional_int("target")?,
        ..CloseRequest::default()
    };
    if let Some(function) = group_by {
        request.groups = groups(ctx, function).await?;
    }
    Ok(ctx
        .core
        .call(move |core, _, _| core.workers_to_close(&request))
        .await?)
}

/// Every worker with what the caller's function makes of it.
async fn groups(ctx: &Arc<Context>, function: Bytes) -> Result<Vec<(WorkerId, Value)>, RpcError> {
    let labels = ctx.graphs.group_workers(function).await?;
    let labels = labels.into_map().unwrap_or_default();
    let found = ctx.core.call(move |core, _, _| {
        let of =
            |(address, label): (Value, Value)| Some((core.worker_at(address.as_str()?)?, label));
        labels.into_iter().filter_map(of).collect()
    });
    Ok(found.await?)
}

pub async fn adaptive_target(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let seconds = fields.optional_seconds("target_duration")?;
    if seconds.is_some_and(|seconds| seconds <= 0.0) {
        return Err(RpcError::value_error(
            "target_duration must be more than zero",
        ));
    }
    Ok(ctx
        .core
        .call(move |core, _, _| core.adaptive_target(seconds))
        .await?
        .into())
}

/// Since when there has been nothing to do, null while there is.
pub async fn check_idle(ctx: &Arc<Context>) -> Result<Value, RpcError> {
    let check =
        |core: &mut Scheduler, now: Time, effects: &mut Effects| core.check_idle(now, effects);
    let since = ctx.core.call(check).await?;
    Ok(since.map(Time::seconds).into())
}

/// Nothing runs by itself yet: the only policy is that of retiring workers, and it runs when one retires.
pub fn memory_manager(mut fields: Fields) -> Result<Value, RpcError> {
    let method = fields.text("method")?;
    match method.as_str() {
        Some("running") => Ok(Value::Bool(false)),
        Some("start" | "run_once") => Err(not_yet::refusal(
            &format!("amm_handler: {method}"),
            "the active memory manager, except for retiring workers",
        )),
        Some("stop") => Ok(Value::Nil),
        _ => Err(RpcError::value_error(format!(
            "method must be 'start', 'stop', 'run_once' or 'running', not '{method}'"
        ))),
    }
}
