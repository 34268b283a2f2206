//! Questions that the core answers at once and that change nothing.

use super::fields::Fields;
use super::{RpcError, addresses, peer};
use crate::context::Context;
use protocol::{Key, Payload, Value, map};
use scheduler_core::UnknownKey;
use std::sync::Arc;
use tokio::task::JoinSet;

pub async fn identity(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let count = fields.optional_int("n_workers")?.unwrap_or(-1);
    let limit = usize::try_from(count).ok();
    let identity = ctx.core.call(move |core, _, _| core.identity(limit)).await?;
    Ok(ctx.complete_identity(identity))
}

pub async fn versions(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let packages: Value = fields.optional_list("packages")?.unwrap_or_default().into();
    if packages.is_truthy() {
        return Ok(ctx.graphs.versions(&packages).await?);
    }
    Ok(ctx.graphs.environment().await?.versions.clone())
}

/// The workers a caller asks about; `None` for all.
async fn workers(
    ctx: &Arc<Context>,
    fields: &mut Fields,
) -> Result<Option<Vec<Arc<str>>>, RpcError> {
    match fields.optional_list("workers")? {
        Some(workers) => addresses::coerce(ctx, &workers).await.map(Some),
        None => Ok(None),
    }
}

pub async fn who_has(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let keys = fields.optional_keys("keys")?;
    Ok(ctx
        .core
        .call(move |core, _, _| core.who_has(keys.as_deref()))
        .await?)
}

pub async fn has_what(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let workers = workers(ctx, &mut fields).await?;
    Ok(ctx
        .core
        .call(move |core, _, _| core.has_what(workers.as_deref()))
        .await?)
}

pub async fn ncores(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let workers = workers(ctx, &mut fields).await?;
    Ok(ctx
        .core
        .call(move |core, _, _| core.ncores(workers.as_deref()))
        .await?)
}

pub async fn ncores_running(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let workers = workers(ctx, &mut fields).await?;
    Ok(ctx
        .core
        .call(move |core, _, _| core.ncores_running(workers.as_deref()))
        .await?)
}

pub async fn processing(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let workers = match fields.optional_list("workers")? {
        Some(workers) => Some(addresses::registered(ctx, &workers).await?),
        None => None,
    };
    Ok(ctx
        .core
        .call(move |core, _, _| core.processing(workers.as_deref()))
        .await?)
}

pub async fn nbytes(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let keys = fields.optional_keys("keys")?;
    let summary = fields.flag("summary", true);
    let sizes = ctx
        .core
        .call(move |core, _, _| core.nbytes(keys.as_deref(), summary))
        .await?;
    sizes.map_err(unknown_key)
}

pub async fn get_task_status(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let keys = fields.keys("keys")?;
    Ok(ctx
        .core
        .call(move |core, _, _| core.task_statuses(&keys))
        .await?)
}

pub async fn get_task_prefix_states(ctx: &Arc<Context>) -> Result<Value, RpcError> {
    Ok(ctx.core.call(|core, _, _| core.prefix_states()).await?)
}

pub async fn get_story(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let keys = fields.keys("keys_or_stimuli")?;
    Ok(ctx.core.call(move |core, _, _| core.story(&keys)).await?)
}

pub async fn get_runspec(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let key = fields.key("key")?;
    let run_spec = ctx.core.call(move |core, _, _| core.run_spec_of(&key)).await?;
    let Some(run_spec) = run_spec.map_err(unknown_key)? else {
        return Ok(Value::Nil);
    };
    let payload = Payload::pickled(&run_spec.pickle(), run_spec.buffers().to_vec());
    Ok(Value::Pickled(payload))
}

pub async fn get_error_cause(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let keys = fields.optional_keys("keys")?.unwrap_or_default();
    let cause = ctx.core.call(move |core, _, _| core.error_cause(&keys)).await?;
    Ok(cause.into())
}

pub async fn call_stack(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let keys = fields.optional_keys("keys")?;
    let asked = ctx.core.call(move |core, _, _| match keys {
        Some(keys) => {
            let running = core.running_on(&keys)?.into_iter();
            let keys = |keys: Vec<Key>| keys.iter().map(Value::from).collect();
            Ok(running.map(|(worker, on)| (worker, keys(on))).collect())
        }
        None => Ok(core.worker_addresses().into_iter().map(|worker| (worker, Value::Nil)).collect()),
    });
    let asked: Vec<(Arc<str>, Value)> = asked.await?.map_err(unknown_key)?;
    let mut calls = JoinSet::new();
    for (index, (worker, keys)) in asked.iter().cloned().enumerate() {
        let ctx = Arc::clone(ctx);
        let request = map! {"op" => "call_stack", "keys" => keys};
        calls.spawn(async move { (index, peer::call(&ctx, &worker, request).await) });
    }
    let mut stacks = vec![Value::Nil; asked.len()];
    while let Some(call) = calls.join_next().await {
        let (index, answer) = call.expect("calls neither panic nor are they aborted");
        stacks[index] = answer?;
    }
    let named = asked.iter().zip(stacks);
    Ok(named
        .filter(|(_, stacks)| stacks.is_truthy())
        .map(|((worker, _), stacks)| (Value::from(&**worker), stacks))
        .collect())
}

fn unknown_key(error: UnknownKey) -> RpcError {
    RpcError::key_error(error.0.to_string())
}
