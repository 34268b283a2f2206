//! `benchmark_hardware`: how fast workers write, copy and talk to each other, as they measure it themselves.

use super::{RpcError, broadcast, peer};
use crate::context::Context;
use protocol::{Key, Value, map};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Measurements of one kind by size.
type BySize = BTreeMap<Key, Vec<f64>>;

pub async fn benchmark_hardware(ctx: &Arc<Context>) -> Result<Value, RpcError> {
    let disk = on_every_worker(ctx, "benchmark_disk").await?;
    let memory = on_every_worker(ctx, "benchmark_memory").await?;
    let network = between_workers(ctx).await?;
    Ok(map! {"disk" => disk, "memory" => memory, "network" => network})
}

async fn on_every_worker(ctx: &Arc<Context>, op: &'static str) -> Result<Value, RpcError> {
    let answers = broadcast::to_everyone(ctx, map! {"op" => op}, false).await?;
    let answers = answers.into_map().unwrap_or_default();
    Ok(means(answers.into_iter().map(|(_, answer)| answer)))
}

/// Each worker talks to one other at most. Neighbours in the list may share a machine, so halves are paired.
async fn between_workers(ctx: &Arc<Context>) -> Result<Value, RpcError> {
    let workers = ctx.core.call(|core, _, _| core.workers()).await?;
    let (left, right) = workers.split_at(workers.len() / 2);
    let mut calls = JoinSet::new();
    for (from, to) in left.iter().zip(right) {
        let (ctx, from) = (Arc::clone(ctx), Arc::clone(&from.address));
        let request = map! {"op" => "benchmark_network", "address" => &*to.address};
        calls.spawn(async move { peer::call(&ctx, &from, request).await });
    }
    let mut answers = Vec::new();
    while let Some(call) = calls.join_next().await {
        answers.push(call.expect("calls neither panic nor are they aborted")?);
    }
    Ok(means(answers.into_iter()))
}

/// `{size: mean}` of maps `{size: measurement}`.
fn means(answers: impl Iterator<Item = Value>) -> Value {
    let mut by_size = BySize::new();
    for (size, measured) in answers.flat_map(|answer| answer.into_map().unwrap_or_default()) {
        if let (Some(size), Some(measured)) = (size.as_key(), measured.as_f64()) {
            by_size.entry(size).or_default().push(measured);
        }
    }
    let mean = |measured: &[f64]| measured.iter().sum::<f64>() / measured.len() as f64;
    by_size
        .iter()
        .map(|(size, measured)| (Value::from(size), Value::Float(mean(measured))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measurements_are_averaged_by_size() {
        let answers = [map! {"1 kiB" => 2.0}, map! {"1 kiB" => 4.0, "1 MiB" => 1.0}];
        let means = means(answers.into_iter());
        assert_eq!(means.get("1 kiB"), Some(&Value::Float(3.0)));
        assert_eq!(means.get("1 MiB"), Some(&Value::Float(1.0)));
    }
}
