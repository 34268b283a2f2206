//! A pickle as a graph of nodes: what would be built, without building it.
//!
//! Nodes live in one arena and refer to each other by index, so that sharing and cycles are kept and dropping never
//! recurses. Invariant: every [`NodeId`] in a tree is an index of that tree's arena.

use bytes::Bytes;
use smallvec::{SmallVec, smallvec};

use super::Unsupported;
use super::read::Reader;
use crate::text::Text;

/// A node of one [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(super) u32);

impl NodeId {
    /// Its place in the arena.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// What one opcode, or several that change the same object, would build.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    None,
    Bool(bool),
    Int(i64),
    /// Little-endian two's complement, beyond 64 bits.
    BigInt(Bytes),
    Float(f64),
    Str(Text),
    Bytes(Bytes),
    ByteArray(Bytes),
    /// The n-th buffer that travels beside the pickle.
    Buffer(usize),
    /// A read-only view of a buffer.
    ReadonlyBuffer(NodeId),
    Tuple(Vec<NodeId>),
    List(Vec<NodeId>),
    Dict(Vec<(NodeId, NodeId)>),
    Set(Vec<NodeId>),
    FrozenSet(Vec<NodeId>),
    /// A class or function by name.
    Global {
        module: Text,
        name: Text,
    },
    /// What a call returns, and what is then done to it.
    Object {
        make: Make,
        mutations: Vec<Mutation>,
    },
}

/// How an object is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Make {
    /// `callable(*arguments)`
    Reduce { callable: NodeId, arguments: NodeId },
    /// `class.__new__(class, *arguments)`
    New { class: NodeId, arguments: NodeId },
    /// The same with keyword arguments.
    NewWithKeywords {
        class: NodeId,
        arguments: NodeId,
        keywords: NodeId,
    },
}

/// What is done to an object after it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mutation {
    SetState(NodeId),
    /// `setter(object, state)`: how functions pickled by value get theirs.
    Call {
        setter: NodeId,
        state: NodeId,
    },
    Append(Vec<NodeId>),
    SetItems(Vec<(NodeId, NodeId)>),
    AddItems(Vec<NodeId>),
}

/// A pickle that has been read but not executed.
#[derive(Clone, Debug)]
pub struct Tree {
    pub(super) nodes: Vec<Node>,
    pub(super) root: NodeId,
    pub(super) protocol: u8,
}

impl Tree {
    /// Reads a pickle of protocol 2 to 5.
    pub fn read(pickle: &Bytes) -> Result<Self, Unsupported> {
        Reader::new(pickle).read()
    }

    /// The same, for no more than this many opcodes: memory and time are in proportion to them.
    pub fn read_within(pickle: &Bytes, max_opcodes: usize) -> Result<Self, Unsupported> {
        Reader::new(pickle).read_within(max_opcodes)
    }

    pub fn root(&self) -> NodeId {
        self.root
    }

    /// All nodes, also those that the root does not lead to.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.nodes.len() as u32).map(NodeId)
    }

    /// Adds a node that was not in the pickle.
    pub fn push(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        NodeId(self.nodes.len() as u32 - 1)
    }

    /// Takes back what was added last, down to this many nodes; none that is left may refer to them.
    pub fn truncate(&mut self, len: usize) {
        self.nodes.truncate(len);
    }

    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.0 as usize]
    }

    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub fn protocol(&self) -> u8 {
        self.protocol
    }

    /// The module and name of a class or function.
    pub fn as_global(&self, id: NodeId) -> Option<(&[u8], &[u8])> {
        match self.node(id) {
            Node::Global { module, name } => Some((module.as_bytes(), name.as_bytes())),
            _ => None,
        }
    }

    /// Whether a node is this class or function.
    pub fn is_global(&self, id: NodeId, module: &str, name: &str) -> bool {
        self.as_global(id) == Some((module.as_bytes(), name.as_bytes()))
    }

    pub fn as_tuple(&self, id: NodeId) -> Option<&[NodeId]> {
        match self.node(id) {
            Node::Tuple(items) => Some(items),
            _ => None,
        }
    }

    pub fn as_str(&self, id: NodeId) -> Option<&Text> {
        match self.node(id) {
            Node::Str(text) => Some(text),
            _ => None,
        }
    }

    /// The callable and arguments of an object made by a call.
    pub fn as_call(&self, id: NodeId) -> Option<(NodeId, &[NodeId])> {
        match self.node(id) {
            Node::Object {
                make:
                    Make::Reduce {
                        callable,
                        arguments,
                    },
                ..
            } => Some((*callable, self.as_tuple(*arguments)?)),
            _ => None,
        }
    }

    /// Calls `each` with the nodes a node refers to, in the order they are written.
    pub fn visit_children(&self, id: NodeId, mut each: impl FnMut(NodeId)) {
        match self.node(id) {
            Node::Tuple(items) | Node::List(items) | Node::Set(items) | Node::FrozenSet(items) => {
                items.iter().copied().for_each(each);
            }
            Node::Dict(entries) => visit_pairs(entries, each),
            Node::ReadonlyBuffer(buffer) => each(*buffer),
            Node::Object { make, mutations } => {
                make.visit_children(&mut each);
                for mutation in mutations {
                    mutation.visit_children(id, &mut each);
                }
            }
            Node::None
            | Node::Bool(_)
            | Node::Int(_)
            | Node::BigInt(_)
            | Node::Float(_)
            | Node::Str(_)
            | Node::Bytes(_)
            | Node::ByteArray(_)
            | Node::Buffer(_)
            | Node::Global { .. } => {}
        }
    }
}

fn visit_pairs(entries: &[(NodeId, NodeId)], mut each: impl FnMut(NodeId)) {
    for (key, value) in entries {
        each(*key);
        each(*value);
    }
}

impl Mutation {
    fn visit_children(&self, object: NodeId, each: &mut impl FnMut(NodeId)) {
        match self {
            Self::SetState(state) => each(*state),
            // The setter is given the object itself.
            Self::Call { setter, state } => [*setter, object, *state].into_iter().for_each(each),
            Self::Append(items) | Self::AddItems(items) => items.iter().copied().for_each(each),
            Self::SetItems(entries) => visit_pairs(entries, each),
        }
    }
}

impl Make {
    fn visit_children(&self, each: &mut impl FnMut(NodeId)) {
        self.children().into_iter().for_each(each);
    }

    pub(super) fn children(&self) -> SmallVec<[NodeId; 3]> {
        match self {
            Self::Reduce {
                callable,
                arguments,
            } => smallvec![*callable, *arguments],
            Self::New { class, arguments } => smallvec![*class, *arguments],
            Self::NewWithKeywords {
                class,
                arguments,
                keywords,
            } => smallvec![*class, *arguments, *keywords],
        }
    }
}

impl Node {
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Bool(_) => "bool",
            Self::Int(_) | Self::BigInt(_) => "int",
            Self::Float(_) => "float",
            Self::Str(_) => "str",
            Self::Bytes(_) => "bytes",
            Self::ByteArray(_) => "bytearray",
            Self::Buffer(_) | Self::ReadonlyBuffer(_) => "buffer",
            Self::Tuple(_) => "tuple",
            Self::List(_) => "list",
            Self::Dict(_) => "dict",
            Self::Set(_) => "set",
            Self::FrozenSet(_) => "frozenset",
            Self::Global { .. } => "class or function",
            Self::Object { .. } => "object",
        }
    }
}
