//! What workers and nannies ask beside their streams: heartbeats, leaving, resources, replicas.
//!
//! Heartbeats come from every worker twice a second: one step of the core, no look at what the metrics hold.

use super::fields::Fields;
use super::{RpcError, addresses, events};
use crate::clock;
use crate::context::Context;
use crate::registration;
use protocol::{Key, Text, Value, map};
use scheduler_core::{Heartbeat, HeartbeatAnswer, Removal};
use std::sync::Arc;

pub async fn heartbeat_worker(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let address = fields.text("address")?.to_string();
    let heartbeat = read_heartbeat(&mut fields)?;
    let resources = fields.take("resources");
    let (mut answer, mut time) = beat(ctx, address.clone(), heartbeat.clone()).await?;
    if answer == HeartbeatAnswer::Missing {
        // A worker may call itself by a host name; it is registered by IP.
        let resolved = addresses::coerce(ctx, &[Value::from(&*address)]).await?;
        if *resolved[0] != *address {
            (answer, time) = beat(ctx, resolved[0].to_string(), heartbeat).await?;
        }
    }
    let HeartbeatAnswer::Known { interval } = answer else {
        tracing::warn!(worker = address, "heartbeat of a worker that is not registered");
        return Ok(map! {"status" => "missing"});
    };
    if let Some(resources) = resources {
        add_resources(ctx, Value::from(&*address), &resources).await?;
    }
    Ok(map! {"status" => "OK", "time" => time, "heartbeat-interval" => interval})
}

fn read_heartbeat(fields: &mut Fields) -> Result<Heartbeat, RpcError> {
    let executing = match fields.take("executing") {
        Some(Value::Map(entries)) => entries
            .iter()
            .filter_map(|(key, seconds)| Some((key.as_key()?, seconds.as_f64()?)))
            .collect(),
        _ => Vec::new(),
    };
    Ok(Heartbeat {
        now_seconds: fields.optional_number("now")?.unwrap_or(0.0),
        metrics: Value::Map(fields.map("metrics")?).detached(),
        executing,
        host_info: fields.take("host_info").unwrap_or_default(),
    })
}

/// The core's answer and its time in seconds.
async fn beat(
    ctx: &Arc<Context>,
    address: String,
    heartbeat: Heartbeat,
) -> Result<(HeartbeatAnswer, f64), RpcError> {
    let beat = move |core: &mut scheduler_core::Scheduler, now, effects: &mut _| {
        (core.heartbeat(&address, heartbeat, now, effects), clock::seconds(now))
    };
    Ok(ctx.core.call(beat).await?)
}

pub async fn unregister(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let address = addresses::coerce(ctx, &[fields.required("address")?]).await?;
    let removal = Removal {
        expected: fields.flag("expected", false),
        close: fields.flag("close", true),
        reason: Arc::from("unregister"),
        stimulus_id: match fields.optional_text("stimulus_id")? {
            Some(stimulus_id) => stimulus_id.detached(),
            None => events::stimulus("unregister"),
        },
    };
    let remove = move |core: &mut scheduler_core::Scheduler, now, effects: &mut _| {
        let worker = core.worker_at(&address[0]);
        worker.map(|worker| core.remove_worker(worker, removal, now, effects))
    };
    let removed = ctx.core.call(remove).await?;
    Ok(Value::text(if removed.is_some() { "OK" } else { "already-removed" }))
}

pub async fn set_resources(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let worker = fields.required("worker")?;
    let resources = fields.take("resources").unwrap_or_default();
    add_resources(ctx, worker, &resources).await?;
    Ok(Value::text("OK"))
}

async fn add_resources(
    ctx: &Arc<Context>,
    worker: Value,
    resources: &Value,
) -> Result<(), RpcError> {
    let resources = registration::resources(resources).map_err(RpcError::type_error)?;
    let worker = addresses::registered(ctx, &[worker]).await?;
    let set = move |core: &mut scheduler_core::Scheduler, now, effects: &mut _| {
        if let Some(worker) = core.worker_at(&worker[0]) {
            core.set_resources(worker, resources, now, effects);
        }
    };
    Ok(ctx.core.call(set).await?)
}

pub async fn add_keys(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let worker = fields.string("worker")?;
    let keys = fields.optional_keys("keys")?.unwrap_or_default();
    let stimulus_id = match fields.optional_text("stimulus_id")? {
        Some(stimulus_id) => stimulus_id.detached(),
        None => events::stimulus("redundant-replicas"),
    };
    let add = move |core: &mut scheduler_core::Scheduler, now, effects: &mut _| {
        let worker = core.worker_at(&worker);
        worker.map(|worker| core.add_keys(worker, &keys, stimulus_id, now, effects))
    };
    let known = ctx.core.call(add).await?;
    Ok(Value::text(if known.is_some() { "OK" } else { "not found" }))
}

/// Data that a client has put on workers itself.
pub async fn update_data(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let who_has = fields.map("who_has")?;
    let nbytes = Value::Map(fields.map("nbytes")?);
    let client = fields.optional_text("client")?;
    let mut sizes: std::collections::HashMap<Key, u64> = nbytes
        .as_map()
        .unwrap_or_default()
        .iter()
        .filter_map(|(key, nbytes)| Some((key.as_key()?, nbytes.as_u64()?)))
        .collect();
    let mut replicas = Vec::with_capacity(who_has.len());
    for (name, holders) in who_has {
        let key = name.as_key().ok_or_else(|| fields.wrong("who_has", "a mapping of task keys", &name))?;
        let holders = holders.as_array().ok_or_else(|| fields.wrong("who_has", "a mapping to lists of addresses", &holders))?;
        let holders = addresses::registered(ctx, holders).await?;
        let nbytes = sizes.remove(&key);
        replicas.push((key, holders, nbytes));
    }
    tell_data(ctx, replicas, client).await?;
    Ok(Value::Nil)
}

/// A key, who holds it, and its size where somebody said it.
pub type Replica = (Key, Vec<Arc<str>>, Option<u64>);

/// Tells the core what data there is now, wanted by `client`.
pub async fn tell_data(
    ctx: &Arc<Context>,
    replicas: Vec<Replica>,
    client: Option<Text>,
) -> Result<(), RpcError> {
    let tell = move |core: &mut scheduler_core::Scheduler, now, effects: &mut _| {
        core.update_data(replicas, client.as_ref(), now, effects);
    };
    Ok(ctx.core.call(tell).await?)
}
