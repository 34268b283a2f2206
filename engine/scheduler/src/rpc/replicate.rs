//! `replicate`: more, or fewer, copies of results, spread in generations.
//!
//! Every generation copies to at most `branching_factor` new workers for each holder there is, so that no holder is
//! asked by everyone at once. A recipient that fails is not asked again: the loop ends.

use super::fields::Fields;
use super::peer::{self, PeerError};
use super::{RpcError, addresses, events};
use crate::context::Context;
use protocol::{Key, Text, Value, array, map};
use scheduler_core::WorkerStatus;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use tokio::task::JoinSet;

const DEFAULT_BRANCHING_FACTOR: usize = 2;

/// What is asked for.
struct Wish {
    keys: Vec<Key>,
    /// How many copies; `None` for one on every worker.
    copies: Option<usize>,
    workers: Option<Vec<Arc<str>>>,
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

/// Copies to `workers` (or to all) until `copies` of them (or all) hold every key, as `scatter(broadcast=)` wants it.
pub async fn copy(
    ctx: &Arc<Context>,
    keys: &[Key],
    copies: Option<usize>,
    workers: Option<&[Arc<str>]>,
) -> Result<(), RpcError> {
    let wish = Wish {
        keys: keys.to_vec(),
        copies,
        workers: workers.map(<[_]>::to_vec),
        branching_factor: DEFAULT_BRANCHING_FACTOR,
        delete: true,
    };
    fulfil(ctx, wish).await.map(drop)
}

async fn fulfil(ctx: &Arc<Context>, wish: Wish) -> Result<Value, RpcError> {
    let _alone = ctx.rpc.replica_lock.write().await;
    let workers = running(ctx, wish.workers.clone()).await?;
    let copies = wish.copies.unwrap_or(workers.len()).min(workers.len());
    if copies == 0 {
        return Err(RpcError::value_error("Can not use replicate to delete data"));
    }
    let mut located = locate(ctx, &wish.keys).await?;
    let missing: Value = located
        .iter()
        .filter(|(_, holders)| holders.is_empty())
        .map(|(key, _)| Value::from(key))
        .collect();
    if missing.is_truthy() {
        return Ok(map! {"status" => "partial-fail", "keys" => missing});
    }
    if wish.delete {
        delete_surplus(ctx, &located, &workers, copies).await?;
    }
    let mut failed = HashSet::new();
    loop {
        located = locate(ctx, &wish.keys).await?;
        let generation = plan(&located, &workers, copies, wish.branching_factor, &failed);
        if generation.is_empty() {
            break;
        }
        failed.extend(copy_generation(ctx, generation).await?);
    }
    let message = map! {
        "action" => "replicate",
        "workers" => addresses::value(&workers),
        "key-count" => wish.keys.len(),
        "branching-factor" => wish.branching_factor,
    };
    events::log(ctx, array!["all"], message).await?;
    Ok(Value::Nil)
}

type Located = Vec<(Key, Vec<Arc<str>>)>;

async fn locate(ctx: &Arc<Context>, keys: &[Key]) -> Result<Located, RpcError> {
    let keys = keys.to_vec();
    Ok(ctx.core.call(move |core, _, _| core.holders(&keys)).await?)
}

/// Running workers among `wanted`, or all of them.
async fn running(
    ctx: &Arc<Context>,
    wanted: Option<Vec<Arc<str>>>,
) -> Result<Vec<Arc<str>>, RpcError> {
    let question = move |core: &mut scheduler_core::Scheduler, _, _: &mut _| {
        let mut workers = wanted.unwrap_or_else(|| core.worker_addresses());
        let mut statuses = core.worker_statuses(&workers).into_iter();
        workers.retain(|_| statuses.next() == Some(Some(WorkerStatus::Running)));
        workers
    };
    Ok(ctx.core.call(question).await?)
}

/// What each recipient copies from whom.
type Generation = BTreeMap<Arc<str>, Located>;

/// The next copies to make; empty when every key has enough, or nobody is left who could take one.
fn plan(
    located: &Located,
    workers: &[Arc<str>],
    copies: usize,
    branching_factor: usize,
    failed: &HashSet<(Arc<str>, Key)>,
) -> Generation {
    let mut generation = Generation::new();
    for (key, holders) in located {
        let held = workers.iter().filter(|it| holders.contains(it)).count();
        let missing = copies.saturating_sub(held);
        let count = missing.min(branching_factor * holders.len());
        for worker in candidates(key, holders, workers, failed).take(count) {
            let keys = generation.entry(Arc::clone(worker)).or_default();
            keys.push((key.clone(), holders.clone()));
        }
    }
    generation
}

/// Workers that could take a copy; where the list begins depends on the key, which spreads the load.
fn candidates<'a>(
    key: &Key,
    holders: &'a [Arc<str>],
    workers: &'a [Arc<str>],
    failed: &'a HashSet<(Arc<str>, Key)>,
) -> impl Iterator<Item = &'a Arc<str>> + use<'a> {
    let key = key.clone();
    let start = (key.hash64() % workers.len().max(1) as u64) as usize;
    let turned = workers[start..].iter().chain(&workers[..start]);
    turned.filter(move |worker| {
        !holders.contains(worker) && !failed.contains(&(Arc::clone(worker), key.clone()))
    })
}

