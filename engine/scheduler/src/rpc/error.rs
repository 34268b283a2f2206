//! Exceptions for callers: a Python class with a message, pickled by hand, or somebody else's pickle passed on.
//!
//! A caller raises what it unpickles, so the class decides what the user can catch; it is always one of stock Dask's.

use crate::core_loop::Stopped;
use bytes::Bytes;
use protocol::pickle::{PickleValue, exceptions};
use protocol::{Payload, Value, map};

/// An exception for the caller.
#[derive(Debug, Clone, thiserror::Error)]
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
        exception: Bytes,
        traceback: Option<Bytes>,
        text: String,
    },
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

impl RpcError {
    pub fn builtin(class: &'static str, message: impl Into<String>) -> Self {
        Self::Exception {
            module: "builtins",
            class,
            message: message.into(),
        }
    }

    pub fn type_error(message: impl Into<String>) -> Self {
        Self::builtin("TypeError", message)
    }

    pub fn value_error(message: impl Into<String>) -> Self {
        Self::builtin("ValueError", message)
    }

    /// `key` is what the user looked up, as Python's KeyError has it.
    pub fn key_error(key: impl Into<String>) -> Self {
        Self::builtin("KeyError", key)
    }

    pub fn timeout(message: impl Into<String>) -> Self {
        Self::builtin("TimeoutError", message)
    }

    /// The pickle of the exception, and of its traceback where there is one.
    pub fn pickles(&self) -> (Bytes, Option<Bytes>) {
        match self {
            Self::Exception {
                module,
                class,
                message,
            } => {
                let message = PickleValue::from(message.as_str());
                (exceptions::exception(module, class, &[message]), None)
            }
            Self::Pickled {
                exception,
                traceback,
                ..
            } => (exception.clone(), traceback.clone()),
            Self::Stopped(stopped) => {
                let text = stopped.to_string();
                (exceptions::builtin("RuntimeError", &text), None)
            }
        }
    }

    /// What `repr()` of the exception gives, nearly.
    pub fn text(&self) -> String {
        match self {
            Self::Exception { class, message, .. } => format!("{class}({message:?})"),
            Self::Pickled { text, .. } => text.clone(),
            Self::Stopped(stopped) => format!("RuntimeError({:?})", stopped.to_string()),
        }
    }

    /// The map by which every Dask server answers with an exception. `status` is `uncaught-error` for a handler that
    /// raised, `error` for one that reports what user code did.
    pub fn message(&self, status: &'static str) -> Value {
        let (exception, traceback) = self.pickles();
        let opaque = |pickle: Bytes| Value::Serialized(Payload::serialized_bytes(&pickle));
        map! {
            "status" => status,
            "exception" => opaque(exception),
            "traceback" => traceback.map(opaque),
            "exception_text" => self.text(),
            "traceback_text" => "",
        }
    }
}
