//! Writes a part of a tree as a pickle of its own, with fresh memo numbers.
//!
//! What is shared inside the part stays shared, cycles through lists, dicts and object state stay cycles. Works with an
//! explicit stack, so that depth costs memory only.

use std::collections::{HashMap, HashSet};

use super::opcode;
use super::tree::{Make, Mutation, Node, NodeId, Tree};
use super::write::{write_bytes, write_int, write_str};
use crate::key::KeyBuildHasher;

type NodeMap<T> = HashMap<NodeId, T, KeyBuildHasher>;

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
}

impl Tree {
    /// The pickle of one node.
    pub fn emit(&self, root: NodeId) -> Result<Emitted, EmitError> {
        let mut emitter = Emitter::new(self, root);
        emitter.work.push(Work::Visit(root));
        while let Some(work) = emitter.work.pop() {
            emitter.perform(work)?;
        }
        emitter.out.push(opcode::STOP);
        Ok(Emitted {
            pickle: emitter.out,
            buffers: emitter.buffers,
        })
    }
}

/// How often each node of a part is referred to.
fn count_references(tree: &Tree, root: NodeId) -> NodeMap<u32> {
    let mut references = NodeMap::default();
    let mut pending = vec![root];
    while let Some(id) = pending.pop() {
        let count = references.entry(id).or_insert(0_u32);
        *count += 1;
        if *count == 1 {
            pending.append(&mut tree.children(id));
        }
    }
    references
}

enum Work {
    Visit(NodeId),
    Write(u8),
    /// The node is on the stack now and may be referred to.
    Made(NodeId),
}

struct Emitter<'a> {
    tree: &'a Tree,
    references: NodeMap<u32>,
    memo: NodeMap<u32>,
    /// Nodes whose parts are being written before they exist themselves.
    unmade: HashSet<NodeId, KeyBuildHasher>,
    out: Vec<u8>,
    buffers: Vec<usize>,
    work: Vec<Work>,
}

impl<'a> Emitter<'a> {
    fn new(tree: &'a Tree, root: NodeId) -> Self {
        Self {
            tree,
            references: count_references(tree, root),
            memo: NodeMap::default(),
            unmade: HashSet::default(),
            out: vec![opcode::PROTO, tree.protocol.max(4)],
            buffers: Vec::new(),
            work: Vec::new(),
        }
    }

    fn perform(&mut self, work: Work) -> Result<(), EmitError> {
        match work {
            Work::Write(opcode) => self.out.push(opcode),
            Work::Made(id) => self.made(id),
            Work::Visit(id) => match self.memo.get(&id) {
                Some(slot) => self.recall(*slot),
                None => return self.write(id),
            },
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
        self.unmade.remove(&id);
        if self.references.get(&id).is_some_and(|count| *count > 1) {
            self.out.push(opcode::MEMOIZE);
            let slot = self.memo.len() as u32;
            self.memo.insert(id, slot);
        }
    }

    /// Schedules work so that it is done in the order given.
    fn schedule(&mut self, work: impl DoubleEndedIterator<Item = Work>) {
        self.work.extend(work.rev());
    }

    fn write(&mut self, id: NodeId) -> Result<(), EmitError> {
        if !self.unmade.insert(id) {
            return Err(EmitError::Cycle);
        }
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
        let out = &mut self.out;
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
