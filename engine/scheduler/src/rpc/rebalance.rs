//! `rebalance`: results move so that workers end up with about the same memory in use.
//!
//! The core plans. A result is copied first and its old copy deleted when the new one is there, so that a failure costs
//! balance and no data.

use super::fields::Fields;
use super::replicate::{Located, delete_on_worker, gather_on_worker, missing};
use super::{RpcError, addresses, events};
use crate::config::dask::WorkerMemoryConfig;
use crate::context::Context;
use protocol::{Key, Value, array, map};
use scheduler_core::{
    Effects, MemoryMeasure, Move, RebalancePlan, RebalanceRules, Scheduler, Time, WorkerId,
};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use tokio::task::JoinSet;

pub async fn rebalance(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let keys = fields.optional_keys("keys")?;
    let workers = match fields.optional_list("workers")? {
        Some(workers) => {
            let found = addresses::registered(ctx, &workers).await?;
            Some(
                found
                    .into_iter()
                    .map(|(_, worker)| worker)
                    .collect::<Vec<_>>(),
            )
        }
        None => None,
    };
    if let Some(keys) = &keys {
        let missing = missing(ctx, keys).await?;
        if missing.is_truthy() {
            return Ok(map! {"status" => "partial-fail", "keys" => missing});
        }
    }
    // Failures are of interest to those who asked for certain keys.
    let reports_failures = keys.is_some();
    let rules = rules(&ctx.config.dask.worker_memory)?;
    let plan = ctx
        .core
        .call(move |core, _, _| core.plan_rebalance(keys.as_deref(), workers.as_deref(), &rules));
    let plan = plan.await?;
    let _alone = ctx.rpc.replica_lock.write().await;
    let failed = perform(ctx, &plan).await?;
    log(ctx, &plan).await?;
    if failed.is_empty() || !reports_failures {
        return Ok(map! {"status" => "OK"});
    }
    let failed: Value = failed.iter().map(Value::from).collect();
    Ok(map! {"status" => "partial-fail", "keys" => failed})
}

fn rules(config: &WorkerMemoryConfig) -> Result<RebalanceRules, RpcError> {
    let measure = MemoryMeasure::from_name(&config.rebalance_measure);
    Ok(RebalanceRules {
        measure: measure.ok_or_else(|| {
            let name = &config.rebalance_measure;
            RpcError::value_error(format!(
                "distributed.worker.memory.rebalance.measure is {name:?}, which is no measure"
            ))
        })?,
        sender_min: config.rebalance_sender_min,
        recipient_max: config.rebalance_recipient_max,
        gap: config.rebalance_sender_recipient_gap,
    })
}

type ByWorker<T> = BTreeMap<WorkerId, Vec<T>>;

/// Copies everything, then deletes the old copies of what has arrived. Returns what did not.
async fn perform(ctx: &Arc<Context>, plan: &RebalancePlan) -> Result<HashSet<Key>, RpcError> {
    let mut copies: ByWorker<&Move> = ByWorker::new();
    for one in &plan.moves {
        copies.entry(one.to).or_default().push(one);
    }
    let mut calls = JoinSet::new();
    for (recipient, moves) in copies {
        let keys = moves
            .iter()
            .map(|one| (one.key.clone(), one.from))
            .collect();
        let Some((address, located)) = locate(ctx, recipient, keys).await? else {
            continue;
        };
        let ctx = Arc::clone(ctx);
        calls.spawn(async move { gather_on_worker(&ctx, recipient, &address, located).await });
    }
    let mut arrived = HashSet::new();
    while let Some(call) = calls.join_next().await {
        arrived.extend(call.expect("copies neither panic nor are they aborted")?);
    }
    let mut deletions: ByWorker<Key> = ByWorker::new();
    let (moved, failed): (Vec<_>, Vec<_>) = plan
        .moves
        .iter()
        .partition(|one| arrived.contains(&(one.to, one.key.clone())));
    for one in moved {
        deletions.entry(one.from).or_default().push(one.key.clone());
    }
    for (sender, keys) in deletions {
        if let Some((address, _)) = locate(ctx, sender, Vec::new()).await? {
            delete_on_worker(ctx, sender, &address, keys).await?;
        }
    }
    Ok(failed.into_iter().map(|one| one.key.clone()).collect())
}

/// Addresses for ids; `None` when the recipient is gone. Holders that are gone are left out.
async fn locate(
    ctx: &Arc<Context>,
    recipient: WorkerId,
    keys: Vec<(Key, WorkerId)>,
) -> Result<Option<(Arc<str>, Located)>, RpcError> {
    let question = move |core: &mut Scheduler, _: Time, _: &mut Effects| {
        let holder = |(key, from): (Key, WorkerId)| {
            let holder = core.worker(from).map(|worker| worker.address);
            (key, holder.into_iter().collect())
        };
        let located = keys.into_iter().map(holder).collect();
        Some((core.worker(recipient)?.address, located))
    };
    Ok(ctx.core.call(question).await?)
}

async fn log(ctx: &Arc<Context>, plan: &RebalancePlan) -> Result<(), RpcError> {
    let message = map! {
        "action" => "rebalance",
        "senders" => plan.senders,
        "recipients" => plan.recipients,
        "moved_keys" => plan.moves.len(),
    };
    events::log(ctx, array!["all"], message).await
}
