//! Exceptions made here, for tasks and callers.

use protocol::messages::pickled_error_reply;
use protocol::pickle::exceptions;
use protocol::{Payload, Text, Value};
use worker_core::TaskError;

/// What a task fails with.
pub fn task_error(class: &'static str, text: &str) -> TaskError {
    TaskError {
        exception: Value::Serialized(Payload::serialized_bytes(&exceptions::builtin(class, text))),
        traceback: Value::Nil,
        exception_text: Text::from(format!("{class}({text:?})")),
        traceback_text: Text::default(),
    }
}

/// What a peer says went wrong.
pub fn of_reply(reply: &mut Value) -> TaskError {
    let mut text = |field| match reply.take(field) {
        Some(Value::Str(text)) => text,
        _ => Text::default(),
    };
    let (exception_text, traceback_text) = (text("exception_text"), text("traceback_text"));
    TaskError {
        exception: reply.take("exception").unwrap_or_default(),
        traceback: reply.take("traceback").unwrap_or_default(),
        exception_text,
        traceback_text,
    }
}

/// What a caller raises.
pub fn reply(class: &'static str, text: &str) -> Value {
    pickled_error_reply(&exceptions::builtin(class, text), text)
}
