//! What a helper is told about a graph, and what the scheduler adds to the answer without asking it.

use super::error::GraphError;
use super::malformed;
use super::reply::Opened;
use bytes::Bytes;
use protocol::messages::{Actors as WireActors, UpdateGraph};
use protocol::msgpack;
use protocol::{Key, KeyBuildHasher, Value};
use scheduler_core::order::order;
use scheduler_core::{Actors, Graph};
use std::collections::HashMap;

/// A small MessagePack map; values must be plain.
pub fn header(fields: &[(&str, &Value)]) -> Bytes {
    let entries = fields
        .iter()
        .map(|(name, value)| (Value::from(*name), (*value).clone()))
        .collect();
    let frames = protocol::encode_value(&Value::Map(entries));
    frames.0.into_iter().next().unwrap_or_default()
}

/// Header and blobs: sub-header, wanted keys, the expression's frames, then the annotations' pickle.
pub fn materialize(update: &UpdateGraph) -> Result<(Bytes, Vec<Bytes>), GraphError> {
    let mut blobs = vec![update.expr.header().clone(), keys_blob(&update.keys)];
    blobs.extend_from_slice(update.expr.frames());
    let mut annotation_blobs = 0;
    if let Value::Pickled(payload) = &update.annotations {
        let (pickle, buffers) = payload.pickle().map_err(|error| malformed(&error))?;
        if !is_empty_dict(&pickle) {
            annotation_blobs = 1 + buffers.len();
            blobs.push(pickle);
            blobs.extend(buffers);
        }
    }
    Ok((
        header(&[("annotation_blobs", &Value::from(annotation_blobs))]),
        blobs,
    ))
}

/// The pickles of `{}`, which is what nearly every graph comes with.
fn is_empty_dict(pickle: &[u8]) -> bool {
    matches!(pickle, b"\x80\x04}\x94." | b"\x80\x05}\x94.")
}

fn keys_blob(keys: &[Key]) -> Bytes {
    let bytes = keys.iter().map(|key| key.as_msgpack().len()).sum::<usize>();
    let mut blob = Vec::with_capacity(bytes + 8);
    msgpack::write_array_len(&mut blob, keys.len());
    for key in keys {
        blob.extend_from_slice(key.as_msgpack());
    }
    blob.into()
}

/// Ordering more tasks than this leaves the thread that serves connections.
const ORDERED_IN_PLACE: usize = 2_000;

/// The client's priorities, or those of the static order.
pub async fn with_priorities(opened: Opened, update: &UpdateGraph) -> Result<Graph, GraphError> {
    if let Some(given @ [_, ..]) = update.internal_priority.as_deref() {
        let mut graph = opened.graph;
        graph.internal_priority = given_priorities(&graph, given);
        return Ok(graph);
    }
    if opened.graph.tasks.len() <= ORDERED_IN_PLACE {
        return ordered(opened);
    }
    let ordering = tokio::task::spawn_blocking(move || ordered(opened));
    ordering.await.unwrap_or_else(|panic| {
        Err(GraphError::runtime(&format!(
            "the graph could not be ordered: {panic}"
        )))
    })
}

fn ordered(opened: Opened) -> Result<Graph, GraphError> {
    let Opened { mut graph, is_data } = opened;
    let order = order(&graph.tasks, &graph.dependencies, |task| is_data[task]);
    graph.internal_priority = order.map_err(|cycle| GraphError::runtime(&cycle.to_string()))?;
    Ok(graph)
}

/// Adds what the message says beside the graph itself.
pub fn complete(mut graph: Graph, update: &UpdateGraph) -> Graph {
    graph.keys.clone_from(&update.keys);
    graph.submitting_task.clone_from(&update.submitting_task);
    graph.actors = match &update.actors {
        WireActors::None => Actors::No,
        WireActors::All => Actors::All,
        WireActors::Keys(keys) => Actors::These(keys.clone()),
    };
    graph.user_priority = update.user_priority.as_f64().unwrap_or(0.0);
    graph.stimulus_id = update.stimulus_id.clone().unwrap_or_default();
    graph
}

/// The client's priorities in the order of the tasks. A task it left out (data beside a map) comes before all others.
fn given_priorities(graph: &Graph, given: &[(Key, i64)]) -> Vec<i32> {
    let aligned = graph.tasks.len() == given.len()
        && graph
            .tasks
            .iter()
            .zip(given)
            .all(|(task, (key, _))| task.key == *key);
    let narrow = |priority: i64| {
        i32::try_from(priority).unwrap_or(if priority < 0 { i32::MIN } else { i32::MAX })
    };
    if aligned {
        return given
            .iter()
            .map(|(_, priority)| narrow(*priority))
            .collect();
    }
    let known: HashMap<&Key, i64, KeyBuildHasher> = given
        .iter()
        .map(|(key, priority)| (key, *priority))
        .collect();
    let first = given
        .iter()
        .map(|(_, priority)| *priority)
        .min()
        .unwrap_or(0)
        .saturating_sub(1);
    graph
        .tasks
        .iter()
        .map(|task| narrow(known.get(&task.key).copied().unwrap_or(first)))
        .collect()
}
