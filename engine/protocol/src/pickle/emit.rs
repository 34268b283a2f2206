//! Writes a part of a tree as a pickle of its own, with fresh memo numbers.
//!
//! What is shared inside the part stays shared, cycles through lists, dicts and object state stay cycles. Works with an
//! explicit stack, so that depth costs memory only.

use super::opcode;
use super::tree::{Make, Mutation, Node, NodeId, Tree};
use super::write::{write_bytes, write_int, write_str};

/// A pickle written from a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emitted {
    pub pickle: Vec<u8>,
    /// The buffers of the original that it takes, in its own order.
    pub buffers: Vec<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmitError {
    #[error("a tuple or call holds itself")]
    Cycle,
    #[error("what several objects share holds one of them, or something that one of them holds")]
    Entangled,
}

impl Tree {
    /// The pickle of one node.
    pub fn emit(&self, root: NodeId) -> Result<Emitted, EmitError> {
        let mut scratch = Scratch::default();
        let (mut pickle, mut buffers) = (Vec::new(), Vec::new());
        let mut emitter = scratch.begin(self, &mut pickle, &mut buffers);
        emitter.begin_pickle();
        emitter.count_references(root);
        emitter.write_node(root)?;
        emitter.end_pickle();
        Ok(Emitted { pickle, buffers })
    }
}

/// A set of nodes of one tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct NodeSet(Vec<u64>);

impl NodeSet {
    /// Adds a node; whether it was new.
    pub(super) fn insert(&mut self, id: NodeId) -> bool {
        let (word, bit) = (id.index() / 64, 1 << (id.index() % 64));
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        let is_new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        is_new
    }

    fn contains(&self, id: NodeId) -> bool {
        let word = self.0.get(id.index() / 64).copied().unwrap_or(0);
        word & (1 << (id.index() % 64)) != 0
    }
}

/// What an emission knows of a node.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    /// The emission that it is about.
    emission: u32,
    /// How often the node is referred to.
    references: u32,
    /// Its memo number and one; 0 is none.
    memo: u32,
    /// Its parts are being written before it exists itself.
    is_unmade: bool,
}

/// What emissions from one tree work with, so that none has to allocate it again.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    marks: Vec<Mark>,
    emission: u32,
    work: Vec<Work>,
    pending: Vec<NodeId>,
    /// Nodes whose references were counted.
    counted: Vec<NodeId>,
}

impl Scratch {
    /// A new emission behind `out` and `buffers`.
    pub(super) fn begin<'a>(
        &'a mut self,
        tree: &'a Tree,
        out: &'a mut Vec<u8>,
        buffers: &'a mut Vec<usize>,
    ) -> Emitter<'a> {
        if self.emission == u32::MAX {
            self.marks.clear();
            self.emission = 0;
        }
        self.emission += 1;
        if self.marks.len() < tree.len() {
            self.marks.resize(tree.len(), Mark::default());
        }
        self.work.clear();
        self.counted.clear();
        Emitter {
            tree,
            scratch: self,
            memo: Vec::new(),
            memo_before: 0,
            before: None,
            out,
            buffers,
        }
    }
}

#[derive(Debug)]
enum Work {
    Visit(NodeId),
    Write(u8),
    /// The node is on the stack now and may be referred to.
    Made(NodeId),
}

/// One pickle being written.
pub(super) struct Emitter<'a> {
    tree: &'a Tree,
    scratch: &'a mut Scratch,
    /// Nodes that were given memo numbers here, in order.
    pub(super) memo: Vec<NodeId>,
    /// Memo numbers given before.
    memo_before: u32,
    /// Nodes written before, most of them without a memo number.
    before: Option<&'a NodeSet>,
    out: &'a mut Vec<u8>,
    buffers: &'a mut Vec<usize>,
}

impl<'a> Emitter<'a> {
    pub(super) fn begin_pickle(&mut self) {
        self.out
            .extend_from_slice(&[opcode::PROTO, self.tree.protocol.max(4)]);
    }

    pub(super) fn end_pickle(&mut self) {
        self.out.push(opcode::STOP);
    }

    pub(super) fn write_opcodes(&mut self, opcodes: &[u8]) {
        self.out.extend_from_slice(opcodes);
    }

    /// What was written before, by another emission, may be referred to: these nodes have the first memo numbers.
    pub(super) fn continue_after(&mut self, memo: &[NodeId], before: &'a NodeSet) {
        self.before = Some(before);
        self.memo_before = memo.len() as u32;
        for (slot, id) in memo.iter().enumerate() {
            self.mark(*id).memo = slot as u32 + 1;
        }
    }

