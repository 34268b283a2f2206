//! The first message of either side of a connection.

use crate::decode::decode_message;
use crate::error::DecodeError;
use crate::frames::Frames;
use crate::map;
use crate::text::Text;
use crate::value::Value;
use crate::writer::encode_value;

impl Handshake {
    /// The pickle protocol everyone can be relayed to.
    pub const RELAYED_PICKLES: i64 = 4;
    /// The one that keeps large buffers out of the pickle, for those who read values themselves.
    pub const NEWEST_PICKLES: i64 = 5;
}

/// What a peer says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    pub compression: Option<Text>,
    pub pickle_protocol: i64,
}

#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    #[error("handshake: {0}")]
    Decode(#[from] DecodeError),
    #[error("handshake is a {0}, not a map")]
    NotAMap(&'static str),
    #[error("handshake without pickle-protocol: the Dask versions may not be in sync")]
    NoPickleProtocol,
}

impl Handshake {
    /// What we say: no compression, and which pickles we want.
    pub fn ours(pickle_protocol: i64) -> Frames {
        let python = Value::Array(vec![3.into(), 10.into(), 0.into()]);
        encode_value(&map! {
            "compression" => Value::Nil,
            "python" => python,
            "pickle-protocol" => pickle_protocol,
        })
    }

    pub fn read(frames: &Frames) -> Result<Self, HandshakeError> {
        let message = decode_message(frames)?;
        if message.as_map().is_none() {
            return Err(HandshakeError::NotAMap(message.type_name()));
        }
        let pickle_protocol = message
            .get("pickle-protocol")
            .and_then(Value::as_i64)
            .ok_or(HandshakeError::NoPickleProtocol)?;
        let compression = message.get("compression").and_then(Value::as_text).cloned();
        Ok(Self {
            compression,
            pickle_protocol,
        })
    }
}