/// Makes the copies and tells the core of them. Returns what failed.
async fn copy_generation(
    ctx: &Arc<Context>,
    generation: Generation,
) -> Result<Vec<(Arc<str>, Key)>, RpcError> {
    let mut calls = JoinSet::new();
    for (worker, keys) in generation {
        let ctx = Arc::clone(ctx);
        calls.spawn(async move { gather_on_worker(&ctx, worker, keys).await });
    }
    let mut failed = Vec::new();
    while let Some(call) = calls.join_next().await {
        failed.extend(call.expect("copies neither panic nor are they aborted")?);
    }
    Ok(failed)
}

/// Lets one worker fetch keys from others. Returns what it did not get.
pub async fn gather_on_worker(
    ctx: &Arc<Context>,
    worker: Arc<str>,
    keys: Located,
) -> Result<Vec<(Arc<str>, Key)>, RpcError> {
    let who_has: Value = keys
        .iter()
        .map(|(key, holders)| (Value::from(key), addresses::value(holders)))
        .collect();
    let request = map! {"op" => "gather", "who_has" => who_has.clone()};
    let not_copied = match peer::call(ctx, &worker, request).await {
        Ok(answer) => refused_keys(&answer, &keys),
        Err(error) => {
            tracing::warn!(worker = %worker, error = %error, "worker failed during replication");
            keys.iter().map(|(key, _)| key.clone()).collect()
        }
    };
    let copied = keys.into_iter().map(|(key, _)| key);
    let copied: Vec<Key> = copied.filter(|key| !not_copied.contains(key)).collect();
    let recipient = Arc::clone(&worker);
    ctx.core
        .call(move |core, now, effects| core.add_replicas(&recipient, &copied, now, effects))
        .await?;
    let message = map! {"action" => "replicate-add", "who_has" => who_has};
    events::log(ctx, array![&*worker], message).await?;
    Ok(not_copied
        .into_iter()
        .map(|key| (Arc::clone(&worker), key))
        .collect())
}

fn refused_keys(answer: &Value, keys: &Located) -> HashSet<Key> {
    match answer.get("status").and_then(Value::as_str) {
        Some("OK") => HashSet::new(),
        Some("partial-fail") => {
            let names = answer.get("keys").and_then(Value::as_array);
            names.unwrap_or_default().iter().filter_map(Value::as_key).collect()
        }
        _ => keys.iter().map(|(key, _)| key.clone()).collect(),
    }
}

async fn delete_surplus(
    ctx: &Arc<Context>,
    located: &Located,
    workers: &[Arc<str>],
    copies: usize,
) -> Result<(), RpcError> {
    let mut calls = JoinSet::new();
    for (worker, keys) in surplus(located, workers, copies) {
        let ctx = Arc::clone(ctx);
        calls.spawn(async move { delete_on_worker(&ctx, worker, keys).await });
    }
    while let Some(call) = calls.join_next().await {
        call.expect("deletions neither panic nor are they aborted")?;
    }
    Ok(())
}

