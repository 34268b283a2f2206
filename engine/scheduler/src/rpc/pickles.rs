//! Arguments that came as pickles, because the caller's MessagePack could not hold them: opened before a handler reads
//! them. Simple ones are read here, the others in a helper; what even Python cannot turn into plain values stays.

use super::RpcError;
use crate::context::Context;
use protocol::{Payload, Value, pickle};
use std::sync::Arc;

/// The same value with its pickles opened.
pub async fn open_all(ctx: &Arc<Context>, mut value: Value) -> Result<Value, RpcError> {
    let mut pickles = Vec::new();
    collect(&mut value, &mut pickles);
    for slot in pickles {
        let Value::Pickled(payload) = &*slot else {
            continue;
        };
        *slot = open(ctx, payload).await?;
    }
    Ok(value)
}

async fn open(ctx: &Arc<Context>, payload: &Payload) -> Result<Value, RpcError> {
    let unreadable = |error: &dyn std::fmt::Display| {
        RpcError::value_error(format!(
            "an argument is a pickle that cannot be read: {error}"
        ))
    };
    let (pickle, buffers) = payload.pickle().map_err(|error| unreadable(&error))?;
    if let Ok(plain) = pickle::parse(&pickle, &buffers) {
        return Ok(plain.into_value());
    }
    Ok(ctx.graphs.load_pickle(pickle, buffers).await?)
}

/// Every pickle inside, without recursion into what was opened.
fn collect<'a>(value: &'a mut Value, pickles: &mut Vec<&'a mut Value>) {
    match value {
        Value::Pickled(_) => pickles.push(value),
        Value::Array(items) | Value::Set(items) => {
            items.iter_mut().for_each(|item| collect(item, pickles));
        }
        Value::Map(entries) => {
            for (key, value) in entries {
                collect(key, pickles);
                collect(value, pickles);
            }
        }
        _ => {}
    }
}