    /// Whether a part has something in common with what was written before and cannot refer to it.
    pub(super) fn is_entangled(&mut self) -> bool {
        let Some(before) = self.before else {
            return false;
        };
        let counted = std::mem::take(&mut self.scratch.counted);
        let is_common = |id: &NodeId| {
            let has_identity = matches!(
                self.tree.node(*id),
                Node::List(_)
                    | Node::Dict(_)
                    | Node::Set(_)
                    | Node::Object { .. }
                    | Node::ByteArray(_)
                    | Node::Buffer(_)
                    | Node::ReadonlyBuffer(_)
            );
            has_identity && before.contains(*id)
        };
        let found = counted.iter().any(is_common);
        self.scratch.counted = counted;
        found
    }

    /// The node is being made by somebody else: a part that refers to it cannot be written.
    pub(super) fn forbid(&mut self, id: NodeId) {
        self.mark(id).is_unmade = true;
    }

    /// The node will be referred to from outside of this emission.
    pub(super) fn keep(&mut self, id: NodeId) {
        self.mark(id).references += 1;
    }

    fn mark(&mut self, id: NodeId) -> &mut Mark {
        let mark = &mut self.scratch.marks[id.index()];
        if mark.emission != self.scratch.emission {
            *mark = Mark {
                emission: self.scratch.emission,
                ..Mark::default()
            };
        }
        mark
    }

    /// Counts how often each node below is referred to; must be called before the node is written.
    pub(super) fn count_references(&mut self, root: NodeId) {
        let mut pending = std::mem::take(&mut self.scratch.pending);
        pending.clear();
        pending.push(root);
        while let Some(id) = pending.pop() {
            let mark = self.mark(id);
            mark.references += 1;
            if mark.references == 1 && mark.memo == 0 {
                self.scratch.counted.push(id);
                self.tree.visit_children(id, |child| pending.push(child));
            }
        }
        self.scratch.pending = pending;
    }

    pub(super) fn write_node(&mut self, root: NodeId) -> Result<(), EmitError> {
        self.scratch.work.push(Work::Visit(root));
        while let Some(work) = self.scratch.work.pop() {
            match work {
                Work::Write(opcode) => self.out.push(opcode),
                Work::Made(id) => self.made(id),
                Work::Visit(id) => match self.mark(id).memo.checked_sub(1) {
                    Some(slot) => self.recall(slot),
                    None => self.write(id)?,
                },
            }
        }
        Ok(())
    }

    fn recall(&mut self, slot: u32) {
        match u8::try_from(slot) {
            Ok(slot) => self.out.extend_from_slice(&[opcode::BINGET, slot]),
            Err(_) => {
                self.out.push(opcode::LONG_BINGET);
                self.out.extend_from_slice(&slot.to_le_bytes());
            }
        }
    }

    fn made(&mut self, id: NodeId) {
        let number = self.memo_before + self.memo.len() as u32 + 1;
        let mark = self.mark(id);
        mark.is_unmade = false;
        if mark.references > 1 {
            mark.memo = number;
            self.memo.push(id);
            self.out.push(opcode::MEMOIZE);
        }
    }

    /// Schedules work so that it is done in the order given.
    fn schedule(&mut self, work: impl DoubleEndedIterator<Item = Work>) {
        self.scratch.work.extend(work.rev());
    }

    fn write(&mut self, id: NodeId) -> Result<(), EmitError> {
        let mark = self.mark(id);
        if mark.is_unmade {
            return Err(EmitError::Cycle);
        }
        mark.is_unmade = true;
        let tree = self.tree;
        match tree.node(id) {
            Node::Tuple(items) => self.write_tuple(id, items),
            Node::FrozenSet(items) => {
                self.out.push(opcode::MARK);
                let end = [Work::Write(opcode::FROZENSET), Work::Made(id)];
                self.schedule(items.iter().copied().map(Work::Visit).chain(end));
            }
            Node::List(items) => {
                self.write_filled(id, opcode::EMPTY_LIST, items.clone(), opcode::APPENDS)
            }
            Node::Set(items) => {
                self.write_filled(id, opcode::EMPTY_SET, items.clone(), opcode::ADDITEMS)
            }
            Node::Dict(entries) => {
                self.write_filled(id, opcode::EMPTY_DICT, flat(entries), opcode::SETITEMS)
            }
            Node::ReadonlyBuffer(buffer) => {
                let work = [
                    Work::Visit(*buffer),
                    Work::Write(opcode::READONLY_BUFFER),
                    Work::Made(id),
                ];
                self.schedule(work.into_iter());
            }
            Node::Object { make, mutations } => self.write_object(id, make, mutations),
            leaf => {
                self.write_leaf(leaf);
                self.made(id);
            }
        }
        Ok(())
    }

