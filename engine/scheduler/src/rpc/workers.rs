//! What workers and nannies ask beside their streams: heartbeats, leaving, resources, replicas.
//!
//! Heartbeats come from every worker twice a second: one step of the core, no look at what the metrics hold.

use super::fields::Fields;
use super::{RpcError, addresses, events};
use crate::context::Context;
use crate::registration;
use protocol::{Key, Text, Value, map};
use scheduler_core::{Effects, Heartbeat, HeartbeatAnswer, Removal, Scheduler};
use std::collections::HashMap;
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
        tracing::warn!(
            worker = address,
            "heartbeat of a worker that is not registered"
        );
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
    let beat = move |core: &mut Scheduler, now, _: &mut Effects| {
        (core.heartbeat(&address, heartbeat, now), now.seconds())
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
    let remove = move |core: &mut Scheduler, now, effects: &mut Effects| {
        let worker = core.worker_at(&address[0]);
        worker.map(|worker| core.remove_worker(worker, removal, now, effects))
    };
    let removed = ctx.core.call(remove).await?;
    Ok(Value::text(if removed.is_some() {
        "OK"
    } else {
        "already-removed"
    }))
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
    let (worker, _) = addresses::registered(ctx, &[worker]).await?.remove(0);
    let set = move |core: &mut Scheduler, now, effects: &mut Effects| {
        core.set_resources(&worker, resources, now, effects);
    };
    Ok(ctx.core.call(set).await?)
}

pub async fn add_keys(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let worker = fields.string("worker")?;
    let keys = fields.optional_keys("keys")?.unwrap_or_default();
    let add = move |core: &mut Scheduler, now, effects: &mut Effects| {
        let worker = core.worker_at(&worker);
        worker.map(|worker| core.replicas_gained(worker, &keys, now, effects))
    };
    let known = ctx.core.call(add).await?;
    Ok(Value::text(if known.is_some() {
        "OK"
    } else {
        "not found"
    }))
}

/// Data that a client has put on workers itself.
pub async fn update_data(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let who_has = fields.map("who_has")?;
    let nbytes = fields.map("nbytes")?;
    let client = fields.optional_text("client")?;
    let sizes: HashMap<Key, u64> = nbytes
        .iter()
        .filter_map(|(key, nbytes)| Some((key.as_key()?, nbytes.as_u64()?)))
        .collect();
    let mut replicas = Vec::with_capacity(who_has.len());
    for (name, holders) in who_has {
        let key = name.as_key();
        let key = key.ok_or_else(|| fields.wrong("who_has", "a mapping of task keys", &name))?;
        let Some(holders) = holders.as_array() else {
            return Err(fields.wrong("who_has", "a mapping to lists of addresses", &holders));
        };
        replicas.push((key, addresses::coerce(ctx, holders).await?));
    }
    tell_data(ctx, replicas, &sizes, client).await?;
    Ok(Value::Nil)
}

/// Tells the core what data there is now and who holds it, wanted by `client`.
pub async fn tell_data(
    ctx: &Arc<Context>,
    replicas: Vec<(Key, Vec<Arc<str>>)>,
    sizes: &HashMap<Key, u64>,
    client: Option<Text>,
) -> Result<(), RpcError> {
    tell_data_if(ctx, replicas, sizes, client, |_| true).await?;
    Ok(())
}

/// The same, if that is true at that moment; says whether it was.
pub async fn tell_data_if(
    ctx: &Arc<Context>,
    replicas: Vec<(Key, Vec<Arc<str>>)>,
    sizes: &HashMap<Key, u64>,
    client: Option<Text>,
    condition: impl FnOnce(&Scheduler) -> bool + Send + 'static,
) -> Result<bool, RpcError> {
    // The core finds sizes fastest when they come in the order of the keys.
    let nbytes: Vec<(Key, u64)> = replicas
        .iter()
        .filter_map(|(key, _)| Some((key.clone(), *sizes.get(key)?)))
        .collect();
    let text = |address: &Arc<str>| Text::from(&**address);
    let who_has: Vec<(Key, Vec<Text>)> = replicas
        .into_iter()
        .map(|(key, holders)| (key, holders.iter().map(text).collect()))
        .collect();
    let tell = move |core: &mut Scheduler, now, effects: &mut Effects| {
        if !condition(core) {
            return false;
        }
        let client = client.map(|client| core.client_named(&client.to_string_lossy()));
        core.update_data(&who_has, &nbytes, client, now, effects);
        true
    };
    Ok(ctx.core.call(tell).await?)
}
