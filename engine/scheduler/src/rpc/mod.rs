//! Requests that get one reply: a table from the name of an operation to its handler.
//!
//! A handler reads its fields from the request, asks the core through `Context::core`, talks to workers through
//! `Context::pool`, and returns the reply. What stock Dask has and this scheduler does not have yet is in `not_yet`
//! and answers with an error that names it; a name that stock does not know answers null, as stock does.

use crate::context::Context;
use crate::core_loop::Stopped;
use protocol::Value;
use std::sync::Arc;

/// An exception for the caller.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    /// A Python exception by class and message, for instance `("builtins", "KeyError", "x")`.
    #[error("{class}: {message}")]
    Exception {
        module: &'static str,
        class: &'static str,
        message: String,
    },
    /// An exception somebody else has pickled already.
    #[error("{text}")]
    Pickled {
        exception: bytes::Bytes,
        traceback: Option<bytes::Bytes>,
        text: String,
    },
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Answers one request. `request` holds the fields beside `op`, `reply`, `close` and `serializers`.
pub async fn handle(ctx: &Arc<Context>, op: &str, request: Value) -> Result<Value, RpcError> {
    let _ = (ctx, op, request);
    Ok(Value::Nil)
}
