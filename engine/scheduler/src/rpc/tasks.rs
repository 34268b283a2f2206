//! Rare commands about tasks: retry, restrict, collect their metadata.

use super::RpcError;
use super::fields::Fields;
use crate::context::Context;
use protocol::{Key, Value};
use scheduler_core::{Effects, Scheduler, Time};
use std::sync::Arc;
use std::time::Duration;

/// When a client hears again, after the answer to its `retry`, of what is done.
const REPEATS: [Duration; 3] = [
    Duration::from_millis(20),
    Duration::from_millis(200),
    Duration::from_secs(2),
];

pub async fn retry(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let keys = fields.keys("keys")?;
    let client = fields
        .optional_text("client")?
        .map(|client| client.to_string());
    let whose = client.clone();
    let retry = move |core: &mut Scheduler, now, effects: &mut Effects| {
        core.retry(&keys, whose.as_deref(), now, effects)
    };
    let considered = ctx.core.call(retry).await?;
    if let Some(client) = client {
        tokio::spawn(repeat_results(Arc::clone(ctx), client, considered.clone()));
    }
    Ok(considered.iter().map(Value::from).collect())
}

/// A client takes its tasks for pending when it reads the answer to `retry`. The results come on another connection: one
/// that is there first would be forgotten, and the program would wait for ever.
async fn repeat_results(ctx: Arc<Context>, client: String, keys: Vec<Key>) {
    for pause in REPEATS {
        tokio::time::sleep(pause).await;
        let (client, keys) = (client.clone(), keys.clone());
        let repeat = move |core: &mut Scheduler, now, effects: &mut Effects| {
            core.repeat_results(&client, &keys, now, effects);
        };
        if ctx.core.call(repeat).await.is_err() {
            return;
        }
    }
}

/// `{key: address, or a list of them, or null}`.
pub async fn set_restrictions(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let mut restrictions: Vec<(Key, Vec<Value>)> = Vec::new();
    for (name, workers) in fields.map("worker")? {
        let key = name.as_key();
        let key = key.ok_or_else(|| fields.wrong("worker", "a mapping of task keys", &name))?;
        let workers = match workers {
            Value::Nil => Vec::new(),
            one @ Value::Str(_) => vec![one],
            Value::Array(several) | Value::Set(several) => several,
            other => return Err(fields.wrong("worker", "a mapping to addresses", &other)),
        };
        restrictions.push((key, workers));
    }
    let set = move |core: &mut Scheduler, now: Time, effects: &mut Effects| {
        core.set_restrictions(&restrictions, now, effects);
    };
    ctx.core.call(set).await?;
    Ok(Value::Nil)
}

pub async fn start_task_metadata(
    ctx: &Arc<Context>,
    mut fields: Fields,
) -> Result<Value, RpcError> {
    let name = fields.text("name")?;
    ctx.core
        .call(move |core, _, _| core.start_collecting(name))
        .await?;
    Ok(Value::Nil)
}

pub async fn stop_task_metadata(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let name = fields.text("name")?;
    let asked = name.clone();
    let collected = ctx
        .core
        .call(move |core, _, _| core.stop_collecting(&asked))
        .await?;
    collected.ok_or_else(|| {
        RpcError::value_error(format!(
            "there is not exactly one collection of task metadata named {name}"
        ))
    })
}
