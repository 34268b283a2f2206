//! Why a graph, or a function sent to the scheduler, failed: as the client will see it.

use bytes::Bytes;
use protocol::Value;
use scheduler_core::TaskError;
use std::fmt;
use std::sync::Arc;

/// An exception raised in a helper, or one about the helper itself.
#[derive(Clone, Debug)]
pub struct GraphError {
    /// Pickle of the exception.
    pub exception: Bytes,
    /// Pickle of the traceback, where there is one that is not too long.
    pub traceback: Option<Bytes>,
    /// `repr` of the exception.
    pub text: String,
    pub traceback_text: String,
}

impl std::error::Error for GraphError {}

impl fmt::Display for GraphError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl GraphError {
    /// A `RuntimeError` that no Python raised.
    pub fn runtime(message: &str) -> Self {
        Self::builtin("RuntimeError", message)
    }

    /// An exception of a built-in class with one argument.
    pub fn builtin(class: &str, message: &str) -> Self {
        let mut pickle = Vec::with_capacity(message.len() + 48);
        pickle.extend_from_slice(b"\x80\x04cbuiltins\n");
        pickle.extend_from_slice(class.as_bytes());
        pickle.extend_from_slice(b"\nX");
        pickle.extend_from_slice(&u32::try_from(message.len()).unwrap_or(0).to_le_bytes());
        pickle.extend_from_slice(message.as_bytes());
        pickle.extend_from_slice(b"\x85R.");
        Self {
            exception: pickle.into(),
            traceback: None,
            text: format!("{class}({message:?})"),
            traceback_text: String::new(),
        }
    }

    /// What the core reports on the keys of the graph.
    pub fn to_task_error(&self) -> TaskError {
        TaskError {
            exception: Value::Bin(self.exception.clone()),
            traceback: self.traceback.clone().map_or(Value::Nil, Value::Bin),
            exception_text: Arc::from(self.text.as_str()),
            traceback_text: Arc::from(self.traceback_text.as_str()),
        }
    }
}

pub fn closing() -> GraphError {
    GraphError::runtime("the scheduler is closing")
}

pub fn malformed(error: &dyn fmt::Display) -> GraphError {
    GraphError::runtime(&format!(
        "the graph helper gave an answer that the scheduler cannot read: {error}"
    ))
}
