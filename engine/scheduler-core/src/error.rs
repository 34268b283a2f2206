//! What goes wrong with a task, as a client will see it.

use protocol::Value;
use std::sync::Arc;

/// An exception with its traceback; opaque bytes together with their texts.
#[derive(Clone, Debug)]
pub struct TaskError {
    /// What travels to the client: a serialized value, pickled bytes or a plain text.
    pub exception: Value,
    /// As `exception`, or nil.
    pub traceback: Value,
    pub exception_text: Arc<str>,
    pub traceback_text: Arc<str>,
}

impl TaskError {
    /// An exception of the scheduler's own, as the bytes of its pickle.
    pub fn made_here(pickle: Vec<u8>, text: &str) -> Self {
        Self {
            exception: Value::Bin(pickle.into()),
            traceback: Value::Nil,
            exception_text: Arc::from(text),
            traceback_text: Arc::from(""),
        }
    }
}
