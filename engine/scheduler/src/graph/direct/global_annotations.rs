//! The annotations of a whole graph, where they are plain values.

use super::Refusal;
use protocol::Value;
use protocol::pickle::{self, PickleValue};

/// `None` where there are none. Values that would be called for each key, or that a message cannot hold, are a helper's.
pub fn read(annotations: &Value) -> Result<Option<Value>, Refusal> {
    let payload = match annotations {
        Value::Nil => return Ok(None),
        Value::Pickled(payload) => payload,
        _ => return Err("annotations of another kind".into()),
    };
    let unreadable = "annotations of another kind";
    let (pickle, buffers) = payload.pickle().map_err(|_| unreadable)?;
    let value = pickle::parse(&pickle, &buffers).map_err(|_| unreadable)?;
    match &value {
        PickleValue::Dict(entries) if entries.is_empty() => Ok(None),
        PickleValue::Dict(entries) if entries.iter().all(|(name, _)| is_name(name)) => {
            match is_plain(&value) {
                true => Ok(Some(value.into_value().detached())),
                false => Err(unreadable.into()),
            }
        }
        _ => Err(unreadable.into()),
    }
}

fn is_name(name: &PickleValue) -> bool {
    matches!(name, PickleValue::Str(_))
}

/// Whether a helper's answer would hold it just so.
fn is_plain(value: &PickleValue) -> bool {
    match value {
        PickleValue::None
        | PickleValue::Bool(_)
        | PickleValue::Int(_)
        | PickleValue::Float(_)
        | PickleValue::Str(_) => true,
        PickleValue::Tuple(items) | PickleValue::List(items) | PickleValue::Set(items) => {
            items.iter().all(is_plain)
        }
        PickleValue::Dict(entries) => entries
            .iter()
            .all(|(name, value)| is_name(name) && is_plain(value)),
        PickleValue::UInt(_)
        | PickleValue::Bytes(_)
        | PickleValue::ByteArray(_)
        | PickleValue::FrozenSet(_) => false,
    }
}