/// Which copies are too many.
fn surplus(
    located: &Located,
    workers: &[Arc<str>],
    copies: usize,
) -> BTreeMap<Arc<str>, Vec<Key>> {
    let mut deletions: BTreeMap<Arc<str>, Vec<Key>> = BTreeMap::new();
    for (key, holders) in located {
        let held: Vec<_> = workers.iter().filter(|it| holders.contains(it)).collect();
        let start = (key.hash64() % held.len().max(1) as u64) as usize;
        for turn in copies..held.len() {
            let worker = held[(start + turn) % held.len()];
            deletions.entry(Arc::clone(worker)).or_default().push(key.clone());
        }
    }
    deletions
}

/// Has a worker drop keys and tells the core; a worker that cannot be reached keeps them.
pub async fn delete_on_worker(
    ctx: &Arc<Context>,
    worker: Arc<str>,
    keys: Vec<Key>,
) -> Result<(), RpcError> {
    let stimulus_id = events::stimulus("delete-data");
    let names: Value = keys.iter().map(Value::from).collect();
    let request = map! {
        "op" => "free_keys",
        "keys" => names.clone(),
        "stimulus_id" => stimulus_id.clone(),
    };
    if let Err(error) = peer::call(ctx, &worker, request).await {
        let PeerError::Unreachable { .. } = &error else {
            return Err(error.into());
        };
        tracing::warn!(worker = %worker, error = %error, "worker failed during replication");
        return Ok(());
    }
    let holder = Arc::clone(&worker);
    forget(ctx, holder, keys, stimulus_id).await?;
    let message = map! {"action" => "remove-worker-data", "keys" => names};
    events::log(ctx, array![&*worker], message).await
}

async fn forget(
    ctx: &Arc<Context>,
    worker: Arc<str>,
    keys: Vec<Key>,
    stimulus_id: Text,
) -> Result<(), RpcError> {
    let forget = move |core: &mut scheduler_core::Scheduler, now, effects: &mut _| {
        core.remove_replicas(&worker, &keys, &stimulus_id, now, effects);
    };
    Ok(ctx.core.call(forget).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(names: &[&str]) -> Vec<Arc<str>> {
        names.iter().map(|&name| Arc::from(name)).collect()
    }

    fn located(key: &str, holders: &[&str]) -> Located {
        vec![(Key::str(key), addresses(holders))]
    }

    #[test]
    fn a_generation_is_at_most_the_branching_factor_for_each_holder() {
        let workers = addresses(&["a", "b", "c", "d", "e", "f"]);
        let none = HashSet::new();
        assert_eq!(plan(&located("x", &["a"]), &workers, 6, 2, &none).len(), 2);
        let next = plan(&located("x", &["a", "b", "c"]), &workers, 6, 2, &none);
        assert_eq!(next.len(), 3);
    }

    #[test]
    fn holders_outside_the_wanted_workers_give_but_do_not_count() {
        let workers = addresses(&["b", "c"]);
        let generation = plan(&located("x", &["a"]), &workers, 2, 2, &HashSet::new());
        let recipients: Vec<_> = generation.keys().map(|it| &**it).collect();
        assert_eq!(recipients, ["b", "c"]);
    }

    #[test]
    fn a_recipient_that_failed_is_not_asked_again() {
        let workers = addresses(&["a", "b"]);
        let failed = HashSet::from([(Arc::from("b"), Key::str("x"))]);
        assert!(plan(&located("x", &["a"]), &workers, 2, 2, &failed).is_empty());
    }

    #[test]
    fn surplus_copies_leave_as_many_as_wanted() {
        let workers = addresses(&["a", "b", "c"]);
        let deletions = surplus(&located("x", &["a", "b", "c"]), &workers, 1);
        assert_eq!(deletions.values().map(Vec::len).sum::<usize>(), 2);
        assert!(surplus(&located("x", &["a"]), &workers, 1).is_empty());
    }
}
