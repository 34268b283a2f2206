//! `replicate`: more, or fewer, copies of results, spread in generations.
//!
//! The core plans each generation; here the workers are asked and the core is told what came of it. A worker that
//! fails to make a copy is asked for no other, so that the loop ends.

use super::fields::Fields;
use super::peer::{self, PeerError};
use super::{RpcError, addresses, events};
use crate::context::Context;
use protocol::{Key, Value, array, map};
use scheduler_core::{Effects, Scheduler, Time, WorkerContact, WorkerId, WorkerStatus};
use std::collections::HashSet;
use std::sync::Arc;
use tokio::task::JoinSet;

const DEFAULT_BRANCHING_FACTOR: usize = 2;

/// What is asked for.
struct Wish {
    keys: Vec<Key>,
    /// How many copies; `None` for one on every worker.
    copies: Option<usize>,
    /// Where they may be; `None` for everywhere.
    workers: Option<Vec<WorkerId>>,
    /// How many workers may copy from one holder in one generation.
    branching_factor: usize,
    /// Whether surplus copies go.
    delete: bool,
}

pub async fn replicate(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let keys = fields.keys("keys")?;
    let copies = fields.optional_int("n")?.map(|count| count.max(0) as usize);
    let branching_factor = match fields.optional_int("branching_factor")? {
        None => DEFAULT_BRANCHING_FACTOR,
        Some(factor @ 1..) => factor as usize,
        Some(_) => return Err(RpcError::value_error("branching_factor must be at least 1")),
    };
    let workers = match fields.optional_list("workers")? {
        Some(patterns) => Some(addresses::matching(ctx, &fields, &patterns).await?),
        None => None,
    };
    let wish = Wish {
        keys,
        copies,
        workers,
        branching_factor,
        delete: fields.flag("delete", true),
    };
    fulfil(ctx, wish).await
}

/// Copies until `copies` of `workers`, or all of them, hold every key: what `scatter(broadcast=)` wants.
pub async fn copy(
    ctx: &Arc<Context>,
    keys: &[Key],
    copies: Option<usize>,
    workers: &[WorkerId],
) -> Result<(), RpcError> {
    let wish = Wish {
        keys: keys.to_vec(),
        copies,
        workers: Some(workers.to_vec()),
        branching_factor: DEFAULT_BRANCHING_FACTOR,
        delete: true,
    };
    fulfil(ctx, wish).await.map(drop)
}

async fn fulfil(ctx: &Arc<Context>, wish: Wish) -> Result<Value, RpcError> {
    let _alone = ctx.rpc.replica_lock.write().await;
    let workers = running(ctx, wish.workers.clone()).await?;
    let ids: Vec<WorkerId> = workers.iter().map(|worker| worker.id).collect();
    let copies = wish.copies.unwrap_or(ids.len()).min(ids.len());
    if copies == 0 {
        return Err(RpcError::value_error(
            "Can not use replicate to delete data",
        ));
    }
    let missing = missing(ctx, &wish.keys).await?;
    if missing.is_truthy() {
        return Ok(map! {"status" => "partial-fail", "keys" => missing});
    }
    if wish.delete {
        delete_surplus(ctx, &wish.keys, copies, &ids).await?;
    }
    make_copies(ctx, &wish, copies, ids).await?;
    let message = map! {
        "action" => "replicate",
        "workers" => workers.iter().map(|worker| Value::from(&*worker.address)).collect::<Value>(),
        "key-count" => wish.keys.len(),
        "branching-factor" => wish.branching_factor,
    };
    events::log(ctx, array!["all"], message).await?;
    Ok(Value::Nil)
}

/// Running workers among `wanted`, or all of them.
async fn running(
    ctx: &Arc<Context>,
    wanted: Option<Vec<WorkerId>>,
) -> Result<Vec<WorkerContact>, RpcError> {
    let mut workers = ctx.core.call(|core, _, _| core.workers()).await?;
    workers.retain(|worker| worker.status == WorkerStatus::Running);
    if let Some(wanted) = wanted {
        workers.retain(|worker| wanted.contains(&worker.id));
    }
    Ok(workers)
}

/// The keys that nobody holds.
pub async fn missing(ctx: &Arc<Context>, keys: &[Key]) -> Result<Value, RpcError> {
    let keys = keys.to_vec();
    let located = ctx
        .core
        .call(move |core, _, _| core.who_has(Some(&keys)))
        .await?;
    let lost = located.iter().filter(|(_, holders)| holders.is_empty());
    Ok(lost.map(|(key, _)| Value::from(key)).collect())
}

async fn make_copies(
    ctx: &Arc<Context>,
    wish: &Wish,
    copies: usize,
    mut workers: Vec<WorkerId>,
) -> Result<(), RpcError> {
    loop {
        let (keys, among) = (wish.keys.clone(), workers.clone());
        let branching_factor = wish.branching_factor;
        let plan = move |core: &mut Scheduler, _: Time, _: &mut Effects| {
            let plan = core
                .plan_copies(&keys, copies, &among, branching_factor)
                .into_iter();
            let named = plan
                .filter_map(|(worker, keys)| Some((worker, core.worker(worker)?.address, keys)));
            named.collect::<Vec<_>>()
        };
        let generation = ctx.core.call(plan).await?;
        if generation.is_empty() {
            return Ok(());
        }
        let mut calls = JoinSet::new();
        for (worker, address, keys) in generation {
            let ctx = Arc::clone(ctx);
            let keys = keys
                .into_iter()
                .map(|(key, holders)| (key, holders.to_vec()));
            let keys: Located = keys.collect();
            calls.spawn(async move {
                let wanted = keys.len();
                let copied = gather_on_worker(&ctx, worker, &address, keys).await?;
                Ok::<_, RpcError>((worker, copied.len() == wanted))
            });
        }
        while let Some(call) = calls.join_next().await {
            let (worker, complete) = call.expect("copies neither panic nor are they aborted")?;
            if !complete {
                workers.retain(|other| *other != worker);
            }
        }
    }
}

