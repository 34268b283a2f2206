//! Plain Python data, as pickles of annotations, metadata and exception arguments hold it.

use bytes::Bytes;

use super::Unsupported;
use super::tree::{Node, NodeId, Tree};
use crate::key::Key;
use crate::text::Text;
use crate::value::Value;

/// Deeper data is left to Python.
const MAX_DEPTH: usize = 128;

/// Data may be shared inside a pickle; taken apart it may have this many times more items.
const MAX_SHARING: usize = 8;

/// Data without classes or calls.
#[derive(Clone, Debug, PartialEq)]
pub enum PickleValue {
    None,
    Bool(bool),
    Int(i64),
    /// Only beyond `i64::MAX`.
    UInt(u64),
    Float(f64),
    Str(Text),
    Bytes(Bytes),
    ByteArray(Bytes),
    Tuple(Vec<PickleValue>),
    List(Vec<PickleValue>),
    Dict(Vec<(PickleValue, PickleValue)>),
    Set(Vec<PickleValue>),
    FrozenSet(Vec<PickleValue>),
}

impl PickleValue {
    /// The data below a node of a tree.
    pub fn from_tree(tree: &Tree, id: NodeId, buffers: &[Bytes]) -> Result<Self, Unsupported> {
        Conversion {
            tree,
            buffers,
            items: 0,
            max_items: 1024 + MAX_SHARING * tree.len(),
        }
        .value(id, 0)
    }

    /// The value of a dict entry with this string as key.
    pub fn get(&self, field: &str) -> Option<&Self> {
        let Self::Dict(entries) = self else {
            return None;
        };
        // As in Python, a key that was set twice has its last value.
        entries
            .iter()
            .rev()
            .find(|(key, _)| matches!(key, Self::Str(text) if text == field))
            .map(|(_, value)| value)
    }

    /// The items of a tuple, list or set.
    pub fn as_items(&self) -> Option<&[Self]> {
        match self {
            Self::Tuple(items) | Self::List(items) | Self::Set(items) | Self::FrozenSet(items) => {
                Some(items)
            }
            _ => None,
        }
    }

    /// The same as a value of a message; tuples become arrays, as they do on the wire.
    pub fn into_value(self) -> Value {
        let all = |items: Vec<Self>| items.into_iter().map(Self::into_value).collect();
        match self {
            Self::None => Value::Nil,
            Self::Bool(value) => Value::Bool(value),
            Self::Int(value) => Value::Int(value),
            Self::UInt(value) => Value::UInt(value),
            Self::Float(value) => Value::Float(value),
            Self::Str(text) => Value::Str(text),
            Self::Bytes(bytes) | Self::ByteArray(bytes) => Value::Bin(bytes),
            Self::Tuple(items) | Self::List(items) => Value::Array(all(items)),
            Self::Set(items) | Self::FrozenSet(items) => Value::Set(all(items)),
            Self::Dict(entries) => entries
                .into_iter()
                .map(|(key, value)| (key.into_value(), value.into_value()))
                .collect(),
        }
    }
}

struct Conversion<'a> {
    tree: &'a Tree,
    buffers: &'a [Bytes],
    items: usize,
    max_items: usize,
}

impl Conversion<'_> {
    /// Recurses at most [`MAX_DEPTH`] times.
    fn value(&mut self, id: NodeId, depth: usize) -> Result<PickleValue, Unsupported> {
        self.items += 1;
        if self.items > self.max_items {
            return Err(Unsupported::TooLarge(self.max_items));
        }
        if depth > MAX_DEPTH {
            return Err(Unsupported::TooDeep(MAX_DEPTH));
        }
        let node = self.tree.node(id);
        Ok(match node {
            Node::None => PickleValue::None,
            Node::Bool(value) => PickleValue::Bool(*value),
            Node::Int(value) => PickleValue::Int(*value),
            Node::Float(value) => PickleValue::Float(*value),
            Node::Str(text) => PickleValue::Str(text.clone()),
            Node::Bytes(bytes) => PickleValue::Bytes(bytes.clone()),
            Node::ByteArray(bytes) => PickleValue::ByteArray(bytes.clone()),
            Node::Buffer(index) => {
                let buffer = self
                    .buffers
                    .get(*index)
                    .ok_or(Unsupported::NoBuffer(*index))?;
                PickleValue::Bytes(buffer.clone())
            }
            Node::ReadonlyBuffer(buffer) => self.value(*buffer, depth + 1)?,
            Node::Tuple(items) => PickleValue::Tuple(self.values(items, depth)?),
            Node::List(items) => PickleValue::List(self.values(items, depth)?),
            Node::Set(items) => PickleValue::Set(self.values(items, depth)?),
            Node::FrozenSet(items) => PickleValue::FrozenSet(self.values(items, depth)?),
            Node::Dict(entries) => PickleValue::Dict(self.entries(entries, depth)?),
            Node::BigInt(bytes) => PickleValue::UInt(unsigned(bytes)?),
            Node::Global { .. } | Node::Object { .. } => {
                return Err(Unsupported::NotPlain(node.type_name()));
            }
        })
    }

    fn values(&mut self, items: &[NodeId], depth: usize) -> Result<Vec<PickleValue>, Unsupported> {
        items
            .iter()
            .map(|item| self.value(*item, depth + 1))
            .collect()
    }

    fn entries(
        &mut self,
        entries: &[(NodeId, NodeId)],
        depth: usize,
    ) -> Result<Vec<(PickleValue, PickleValue)>, Unsupported> {
        entries
            .iter()
            .map(|(key, value)| Ok((self.value(*key, depth + 1)?, self.value(*value, depth + 1)?)))
            .collect()
    }
}

/// Nine bytes of which the last is a zero sign are what fits 64 bits without a sign.
fn unsigned(bytes: &[u8]) -> Result<u64, Unsupported> {
    match (bytes.first_chunk::<8>(), bytes) {
        (Some(low), [_, _, _, _, _, _, _, _, 0]) => Ok(u64::from_le_bytes(*low)),
        _ => Err(Unsupported::NotPlain("int beyond 64 bits")),
    }
}

impl From<&Key> for PickleValue {
    fn from(key: &Key) -> Self {
        Self::from_key_value(key.to_value())
    }
}

impl PickleValue {
    /// What a key is in Python: arrays are tuples there.
    fn from_key_value(value: Value) -> Self {
        match value {
            Value::Str(text) => Self::Str(text),
            Value::Int(value) => Self::Int(value),
            Value::UInt(value) => Self::UInt(value),
            Value::Float(value) => Self::Float(value),
            Value::Array(items) => {
                Self::Tuple(items.into_iter().map(Self::from_key_value).collect())
            }
            _ => Self::None,
        }
    }
}

impl From<&str> for PickleValue {
    fn from(text: &str) -> Self {
        Self::Str(Text::from(text))
    }
}

impl From<i64> for PickleValue {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for PickleValue {
    fn from(value: f64) -> Self {
        Self::Float(value)
    }
}

impl From<Option<&str>> for PickleValue {
    fn from(text: Option<&str>) -> Self {
        text.map_or(Self::None, Self::from)
    }
}
