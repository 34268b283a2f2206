//! A pickle as a graph of nodes: what would be built, without building it.
//!
//! Nodes live in one arena and refer to each other by index, so that sharing and cycles are kept and dropping never
//! recurses. Invariant: every [`NodeId`] in a tree is an index of that tree's arena.

use bytes::Bytes;

use super::Unsupported;
use super::read::Reader;
use crate::text::Text;

/// A node of one [`Tree`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(super) u32);

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

    pub fn root(&self) -> NodeId {
        self.root
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

    /// The nodes a node refers to, in the order they are written.
    pub fn children(&self, id: NodeId) -> Vec<NodeId> {
        let pairs = |entries: &[(NodeId, NodeId)]| {
            entries
                .iter()
                .flat_map(|(key, value)| [*key, *value])
                .collect()
        };
        match self.node(id) {
            Node::Tuple(items) | Node::List(items) | Node::Set(items) | Node::FrozenSet(items) => {
                items.clone()
            }
            Node::Dict(entries) => pairs(entries),
            Node::ReadonlyBuffer(buffer) => vec![*buffer],
            Node::Object { make, mutations } => {
                let mut children = make.children();
                for mutation in mutations {
                    match mutation {
                        Mutation::SetState(state) => children.push(*state),
                        // The setter is given the object itself.
                        Mutation::Call { setter, state } => {
                            children.extend_from_slice(&[*setter, id, *state])
                        }
                        Mutation::Append(items) | Mutation::AddItems(items) => {
                            children.extend_from_slice(items)
                        }
                        Mutation::SetItems(entries) => children.append(&mut pairs(entries)),
                    }
                }
                children
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
            | Node::Global { .. } => Vec::new(),
        }
    }
}

impl Make {
    pub(super) fn children(&self) -> Vec<NodeId> {
        match self {
            Self::Reduce {
                callable,
                arguments,
            } => vec![*callable, *arguments],
            Self::New { class, arguments } => vec![*class, *arguments],
            Self::NewWithKeywords {
                class,
                arguments,
                keywords,
            } => vec![*class, *arguments, *keywords],
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