/// Keys with the addresses of their holders.
pub type Located = Vec<(Key, Vec<Arc<str>>)>;

/// Lets one worker fetch keys from others and tells the core. Returns what it got.
pub async fn gather_on_worker(
    ctx: &Arc<Context>,
    worker: WorkerId,
    address: &Arc<str>,
    keys: Located,
) -> Result<Vec<(WorkerId, Key)>, RpcError> {
    let who_has: Value = keys
        .iter()
        .map(|(key, holders)| (Value::from(key), addresses::value(holders)))
        .collect();
    let request = map! {"op" => "gather", "who_has" => who_has.clone()};
    let refused = match peer::call(ctx, address, request).await {
        Ok(answer) => refused_keys(&answer, &keys),
        Err(error) => {
            tracing::warn!(worker = %address, error = %error, "worker failed during replication");
            keys.iter().map(|(key, _)| key.clone()).collect()
        }
    };
    let copied = keys.into_iter().map(|(key, _)| key);
    let copied: Vec<Key> = copied.filter(|key| !refused.contains(key)).collect();
    let told = copied.clone();
    let tell = move |core: &mut Scheduler, now, effects: &mut Effects| {
        core.replicas_gained(worker, &told, now, effects);
    };
    ctx.core.call(tell).await?;
    let message = map! {"action" => "replicate-add", "who_has" => who_has};
    events::log(ctx, array![&**address], message).await?;
    Ok(copied.into_iter().map(|key| (worker, key)).collect())
}

fn refused_keys(answer: &Value, keys: &Located) -> HashSet<Key> {
    match answer.get("status").and_then(Value::as_str) {
        Some("OK") => HashSet::new(),
        Some("partial-fail") => {
            let names = answer.get("keys").and_then(Value::as_array);
            names
                .unwrap_or_default()
                .iter()
                .filter_map(Value::as_key)
                .collect()
        }
        _ => keys.iter().map(|(key, _)| key.clone()).collect(),
    }
}

async fn delete_surplus(
    ctx: &Arc<Context>,
    keys: &[Key],
    copies: usize,
    workers: &[WorkerId],
) -> Result<(), RpcError> {
    let (keys, workers) = (keys.to_vec(), workers.to_vec());
    let plan = move |core: &mut Scheduler, _: Time, _: &mut Effects| {
        let plan = core.plan_surplus(&keys, copies, &workers).into_iter();
        let named =
            plan.filter_map(|(worker, keys)| Some((worker, core.worker(worker)?.address, keys)));
        named.collect::<Vec<_>>()
    };
    let mut calls = JoinSet::new();
    for (worker, address, keys) in ctx.core.call(plan).await? {
        let ctx = Arc::clone(ctx);
        calls.spawn(async move { delete_on_worker(&ctx, worker, &address, keys).await });
    }
    while let Some(call) = calls.join_next().await {
        call.expect("deletions neither panic nor are they aborted")?;
    }
    Ok(())
}

/// Has a worker drop keys and tells the core; a worker that cannot be reached keeps them.
pub async fn delete_on_worker(
    ctx: &Arc<Context>,
    worker: WorkerId,
    address: &Arc<str>,
    keys: Vec<Key>,
) -> Result<(), RpcError> {
    let names: Value = keys.iter().map(Value::from).collect();
    let request = map! {
        "op" => "free_keys",
        "keys" => names.clone(),
        "stimulus_id" => events::stimulus("delete-data"),
    };
    if let Err(error) = peer::call(ctx, address, request).await {
        let PeerError::Unreachable { .. } = &error else {
            return Err(error.into());
        };
        tracing::warn!(worker = %address, error = %error, "worker failed during replication");
        return Ok(());
    }
    let tell = move |core: &mut Scheduler, now, effects: &mut Effects| {
        core.replicas_dropped(worker, &keys, now, effects);
    };
    ctx.core.call(tell).await?;
    let message = map! {"action" => "remove-worker-data", "keys" => names};
    events::log(ctx, array![&**address], message).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(answer: Value) -> usize {
        let keys = vec![(Key::str("x"), Vec::new()), (Key::str("y"), Vec::new())];
        refused_keys(&answer, &keys).len()
    }

    #[test]
    fn a_worker_says_which_keys_it_did_not_get() {
        assert_eq!(refused(map! {"status" => "OK"}), 0);
        assert_eq!(
            refused(map! {"status" => "partial-fail", "keys" => array!["x"]}),
            1
        );
    }

    #[test]
    fn an_answer_nobody_understands_means_that_nothing_was_copied() {
        assert_eq!(refused(map! {"status" => "perhaps"}), 2);
    }
}
