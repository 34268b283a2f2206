//! Questions that the core answers at once and that change nothing.

use super::fields::Fields;
use super::{RpcError, addresses, peer};
use crate::context::Context;
use protocol::{Key, Payload, Text, Value, map};
use scheduler_core::{Effects, Scheduler, Time, WorkerId};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use tokio::task::JoinSet;

pub async fn identity(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let count = fields.optional_int("n_workers")?.unwrap_or(-1);
    let limit = usize::try_from(count).ok();
    Ok(ctx.identity(limit, true).await?)
}

/// What is installed where graphs are opened, and what this scheduler is.
pub async fn versions(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let packages: Value = fields.optional_list("packages")?.unwrap_or_default().into();
    let mut versions = if packages.is_truthy() {
        ctx.graphs.versions(&packages).await?
    } else {
        ctx.graphs.environment().await?.versions.clone()
    };
    if let Some(packages) = versions.get_mut("packages") {
        packages.set("daskjob-scheduler", env!("CARGO_PKG_VERSION"));
    }
    Ok(versions)
}

/// `{name: value}` in the order of the pairs.
fn table<N, V>(pairs: Vec<(N, V)>) -> Value
where
    N: AsName,
    Value: From<V>,
{
    pairs
        .into_iter()
        .map(|(name, value)| (name.as_name(), Value::from(value)))
        .collect()
}

/// What the answers' maps have as keys.
trait AsName {
    fn as_name(&self) -> Value;
}

impl AsName for Arc<str> {
    fn as_name(&self) -> Value {
        Value::from(&**self)
    }
}

impl AsName for Key {
    fn as_name(&self) -> Value {
        self.to_value()
    }
}

fn keys(keys: &[Key]) -> Value {
    keys.iter().map(Value::from).collect()
}

pub async fn who_has(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let keys = fields.optional_keys("keys")?;
    let located = ctx
        .core
        .call(move |core, _, _| core.who_has(keys.as_deref()))
        .await?;
    let located = located.into_iter();
    Ok(table(
        located
            .map(|(key, holders)| (key, addresses::value(&holders)))
            .collect(),
    ))
}

/// The workers a caller asks about; `None` for all.
async fn workers(
    ctx: &Arc<Context>,
    fields: &mut Fields,
) -> Result<Option<Vec<addresses::Found>>, RpcError> {
    match fields.optional_list("workers")? {
        Some(workers) => addresses::known(ctx, &workers).await.map(Some),
        None => Ok(None),
    }
}

fn ids(found: &[addresses::Found]) -> Vec<WorkerId> {
    found.iter().map(|(_, id)| *id).collect()
}

/// Unknown workers are listed too, without keys.
pub async fn has_what(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let asked = match fields.optional_list("workers")? {
        Some(workers) => Some(addresses::coerce(ctx, &workers).await?),
        None => None,
    };
    let question = move |core: &mut Scheduler, _: Time, _: &mut Effects| match asked {
        None => core.has_what(None),
        Some(asked) => {
            let of_one = |address: Arc<str>| {
                let held = core
                    .worker_at(&address)
                    .map(|id| core.has_what(Some(&[id])));
                let held = held.into_iter().flatten().next();
                (address, held.map(|(_, keys)| keys).unwrap_or_default())
            };
            asked.into_iter().map(of_one).collect()
        }
    };
    let held = ctx.core.call(question).await?.into_iter();
    Ok(table(
        held.map(|(worker, held)| (worker, keys(&held))).collect(),
    ))
}

pub async fn processing(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let asked = match fields.optional_list("workers")? {
        Some(workers) => Some(addresses::registered(ctx, &workers).await?),
        None => None,
    };
    let asked = asked.as_deref().map(ids);
    let given = ctx
        .core
        .call(move |core, _, _| core.processing(asked.as_deref()))
        .await?;
    Ok(table(
        given
            .into_iter()
            .map(|(worker, given)| (worker, keys(&given)))
            .collect(),
    ))
}

pub async fn ncores(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let asked = workers(ctx, &mut fields).await?.as_deref().map(ids);
    Ok(table(
        ctx.core
            .call(move |core, _, _| core.ncores(asked.as_deref()))
            .await?,
    ))
}

