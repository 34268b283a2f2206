//! `retire_workers`: workers leave after what only they hold has been copied elsewhere.
//!
//! The core moves the data and says when a worker is free to go; here the caller's ways of naming workers are
//! understood, and the ends of all retirements are waited for.

use super::fields::Fields;
use super::{RpcError, addresses, closing, events};
use crate::context::Context;
use protocol::{Text, Value, array, map};
use scheduler_core::{CloseRequest, Retirement, WorkerId};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tracing::{info, warn};

/// How the caller says which workers are to go.
#[derive(Debug, PartialEq)]
pub enum Who {
    /// By name, compared as texts because names pass through command lines.
    Named(HashSet<String>),
    At(Vec<Value>),
    /// Whichever can go at low cost.
    Cheapest,
}

impl Who {
    pub fn read(fields: &mut Fields) -> Result<Self, RpcError> {
        let names = fields.optional_list("names")?;
        let workers = fields.optional_list("workers")?;
        let chosen = names.is_some() || workers.is_some();
        let selection = closing::FIELDS.into_iter().filter(|name| fields.has(name));
        let selection: Vec<_> = selection.collect();
        if chosen && !selection.is_empty() {
            return Err(RpcError::type_error(format!(
                "retire_workers takes either names or workers, or arguments of workers_to_close: {}",
                selection.join(", ")
            )));
        }
        match (names, workers) {
            (Some(_), Some(_)) => Err(RpcError::type_error("names and workers are mutually exclusive")),
            (Some(names), None) => Ok(Self::Named(names.iter().map(addresses::name_text).collect())),
            (None, Some(workers)) => Ok(Self::At(workers)),
            (None, None) => Ok(Self::Cheapest),
        }
    }
}

/// What is to become of a worker that holds nothing unique any more.
#[derive(Debug, Clone, Copy)]
struct Farewell {
    close: bool,
    remove: bool,
}

pub async fn retire_workers(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let who = Who::read(&mut fields)?;
    let farewell = Farewell {
        close: fields.flag("close_workers", false),
        remove: fields.flag("remove", true),
    };
    let stimulus_id = match fields.optional_text("stimulus_id")? {
        Some(stimulus_id) => stimulus_id.detached(),
        None => events::stimulus("retire-workers"),
    };
    // Several retirements may run side by side, but none beside a replication.
    let _no_replication = ctx.rpc.replica_lock.read().await;
    let workers = match who {
        Who::Named(names) => named(ctx, names).await?,
        Who::At(workers) => addresses::known(ctx, &workers).await?,
        Who::Cheapest => {
            let request = closing::request(&mut fields)?;
            cheapest(ctx, request).await?
        }
    };
    retire(ctx, workers, farewell, stimulus_id).await
}

async fn named(ctx: &Arc<Context>, names: HashSet<String>) -> Result<Vec<Arc<str>>, RpcError> {
    let all = ctx.core.call(|core, _, _| core.worker_names()).await?;
    let chosen = all
        .into_iter()
        .filter(|(_, name)| names.contains(&addresses::name_text(name)));
    Ok(chosen.map(|(address, _)| address).collect())
}

async fn cheapest(ctx: &Arc<Context>, request: CloseRequest) -> Result<Vec<Arc<str>>, RpcError> {
    closing::choose(ctx, request).await
}

async fn retire(
    ctx: &Arc<Context>,
    workers: Vec<Arc<str>>,
    farewell: Farewell,
    stimulus_id: Text,
) -> Result<Value, RpcError> {
    if workers.is_empty() {
        return Ok(map! {});
    }
    info!(workers = ?workers, stimulus_id = %stimulus_id, "retiring workers");
    let stimulus = stimulus_id.clone();
    let begin = move |core: &mut scheduler_core::Scheduler, now, effects: &mut _| {
        core.retire(&workers, &stimulus, now, effects)
    };
    let begun: Vec<(WorkerId, Arc<str>)> = ctx.core.call(begin).await?;
    let mut retirements = tokio::task::JoinSet::new();
    for (index, (worker, address)) in begun.into_iter().enumerate() {
        let ctx = Arc::clone(ctx);
        let stimulus_id = stimulus_id.clone();
        retirements.spawn(async move {
            let identity = see_off(&ctx, worker, farewell, stimulus_id).await?;
            Ok::<_, RpcError>((index, address, identity))
        });
    }
    let mut ends = Vec::new();
    while let Some(end) = retirements.join_next().await {
        ends.push(end.expect("retirements neither panic nor are they aborted")?);
    }
    ends.sort_by_key(|(index, ..)| *index);
    log(ctx, &ends, stimulus_id).await?;
    let retired = ends.into_iter();
    Ok(retired
        .filter_map(|(_, address, identity)| Some((Value::from(&*address), identity?)))
        .collect())
}
