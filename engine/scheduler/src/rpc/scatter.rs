//! `scatter`: data from a client to workers, dealt out in turn.
//!
//! The scheduler only relays: payloads stay as they came and go to `update_data` of the workers. What the workers say
//! they hold is then told to the core in one step. What a worker is just being told to drop is not given to it under the
//! same name before it has: requests may overtake its stream.

use super::fields::Fields;
use super::{RpcError, addresses, events, peer, replicate, workers};
use crate::clock;
use crate::context::Context;
use protocol::{Key, Text, Value, array, map};
use scheduler_core::{Scheduler, WorkerContact, WorkerId, WorkerStatus};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

/// Where the next key goes; workers are dealt to in turn over the whole life of the scheduler.
static NEXT_WORKER: AtomicUsize = AtomicUsize::new(0);

/// How long `scatter` waits for a worker when the caller does not say.
const DEFAULT_TIMEOUT_SECONDS: f64 = 2.0;

/// How often it looks whether one has come.
const POLL: Duration = Duration::from_millis(100);

/// How often it looks whether workers have dropped what they were told to; they do within a few milliseconds.
const POLL_DROPPED: Duration = Duration::from_millis(1);

/// How often data is given to workers that are told to drop other scattered data at that very moment.
const MOST_ATTEMPTS: usize = 5;

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
    let addresses: Vec<_> = workers
        .iter()
        .map(|worker| Arc::clone(&worker.address))
        .collect();
    let ids: Vec<_> = workers.iter().map(|worker| worker.id).collect();
    let place = Placing {
        ids: &ids,
        keys: &keys,
        client: client.clone(),
    };
    place_all(ctx, place, deal(&addresses, data, start)).await?;
    match broadcast {
        Broadcast::No => {}
        Broadcast::Everywhere => replicate::copy(ctx, &keys, None, &ids).await?,
        Broadcast::Copies(count) => replicate::copy(ctx, &keys, Some(count), &ids).await?,
    }
    let message = map! {"action" => "scatter", "client" => client.clone(), "count" => keys.len()};
    let topics = match client {
        Some(client) => array![client, "all"],
        None => array!["all"],
    };
    events::log(ctx, topics, message).await?;
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

/// Running workers, in order of address: all of them, or those of `wanted`.
async fn wait_for_workers(
    ctx: &Arc<Context>,
    wanted: Option<&[Value]>,
    timeout_seconds: f64,
) -> Result<Vec<WorkerContact>, RpcError> {
    let deadline = clock::now().plus_seconds(timeout_seconds);
    loop {
        let mut workers = ctx.core.call(|core, _, _| core.workers()).await?;
        if let Some(names) = wanted {
            let wanted = addresses::registered(ctx, names).await?;
            workers.retain(|worker| wanted.iter().any(|(_, id)| *id == worker.id));
        }
        workers.retain(|worker| worker.status == WorkerStatus::Running);
        if !workers.is_empty() {
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
        hands[start.wrapping_add(index) % workers.len()]
            .1
            .push(entry);
    }
    hands.retain(|(_, entries)| !entries.is_empty());
    hands
}

/// What is scattered for whom, and where it may go.
struct Placing<'a> {
    ids: &'a [WorkerId],
    keys: &'a [Key],
    client: Option<Text>,
}

/// Gives every worker its hand and tells the core, so that it is so: not before workers have dropped what was scattered
/// under the same names before, and again if they were told to drop something meanwhile.
async fn place_all(
    ctx: &Arc<Context>,
    placing: Placing<'_>,
    hands: Vec<Hand>,
) -> Result<(), RpcError> {
    let addresses: Vec<Arc<str>> = hands.iter().map(|(worker, _)| Arc::clone(worker)).collect();
    for attempt in 1.. {
        let dropped_before = wait_until_dropped(ctx, &placing).await?;
        let (replicas, sizes) = hand_out(ctx, hands.clone()).await?;
        let (held_by, client) = (addresses.clone(), placing.client.clone());
        let last = attempt == MOST_ATTEMPTS;
        let still_there =
            move |core: &Scheduler| last || !core.dropped_since(dropped_before, &held_by);
        if workers::tell_data_if(ctx, replicas, &sizes, client, still_there).await? {
            break;
        }
    }
    Ok(())
}

