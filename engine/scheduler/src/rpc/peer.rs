//! Requests of the scheduler to workers and nannies, over the pool.
//!
//! A call ends when the peer answers, raises, is removed, or its connection is lost; connecting is bounded by the pool's
//! timeout and a silent host by TCP keep-alive, so that none hangs for ever. What travels is not looked into.

use super::RpcError;
use crate::context::Context;
use protocol::{Frames, Key, Value, encode_value, map};
use std::error::Error;
use std::sync::Arc;
use transport::CallError;

/// Why a call has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PeerError {
    /// No connection, or it was lost; in Python an OSError.
    #[error("{error}")]
    Unreachable { error: String },
    /// The handler at the peer raised, or its answer was no message.
    #[error("{text}")]
    Raised { text: String },
}

impl From<PeerError> for RpcError {
    fn from(error: PeerError) -> Self {
        match error {
            PeerError::Unreachable { error } => Self::builtin("OSError", error),
            PeerError::Raised { text } => Self::builtin("Exception", text),
        }
    }
}

impl From<CallError> for PeerError {
    fn from(error: CallError) -> Self {
        let text = chain(&error);
        if error.is_connection_lost() {
            Self::Unreachable { error: text }
        } else {
            Self::Raised { text }
        }
    }
}

/// A request on its way: `request` is a map with `op`.
pub fn message(mut request: Value) -> Frames {
    request.set("reply", true);
    encode_value(&request)
}

/// Sends `request`, a map with `op`, and returns the answer.
pub async fn call(ctx: &Arc<Context>, address: &str, request: Value) -> Result<Value, PeerError> {
    call_encoded(ctx, address, &message(request)).await
}

/// The same for a message that goes to many.
pub async fn call_encoded(
    ctx: &Arc<Context>,
    address: &str,
    request: &Frames,
) -> Result<Value, PeerError> {
    answered(ctx.pool.call(address, request).await?)
}

/// Asks a worker for data; an answer that is OK has been acknowledged, which frees the worker's slot.
pub async fn get_data(
    ctx: &Arc<Context>,
    address: &str,
    keys: &[Key],
    serializers: Option<Value>,
) -> Result<Value, PeerError> {
    let mut request = map! {
        "op" => "get_data",
        "keys" => keys.iter().map(Value::from).collect::<Value>(),
        "who" => Value::Nil,
    };
    if let Some(serializers) = serializers {
        request.set("serializers", serializers);
    }
    answered(ctx.pool.call_then_ack(address, &message(request)).await?)
}

/// An answer, unless it says that the handler raised.
fn answered(answer: Value) -> Result<Value, PeerError> {
    let raised = answer
        .get("status")
        .is_some_and(|status| status.is_str("uncaught-error"));
    if !raised {
        return Ok(answer);
    }
    let text = answer.get("exception_text").and_then(Value::as_text);
    Err(PeerError::Raised {
        text: text.map_or_else(|| "the peer raised".to_owned(), ToString::to_string),
    })
}

/// The error with everything that caused it.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_says_that_the_handler_raised_is_an_error_with_its_text() {
        let answer = map! {"status" => "uncaught-error", "exception_text" => "ValueError('x')"};
        let error = answered(answer).unwrap_err();
        assert_eq!(error.to_string(), "ValueError('x')");
    }

    #[test]
    fn an_answer_that_reports_the_error_of_user_code_is_an_answer() {
        assert!(answered(map! {"status" => "error"}).is_ok());
    }
}