    fn write_tuple(&mut self, id: NodeId, items: &[NodeId]) {
        let end = match items.len() {
            0 => opcode::EMPTY_TUPLE,
            len @ 1..=3 => opcode::TUPLE1 + (len as u8 - 1),
            _ => {
                self.out.push(opcode::MARK);
                opcode::TUPLE
            }
        };
        let end = [Work::Write(end), Work::Made(id)];
        self.schedule(items.iter().copied().map(Work::Visit).chain(end));
    }

    /// A container that exists before its items do.
    fn write_filled(&mut self, id: NodeId, empty: u8, items: Vec<NodeId>, fill: u8) {
        self.out.push(empty);
        self.made(id);
        self.fill(items, fill);
    }

    fn fill(&mut self, items: Vec<NodeId>, fill: u8) {
        if !items.is_empty() {
            let work = items.into_iter().map(Work::Visit);
            self.schedule(
                [Work::Write(opcode::MARK)]
                    .into_iter()
                    .chain(work)
                    .chain([Work::Write(fill)]),
            );
        }
    }

    fn write_object(&mut self, id: NodeId, make: &Make, mutations: &[Mutation]) {
        for mutation in mutations.iter().rev() {
            match mutation {
                Mutation::SetState(state) => {
                    self.schedule([Work::Visit(*state), Work::Write(opcode::BUILD)].into_iter());
                }
                Mutation::Call { setter, state } => {
                    let parts = [*setter, id, *state].into_iter().map(Work::Visit);
                    let call = [opcode::TUPLE2, opcode::REDUCE, opcode::POP];
                    self.schedule(parts.chain(call.into_iter().map(Work::Write)));
                }
                Mutation::Append(items) => self.fill(items.clone(), opcode::APPENDS),
                Mutation::AddItems(items) => self.fill(items.clone(), opcode::ADDITEMS),
                Mutation::SetItems(entries) => self.fill(flat(entries), opcode::SETITEMS),
            }
        }
        let end = match make {
            Make::Reduce { .. } => opcode::REDUCE,
            Make::New { .. } => opcode::NEWOBJ,
            Make::NewWithKeywords { .. } => opcode::NEWOBJ_EX,
        };
        let end = [Work::Write(end), Work::Made(id)];
        self.schedule(make.children().into_iter().map(Work::Visit).chain(end));
    }

    fn write_leaf(&mut self, node: &Node) {
        let out = &mut *self.out;
        match node {
            Node::None => out.push(opcode::NONE),
            Node::Bool(value) => out.push(if *value {
                opcode::NEWTRUE
            } else {
                opcode::NEWFALSE
            }),
            Node::Int(value) => write_int(out, *value),
            Node::BigInt(bytes) => write_big_int(out, bytes),
            Node::Float(value) => {
                out.push(opcode::BINFLOAT);
                out.extend_from_slice(&value.to_be_bytes());
            }
            Node::Str(text) => write_str(out, text.as_bytes()),
            Node::Bytes(bytes) => write_bytes(out, bytes),
            Node::ByteArray(bytes) => {
                out.push(opcode::BYTEARRAY8);
                out.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
                out.extend_from_slice(bytes);
            }
            Node::Buffer(index) => {
                out.push(opcode::NEXT_BUFFER);
                self.buffers.push(*index);
            }
            Node::Global { module, name } => {
                write_str(out, module.as_bytes());
                write_str(out, name.as_bytes());
                out.push(opcode::STACK_GLOBAL);
            }
            other => unreachable!("{} is written by its parts", other.type_name()),
        }
    }
}

fn flat(entries: &[(NodeId, NodeId)]) -> Vec<NodeId> {
    entries
        .iter()
        .flat_map(|(key, value)| [*key, *value])
        .collect()
}

fn write_big_int(out: &mut Vec<u8>, bytes: &[u8]) {
    match u8::try_from(bytes.len()) {
        Ok(len) => out.extend_from_slice(&[opcode::LONG1, len]),
        Err(_) => {
            out.push(opcode::LONG4);
            out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        }
    }
    out.extend_from_slice(bytes);
}
