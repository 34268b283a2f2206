//! Pickles without Python: what a scheduler must read or write itself. Nothing is ever executed.
//!
//! [`parse`] reads plain data and refuses anything else; [`Tree::read`] keeps calls and classes as nodes, so that parts
//! of a graph can be recognised and written again as pickles of their own ([`PartWriter`]); [`PickleWriter`] and
//! `exceptions` write.
//! Invariant: no recursion on what a peer sent, and at most one node per byte of it.

mod emit;
pub mod exceptions;
mod opcode;
mod parts;
mod read;
mod tree;
mod value;
mod write;

use bytes::Bytes;

pub use emit::{EmitError, Emitted};
pub use parts::{PartWriter, Prefix};
pub use tree::{Make, Mutation, Node, NodeId, Tree};
pub use value::PickleValue;
pub use write::PickleWriter;

/// A pickle we cannot read ourselves; it may still be fine for Python.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    #[error("pickle ends early")]
    Truncated,
    #[error("pickle opcode {opcode:#04x} at byte {at}")]
    Opcode { opcode: u8, at: usize },
    #[error("pickle is malformed at byte {at}: {reason}")]
    Malformed { at: usize, reason: &'static str },
    #[error("pickle holds a {0}, not plain data")]
    NotPlain(&'static str),
    #[error("pickle is nested deeper than {0} levels")]
    TooDeep(usize),
    #[error("pickle has more than {0} items")]
    TooLarge(usize),
    #[error("pickle uses buffer {0}, which did not come with it")]
    NoBuffer(usize),
}

/// Reads a pickle of plain data: numbers, text, bytes, and containers of these.
pub fn parse(pickle: &Bytes, buffers: &[Bytes]) -> Result<PickleValue, Unsupported> {
    let tree = Tree::read(pickle)?;
    PickleValue::from_tree(&tree, tree.root(), buffers)
}

/// The pickle of a `bytes` object.
pub fn bytes_pickle(content: &[u8]) -> Bytes {
    let mut writer = PickleWriter::new();
    writer.bytes(content);
    writer.finish()
}
