//! The envelope of a remote call and of the reply that says it failed.

use bytes::Bytes;

use crate::map;
use crate::payload::Payload;
use crate::text::Text;
use crate::value::Value;

/// A request, without the fields every request has.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    pub op: Text,
    /// Whether the caller waits for a reply.
    pub reply: bool,
    /// Whether the caller closes the connection afterwards.
    pub close: bool,
    /// How the caller wants values serialized.
    pub serializers: Value,
    /// The arguments: always a map.
    pub arguments: Value,
}

/// A request that cannot even be answered by its handler.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    #[error("bad message type: expected a map, got {0}")]
    NotAMap(&'static str),
    #[error("request without an op")]
    NoOp,
}

impl Request {
    pub fn from_value(mut message: Value) -> Result<Self, RequestError> {
        if message.as_map().is_none() {
            return Err(RequestError::NotAMap(message.type_name()));
        }
        let Some(Value::Str(op)) = message.take("op") else {
            return Err(RequestError::NoOp);
        };
        Ok(Self {
            op,
            reply: message.take("reply").is_none_or(|value| value.is_truthy()),
            close: message.take("close").is_some_and(|value| value.is_truthy()),
            serializers: message.take("serializers").unwrap_or_default(),
            arguments: message,
        })
    }

    /// An argument that may be missing.
    pub fn argument(&self, name: &str) -> Option<&Value> {
        self.arguments.get(name)
    }

    /// Removes an argument; nil if missing.
    pub fn take(&mut self, name: &str) -> Value {
        self.arguments.take(name).unwrap_or_default()
    }
}

/// The reply of a handler that failed: the caller raises `Exception(text)`.
pub fn error_reply(text: &str) -> Value {
    failed("uncaught-error", Value::from(text), text)
}

/// The reply of a handler that failed with a known exception, given as its pickle.
pub fn pickled_error_reply(exception: &Bytes, text: &str) -> Value {
    failed(
        "uncaught-error",
        Value::Serialized(Payload::serialized_bytes(exception)),
        text,
    )
}

fn failed(status: &'static str, exception: Value, text: &str) -> Value {
    map! {
        "status" => Value::text(status),
        "exception" => exception,
        "traceback" => Value::Nil,
        "exception_text" => text,
        "traceback_text" => "",
    }
}
