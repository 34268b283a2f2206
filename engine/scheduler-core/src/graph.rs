//! A graph as a client submitted it, after it has been turned into tasks.

use bytes::Bytes;
use protocol::{Key, Text, Value};
use std::sync::Arc;

/// Many pickled tasks in one allocation; lives as long as any of its tasks.
#[derive(Debug, Default)]
pub struct SpecSlab {
    bytes: Bytes,
    /// Out-of-band buffers of the few tasks that have any, by where the task's pickle starts; sorted.
    buffers: Vec<(u32, Vec<Bytes>)>,
    /// What all pickles from a start on begin with, until the next entry: tasks of one function share it. Sorted.
    prefixes: Vec<(u32, Bytes)>,
}

impl SpecSlab {
    /// `buffers` need not be sorted; at most 4 GiB of pickles fit one slab.
    pub fn new(bytes: Bytes, buffers: Vec<(u32, Vec<Bytes>)>) -> Arc<Self> {
        Self::with_prefixes(bytes, buffers, Vec::new())
    }

    /// A slab whose pickles from each given start on continue a prefix; an empty prefix ends such a run.
    pub fn with_prefixes(
        bytes: Bytes,
        mut buffers: Vec<(u32, Vec<Bytes>)>,
        mut prefixes: Vec<(u32, Bytes)>,
    ) -> Arc<Self> {
        buffers.sort_by_key(|(start, _)| *start);
        prefixes.sort_by_key(|(start, _)| *start);
        Arc::new(Self {
            bytes,
            buffers,
            prefixes,
        })
    }

    fn prefix(&self, start: u32) -> &Bytes {
        static NONE: Bytes = Bytes::new();
        let runs_before = self.prefixes.partition_point(|(from, _)| *from <= start);
        runs_before
            .checked_sub(1)
            .map_or(&NONE, |run| &self.prefixes[run].1)
    }
}

/// One task's pickle: opaque here, opened by the worker.
#[derive(Clone, Debug)]
pub struct RunSpec {
    pub slab: Arc<SpecSlab>,
    pub start: u32,
    pub len: u32,
}

impl RunSpec {
    /// The pickle in its two parts, the first often shared and often empty.
    pub fn parts(&self) -> [&[u8]; 2] {
        let start = self.start as usize;
        [
            self.slab.prefix(self.start),
            &self.slab.bytes[start..start + self.len as usize],
        ]
    }

    /// The pickle in one piece.
    pub fn pickle(&self) -> Bytes {
        let [prefix, body] = self.parts();
        match prefix.is_empty() {
            true => self.slab.bytes.slice_ref(body),
            false => Bytes::from([prefix, body].concat()),
        }
    }

    /// Its out-of-band buffers, in order.
    pub fn buffers(&self) -> &[Bytes] {
        let found = self
            .slab
            .buffers
            .binary_search_by_key(&self.start, |(start, _)| *start);
        match found {
            Ok(at) => &self.slab.buffers[at].1,
            Err(_) => &[],
        }
    }
}

/// Amounts of abstract resources by name.
pub type Amounts = Arc<[(Arc<str>, f64)]>;

/// One dependency of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dep {
    /// Index into [`Graph::tasks`].
    Task(u32),
    /// A key that is not part of this graph.
    External(Key),
}

/// What the user asked of a task beside running it. Shared by the tasks that were annotated alike.
///
/// Callables have been evaluated and per-task annotations merged over global ones before this exists.
#[derive(Clone, Debug, Default)]
pub struct Annotations {
    /// The whole merged map, as the worker gets it.
    pub wire: Value,
    /// Addresses, hosts or names of workers.
    pub workers: Vec<Value>,
    pub allow_other_workers: bool,
    /// Never empty.
    pub resources: Option<Amounts>,
    pub retries: u32,
    pub priority: Option<f64>,
}

/// One task of a graph.
#[derive(Clone, Debug)]
pub struct GraphTask {
    pub key: Key,
    /// Range into [`Graph::dependencies`].
    pub dependencies: std::ops::Range<u32>,
    /// `None` for a task that cannot run, such as a placeholder for data.
    pub run_spec: Option<RunSpec>,
    pub data_producer: bool,
    /// Barrier of a peer-to-peer shuffle.
    pub is_barrier: bool,
    pub annotations: Option<Arc<Annotations>>,
}

/// A materialised graph, applied at once.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// What the client wants to have.
    pub keys: Vec<Key>,
    pub tasks: Vec<GraphTask>,
    pub dependencies: Vec<Dep>,
    /// Aligned with `tasks`.
    pub internal_priority: Vec<i32>,
    /// The task that was running when its code submitted this graph.
    pub submitting_task: Option<Key>,
    pub fifo_timeout_ns: u64,
    pub actors: Actors,
    pub user_priority: f64,
    pub stimulus_id: Text,
    /// Source code of the call, kept with the computation.
    pub code: Value,
    /// The global annotations as the client sent them, kept with the computation.
    pub global_annotations: Value,
    pub span_metadata: Value,
}

/// Which of the wanted keys are actors.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Actors {
    #[default]
    No,
    All,
    These(Vec<Key>),
}
