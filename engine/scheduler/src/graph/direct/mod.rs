//! Opens the graphs of `client.submit`, `client.map` and `client.get` without Python, where that is certain to give what
//! a helper would give.
//!
//! The pickled expression is read as a tree, its tasks are recognised and each is written again as a pickle of its own;
//! nothing is executed. Whatever is not recognised in full goes to a helper, and so does everything that refers to a
//! module, class or function that no helper has loaded yet: that is how a client with another environment still gets
//! stock's error instead of workers that cannot open its tasks. See `docs/decisions/graphs-without-python.md`.

mod environment;
mod expression;
mod global_annotations;
mod mapping;
mod specs;
mod tasks;

use super::annotations;
use super::reply::Opened;
use bytes::Bytes;
use environment::{Demands, Known};
use expression::Shape;
use protocol::messages::UpdateGraph;
use protocol::msgpack::Reader;
use protocol::pickle::{EmitError, PartWriter, Tree};
use protocol::{Key, Payload, Value};
use scheduler_core::Graph;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Larger expressions are a helper's, whose memory is bounded apart from the scheduler's. About a million tasks.
const MAX_OPCODES: usize = 4 << 20;
/// Opening more than this many bytes leaves the thread that serves connections.
const IN_PLACE_BYTES: usize = 64 << 10;

/// Why a graph needs a helper.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It holds something whose meaning only Python knows for certain.
    Unknown(&'static str),
    /// No helper has loaded this yet. When one opens the graph, it has.
    Unproven(Demands),
}

impl From<&'static str> for Refusal {
    fn from(reason: &'static str) -> Self {
        Self::Unknown(reason)
    }
}

impl From<EmitError> for Refusal {
    fn from(_: EmitError) -> Self {
        Self::Unknown("a cycle")
    }
}

/// What is known of the helpers' Python.
#[derive(Default)]
pub struct Direct {
    /// The helpers' release makes tasks as we do.
    is_enabled: AtomicBool,
    known: Mutex<Known>,
}

impl Direct {
    pub fn enable(&self, is_enabled: bool) {
        self.is_enabled.store(is_enabled, Ordering::Relaxed);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A helper has opened a graph with these demands.
    pub fn learn(&self, demands: Demands) {
        self.known().add(demands);
    }

    /// What can be imported may have changed.
    pub fn forget(&self) {
        *self.known() = Known::default();
    }

    /// Opens a graph, or says why a helper must.
    pub async fn open(self: &Arc<Self>, update: &UpdateGraph) -> Result<Opened, Refusal> {
        if !self.is_enabled.load(Ordering::Relaxed) {
            return Err("a release of Dask that makes other tasks".into());
        }
        let source = Source::of(update)?;
        if source.pickle.len() <= IN_PLACE_BYTES {
            return self.open_source(&source);
        }
        let direct = Arc::clone(self);
        let opening = tokio::task::spawn_blocking(move || direct.open_source(&source));
        opening.await.unwrap_or(Err(Refusal::Unknown("a panic")))
    }

    fn open_source(&self, source: &Source) -> Result<Opened, Refusal> {
        let tree = Tree::read_within(&source.pickle, MAX_OPCODES).map_err(|_| "its pickle")?;
        let demands = environment::demands_of(&tree)?;
        let missing = self.known().missing(demands);
        if let Some(missing) = missing {
            return Err(Refusal::Unproven(missing));
        }
        let shape = Shape::of(&tree)?;
        let writer = specs::SpecWriter::new(PartWriter::new(tree), &source.pickle, &source.buffers);
        let mut opened = match shape {
            Shape::Tasks(entries) => tasks::open(&entries, &source.wanted, writer)?,
            Shape::Map(map) => mapping::open(&map, &source.priorities, writer)?,
        };
        if let Some(global) = source.annotations.clone() {
            annotate(&mut opened.graph, global);
        }
        Ok(opened)
    }
}

fn annotate(graph: &mut Graph, global: Value) {
    let of_all = Arc::new(annotations::parse(global.clone()));
    for task in &mut graph.tasks {
        task.annotations = Some(Arc::clone(&of_all));
    }
    graph.global_annotations = global;
}

/// What of a client's message is needed to open its graph.
struct Source {
    pickle: Bytes,
    buffers: Vec<Bytes>,
    wanted: Vec<Key>,
    priorities: Vec<(Key, i64)>,
    /// Not empty.
    annotations: Option<Value>,
}

impl Source {
    fn of(update: &UpdateGraph) -> Result<Self, Refusal> {
        let (pickle, buffers) = plain_pickle(&update.expr)?;
        if !expression::is_promising(pickle) {
            return Err("an expression of another kind".into());
        }
        Ok(Self {
            pickle: pickle.clone(),
            buffers: buffers.to_vec(),
            wanted: update.keys.clone(),
            priorities: update.internal_priority.clone().unwrap_or_default(),
            annotations: global_annotations::read(&update.annotations)?,
        })
    }
}

/// The one pickle of a payload and its buffers, neither compressed nor cut into pieces.
fn plain_pickle(payload: &Payload) -> Result<(&Bytes, &[Bytes]), Refusal> {
    let header = Value::read_plain(&mut Reader::new(payload.header()))
        .map_err(|_| "a sub-header that cannot be read")?;
    for (name, value) in header.as_map().unwrap_or_default() {
        let is_plain = match name.as_str().unwrap_or_default() {
            "serializer" => value.is_str("pickle"),
            "compression" => value
                .as_array()
                .is_none_or(|names| names.iter().all(|name| !name.is_truthy())),
            "num-sub-frames" => value.as_u64() == Some(payload.frames().len() as u64),
            "writeable" => true,
            _ => false,
        };
        if !is_plain {
            return Err("an expression that is not one plain pickle".into());
        }
    }
    match payload.frames().split_first() {
        Some(parts) if header.get("serializer").is_some() => Ok(parts),
        _ => Err("an expression that is not one plain pickle".into()),
    }
}
