//! Writes the pickles of a graph's tasks into slabs, what many tasks share once as their prefix.

use super::Refusal;
use bytes::Bytes;
use protocol::pickle::{EmitError, NodeId, PartWriter, Prefix, Tree};
use scheduler_core::{Graph, RunSpec, SpecSlab};
use std::collections::HashMap;
use std::mem::take;

/// As many tasks, or bytes, share one allocation.
const SLAB_TASKS: usize = 4096;
const SLAB_BYTES: usize = 4 << 20;
/// Tasks that share a large object each carry it. All together may take this many times the bytes of the client's pickle,
/// and what is always allowed; more is a helper's, whose memory is bounded.
const MAX_GROWTH: usize = 8;
const ALLOWED_BYTES: usize = 1 << 20;
/// Functions beyond these have their tasks written whole.
const MAX_PREFIXES: usize = 64;

/// Pickles of tasks in the order in which they are added.
pub struct SpecWriter<'a> {
    parts: PartWriter,
    source: &'a [Bytes],
    bytes_left: usize,
    /// By function: the tasks of one have the same class.
    prefixes: HashMap<NodeId, usize>,
    written: Vec<(Prefix, Bytes)>,
    buffers: HashMap<usize, Bytes>,
    open: OpenSlab,
    slabs: Vec<ClosedSlab>,
}

#[derive(Default)]
struct OpenSlab {
    bytes: Vec<u8>,
    ranges: Vec<(u32, u32)>,
    runs: Vec<(u32, Bytes)>,
    current: Option<usize>,
    buffers: Vec<(u32, Vec<Bytes>)>,
}

struct ClosedSlab {
    slab: std::sync::Arc<SpecSlab>,
    ranges: Vec<(u32, u32)>,
}

impl<'a> SpecWriter<'a> {
    pub fn new(parts: PartWriter, pickle: &Bytes, source: &'a [Bytes]) -> Self {
        Self {
            parts,
            source,
            bytes_left: ALLOWED_BYTES.saturating_add(pickle.len().saturating_mul(MAX_GROWTH)),
            prefixes: HashMap::new(),
            written: Vec::new(),
            buffers: HashMap::new(),
            open: OpenSlab::default(),
            slabs: Vec::new(),
        }
    }

    pub fn tree(&self) -> &Tree {
        self.parts.tree()
    }

    pub fn tree_mut(&mut self) -> &mut Tree {
        self.parts.tree_mut()
    }

    /// Tasks of this function begin alike: with the function, the class and `more`.
    pub fn share(
        &mut self,
        class: NodeId,
        function: NodeId,
        more: &[NodeId],
    ) -> Result<(), Refusal> {
        let shared = [&[function, class], more].concat();
        let prefix = self.parts.prefix(class, &shared)?;
        self.spend(prefix.pickle.len())?;
        let bytes = Bytes::copy_from_slice(&prefix.pickle);
        self.prefixes.insert(function, self.written.len());
        self.written.push((prefix, bytes));
        Ok(())
    }

    /// The next task, from its state. `object` is its node, where it has one.
    pub fn add_state(
        &mut self,
        class: NodeId,
        function: NodeId,
        object: Option<NodeId>,
        state: NodeId,
    ) -> Result<(), Refusal> {
        if !self.prefixes.contains_key(&function) {
            if let Some(object) = object
                && self.prefixes.len() >= MAX_PREFIXES
            {
                return self.add_whole(object);
            }
            // What else the first task names, the others are likely to name too.
            let mut more = self.parts.globals_of(state, function);
            more.retain(|id| *id != class);
            self.share(class, function, &more)?;
        }
        let number = self.prefixes[&function];
        let mut buffers = Vec::new();
        let start = self.open.bytes.len();
        let written = self.parts.rest(
            &self.written[number].0,
            object,
            state,
            &mut self.open.bytes,
            &mut buffers,
        );
        if let (Err(EmitError::Entangled), Some(object)) = (written, object) {
            return self.add_whole(object);
        }
        written?;
        self.open
            .run_from(start, Some((number, &self.written[number].1)));
        // Time is bounded with bytes.
        self.spend(self.written[number].0.memo_len())?;
        self.added(start, &buffers)
    }

    /// The next task, as a pickle of its own.
    pub fn add_whole(&mut self, node: NodeId) -> Result<(), Refusal> {
        let mut buffers = Vec::new();
        let start = self.open.bytes.len();
        self.open.run_from(start, None);
        self.parts.whole(node, &mut self.open.bytes, &mut buffers)?;
        self.added(start, &buffers)
    }

    fn added(&mut self, start: usize, buffers: &[usize]) -> Result<(), Refusal> {
        let len = self.open.bytes.len() - start;
        self.spend(len)?;
        let offset = |value: usize| u32::try_from(value).map_err(|_| "more than 4 GiB of tasks");
        let (start, len) = (offset(start)?, offset(len)?);
        self.open.ranges.push((start, len));
        if !buffers.is_empty() {
            let buffers = buffers
                .iter()
                .map(|index| self.buffer(*index))
                .collect::<Result<Vec<_>, _>>()?;
            self.open.buffers.push((start, buffers));
        }
        if self.open.ranges.len() >= SLAB_TASKS || self.open.bytes.len() >= SLAB_BYTES {
            self.close_slab();
        }
        Ok(())
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Refusal> {
        self.bytes_left = self
            .bytes_left
            .checked_sub(bytes)
            .ok_or("large objects that many tasks share")?;
        Ok(())
    }

    /// A buffer of the client's message, copied once: the message holds much else.
    fn buffer(&mut self, index: usize) -> Result<Bytes, Refusal> {
        if let Some(buffer) = self.buffers.get(&index) {
            return Ok(buffer.clone());
        }
        let source = self.source.get(index).ok_or("a buffer that did not come")?;
        let buffer = Bytes::copy_from_slice(source);
        self.buffers.insert(index, buffer.clone());
        Ok(buffer)
    }

    fn close_slab(&mut self) {
        let open = take(&mut self.open);
        self.slabs.push(ClosedSlab {
            slab: SpecSlab::with_prefixes(
                Bytes::copy_from_slice(&open.bytes),
                open.buffers,
                open.runs,
            ),
            ranges: open.ranges,
        });
    }

    /// Gives the tasks of a graph, which are those that were added, their pickles.
    pub fn finish(mut self, graph: &mut Graph) {
        self.close_slab();
        let specs = self.slabs.into_iter().flat_map(|closed| {
            let ClosedSlab { slab, ranges } = closed;
            ranges.into_iter().map(move |(start, len)| RunSpec {
                slab: slab.clone(),
                start,
                len,
            })
        });
        for (task, spec) in graph.tasks.iter_mut().zip(specs) {
            task.run_spec = Some(spec);
        }
    }
}

impl OpenSlab {
    /// The pickle that starts here continues this prefix, or none.
    fn run_from(&mut self, start: usize, prefix: Option<(usize, &Bytes)>) {
        let number = prefix.map(|(number, _)| number);
        if number != self.current {
            let bytes = prefix.map(|(_, bytes)| bytes.clone()).unwrap_or_default();
            self.runs.push((start as u32, bytes));
            self.current = number;
        }
    }
}
