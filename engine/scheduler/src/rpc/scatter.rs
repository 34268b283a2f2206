//! `scatter`: data from a client to workers, dealt out in turn.
//!
//! The scheduler only relays: payloads stay as they came and go to `update_data` of the workers. What the workers say
//! they hold is then told to the core in one step.

use super::fields::Fields;
use super::{RpcError, addresses, peer, replicate};
use crate::clock;
use crate::context::Context;
use protocol::{Key, Value, map};
use scheduler_core::WorkerStatus;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Where the next key goes; workers are dealt to in turn over the whole life of the scheduler.
static NEXT_WORKER: AtomicUsize = AtomicUsize::new(0);

/// How long `scatter` waits for a worker when the caller does not say.
const DEFAULT_TIMEOUT_SECONDS: f64 = 2.0;

/// How often it looks whether one has come.
const POLL: Duration = Duration::from_millis(100);

/// Copies wanted beside the first.
enum Broadcast {
    No,
    Everywhere,
    Copies(usize),
}

pub async fn scatter(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let data = fields.map("data")?;
    let wanted = fields.optional_list("workers")?;
    let client = fields.optional_text("client")?;
    let broadcast = read_broadcast(&mut fields)?;
    let timeout = fields
        .optional_seconds("timeout")?
        .unwrap_or(DEFAULT_TIMEOUT_SECONDS);
    let workers = wait_for_workers(ctx, wanted.as_deref(), timeout).await?;
    let keys = read_keys(&fields, &data)?;
    let names: Value = data.iter().map(|(name, _)| name.clone()).collect();
    if keys.is_empty() {
        return Ok(names);
    }
    let start = NEXT_WORKER.fetch_add(data.len(), Ordering::Relaxed);
    let replicas = hand_out(ctx, deal(&workers, data, start)).await?;
    let report = client.clone();
    ctx.core
        .call(move |core, now, effects| {
            core.update_data(replicas, report.as_ref(), now, effects);
        })
        .await?;
    match broadcast {
        Broadcast::No => {}
        Broadcast::Everywhere => replicate::copy(ctx, &keys, None, Some(&workers)).await?,
        Broadcast::Copies(count) => {
            replicate::copy(ctx, &keys, Some(count), Some(&workers)).await?;
        }
    }
    log_scatter(ctx, client, keys.len()).await?;
    Ok(names)
}

fn read_broadcast(fields: &mut Fields) -> Result<Broadcast, RpcError> {
    match fields.take("broadcast") {
        None | Some(Value::Bool(false)) => Ok(Broadcast::No),
        Some(Value::Bool(true)) => Ok(Broadcast::Everywhere),
        Some(value) => match value.as_i64() {
            Some(0) => Ok(Broadcast::No),
            Some(count @ 1..) => Ok(Broadcast::Copies(count as usize)),
            _ => Err(fields.wrong("broadcast", "a bool or a positive integer", &value)),
        },
    }
}

fn read_keys(fields: &Fields, data: &[(Value, Value)]) -> Result<Vec<Key>, RpcError> {
    let key = |(name, _): &(Value, Value)| {
        name.as_key()
            .ok_or_else(|| fields.wrong("data", "a mapping of task keys", name))
    };
    data.iter().map(key).collect()
}

/// Running workers, sorted: all of them, or those of `wanted`.
async fn wait_for_workers(
    ctx: &Arc<Context>,
    wanted: Option<&[Value]>,
    timeout_seconds: f64,
) -> Result<Vec<Arc<str>>, RpcError> {
    let deadline = clock::now().plus_seconds(timeout_seconds);
    loop {
        let mut workers = match wanted {
            Some(names) => addresses::registered(ctx, names).await?,
            None => ctx.core.call(|core, _, _| core.worker_addresses()).await?,
        };
        let status = ctx.core.call({
            let workers = workers.clone();
            move |core, _, _| core.worker_statuses(&workers)
        });
        let mut statuses = status.await?.into_iter();
        workers.retain(|_| statuses.next() == Some(Some(WorkerStatus::Running)));
        if !workers.is_empty() {
            workers.sort_unstable();
            workers.dedup();
            return Ok(workers);
        }
        if clock::now() > deadline {
            return Err(RpcError::timeout("No valid workers found"));
        }
        tokio::time::sleep(POLL).await;
    }
}

type Hand = (Arc<str>, Vec<(Value, Value)>);

/// Deals the data out in turn, beginning with worker `start`.
fn deal(workers: &[Arc<str>], data: Vec<(Value, Value)>, start: usize) -> Vec<Hand> {
    let mut hands: Vec<Hand> = workers
        .iter()
        .map(|worker| (Arc::clone(worker), Vec::new()))
        .collect();
    for (index, entry) in data.into_iter().enumerate() {
        hands[start.wrapping_add(index) % workers.len()].1.push(entry);
    }
    hands.retain(|(_, entries)| !entries.is_empty());
    hands
}

/// A key that a worker now holds, and its size where the worker said it.
pub struct Placed {
    pub key: Key,
    pub worker: Arc<str>,
    pub nbytes: Option<u64>,
}

/// Sends every worker its hand; the first failure ends the scatter, as in stock.
async fn hand_out(ctx: &Arc<Context>, hands: Vec<Hand>) -> Result<Vec<Placed>, RpcError> {
    let mut answers = tokio::task::JoinSet::new();
    for (worker, entries) in hands {
        let ctx = Arc::clone(ctx);
        answers.spawn(async move {
            let names: Vec<Value> = entries.iter().map(|(name, _)| name.clone()).collect();
            let request = map! {"op" => "update_data", "data" => Value::Map(entries)};
            let answer = peer::call(&ctx, &worker, request).await?;
            Ok::<_, peer::PeerError>(placed(&worker, &names, &answer))
        });
    }
    let mut all = Vec::new();
    while let Some(answer) = answers.join_next().await {
        all.extend(answer.expect("requests neither panic nor are they aborted")?);
    }
    Ok(all)
}

fn placed(worker: &Arc<str>, names: &[Value], answer: &Value) -> Vec<Placed> {
    let sizes: HashMap<Key, u64> = answer
        .get("nbytes")
        .and_then(Value::as_map)
        .unwrap_or_default()
        .iter()
        .filter_map(|(name, nbytes)| Some((name.as_key()?, nbytes.as_u64()?)))
        .collect();
    let keys = names.iter().filter_map(Value::as_key);
    keys.map(|key| Placed {
        nbytes: sizes.get(&key).copied(),
        worker: Arc::clone(worker),
        key,
    })
    .collect()
}