/// How many scattered values had been dropped by the time that nobody had any of these left to drop.
async fn wait_until_dropped(ctx: &Arc<Context>, placing: &Placing<'_>) -> Result<u64, RpcError> {
    let (ids, keys): (Arc<[WorkerId]>, Arc<[Key]>) = (placing.ids.into(), placing.keys.into());
    loop {
        let (ids, keys) = (Arc::clone(&ids), Arc::clone(&keys));
        let asked = ctx
            .core
            .call(move |core, now, _| core.may_take(&ids, &keys, now));
        if let Some(dropped_before) = asked.await? {
            return Ok(dropped_before);
        }
        tokio::time::sleep(POLL_DROPPED).await;
    }
}

type Placed = (Vec<(Key, Vec<Arc<str>>)>, HashMap<Key, u64>);

/// Sends every worker its hand; the first failure ends the scatter, as in stock. Returns who holds what, and sizes.
async fn hand_out(ctx: &Arc<Context>, hands: Vec<Hand>) -> Result<Placed, RpcError> {
    let mut answers = JoinSet::new();
    for (worker, entries) in hands {
        let ctx = Arc::clone(ctx);
        answers.spawn(async move {
            let keys: Vec<Key> = entries
                .iter()
                .filter_map(|(name, _)| name.as_key())
                .collect();
            let request = map! {"op" => "update_data", "data" => Value::Map(entries)};
            let answer = peer::call(&ctx, &worker, request).await;
            (worker, keys, answer)
        });
    }
    let (mut replicas, mut sizes) = Placed::default();
    while let Some(call) = answers.join_next().await {
        let (worker, keys, answer) = call.expect("calls neither panic nor are they aborted");
        let answer = answer?;
        let nbytes = answer
            .get("nbytes")
            .and_then(Value::as_map)
            .unwrap_or_default();
        sizes.extend(
            nbytes
                .iter()
                .filter_map(|(name, size)| Some((name.as_key()?, size.as_u64()?))),
        );
        replicas.extend(keys.into_iter().map(|key| (key, vec![Arc::clone(&worker)])));
    }
    Ok((replicas, sizes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dealt(workers: &[&str], count: i64, start: usize) -> Vec<(String, Vec<i64>)> {
        let workers: Vec<Arc<str>> = workers.iter().map(|&it| Arc::from(it)).collect();
        let data = (0..count)
            .map(|key| (Value::from(key), Value::Nil))
            .collect();
        let keys = |entries: Vec<(Value, Value)>| {
            entries.iter().filter_map(|(key, _)| key.as_i64()).collect()
        };
        let hands = deal(&workers, data, start).into_iter();
        hands
            .map(|(worker, entries)| (worker.to_string(), keys(entries)))
            .collect()
    }

    #[test]
    fn data_is_dealt_out_in_turn() {
        let hands = dealt(&["a", "b"], 3, 0);
        assert_eq!(
            hands,
            [("a".to_owned(), vec![0, 2]), ("b".to_owned(), vec![1])]
        );
    }

    #[test]
    fn the_next_scatter_goes_on_where_the_last_one_ended() {
        let hands = dealt(&["a", "b", "c"], 1, 4);
        assert_eq!(hands, [("b".to_owned(), vec![0])]);
    }

    #[test]
    fn broadcast_is_a_bool_or_a_number_of_copies() {
        let read =
            |value: Value| read_broadcast(&mut Fields::new("scatter", map! {"broadcast" => value}));
        assert!(matches!(read(Value::from(true)), Ok(Broadcast::Everywhere)));
        assert!(matches!(read(Value::from(2)), Ok(Broadcast::Copies(2))));
        assert!(matches!(read(Value::from(false)), Ok(Broadcast::No)));
        assert!(read(Value::from("all")).is_err());
    }
}