pub async fn ncores_running(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let asked = workers(ctx, &mut fields).await?.as_deref().map(ids);
    Ok(table(
        ctx.core
            .call(move |core, _, _| core.ncores_running(asked.as_deref()))
            .await?,
    ))
}

pub async fn nbytes(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let asked = fields.optional_keys("keys")?;
    let summary = fields.flag("summary", true);
    let question = move |core: &mut Scheduler, _: Time, _: &mut Effects| {
        all_known(core, asked.as_deref().unwrap_or_default())?;
        Ok(if summary {
            table(core.nbytes_by_prefix(asked.as_deref()))
        } else {
            table(core.nbytes(asked.as_deref()))
        })
    };
    ctx.core.call(question).await?
}

pub async fn get_task_status(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let keys = fields.keys("keys")?;
    let question = move |core: &mut Scheduler, _: Time, _: &mut Effects| {
        let status = |key: &Key| (Value::from(key), Value::from(core.task_status(key)));
        keys.iter().map(status).collect()
    };
    Ok(ctx.core.call(question).await?)
}

pub async fn get_task_prefix_states(ctx: &Arc<Context>) -> Result<Value, RpcError> {
    Ok(ctx.core.call(|core, _, _| core.prefix_states()).await?)
}

pub async fn get_story(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    // A future among the keys is no key: stock finds nothing about it either.
    let asked = fields.list("keys_or_stimuli")?;
    let keys: Vec<Key> = asked.iter().filter_map(Value::as_key).collect();
    let stimuli: Vec<Text> = asked
        .iter()
        .filter_map(|value| value.as_text().cloned())
        .collect();
    Ok(ctx
        .core
        .call(move |core, _, _| core.story(&keys, &stimuli))
        .await?)
}

pub async fn get_runspec(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let key = fields.key("key")?;
    let question = move |core: &mut Scheduler, _: Time, _: &mut Effects| {
        all_known(core, std::slice::from_ref(&key))?;
        Ok::<_, RpcError>(core.run_spec(&key))
    };
    let run_spec = ctx.core.call(question).await??;
    let payload = run_spec.map(|spec| Payload::pickled(&spec.pickle(), spec.buffers().to_vec()));
    Ok(payload.map_or(Value::Nil, Value::Pickled))
}

pub async fn get_error_cause(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let keys = fields.optional_keys("keys")?.unwrap_or_default();
    let cause = ctx
        .core
        .call(move |core, _, _| core.error_cause(&keys))
        .await?;
    Ok(cause.into())
}

/// A KeyError for the first key that there is no task of.
fn all_known(core: &Scheduler, keys: &[Key]) -> Result<(), RpcError> {
    match keys.iter().find(|key| core.task_status(key).is_none()) {
        Some(unknown) => Err(RpcError::key_error(unknown.to_string())),
        None => Ok(()),
    }
}

pub async fn call_stack(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let asked = fields.optional_keys("keys")?;
    let question = move |core: &mut Scheduler, _: Time, _: &mut Effects| match asked {
        Some(asked) => running_on(core, asked),
        None => Ok(core
            .workers()
            .into_iter()
            .map(|worker| (worker.address, Value::Nil))
            .collect()),
    };
    let asked: Vec<(Arc<str>, Value)> = ctx.core.call(question).await??;
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
    let named = asked
        .iter()
        .zip(stacks)
        .filter(|(_, stacks)| stacks.is_truthy());
    Ok(named
        .map(|((worker, _), stacks)| (Value::from(&**worker), stacks))
        .collect())
}

/// Which workers run these keys now. A waiting key stands for what it waits for.
fn running_on(core: &Scheduler, asked: Vec<Key>) -> Result<Vec<(Arc<str>, Value)>, RpcError> {
    all_known(core, &asked)?;
    let mut seen: HashSet<Key> = asked.iter().cloned().collect();
    let mut pending = asked;
    let mut running: BTreeMap<Arc<str>, Vec<Key>> = BTreeMap::new();
    while let Some(key) = pending.pop() {
        if let Some(worker) = core.processing_on(&key) {
            running.entry(worker).or_default().push(key);
        } else if core.task_status(&key) == Some("waiting") {
            pending.extend(
                core.dependencies(&key)
                    .into_iter()
                    .filter(|key| seen.insert(key.clone())),
            );
        }
    }
    Ok(running
        .into_iter()
        .map(|(worker, on)| (worker, keys(&on)))
        .collect())
}
