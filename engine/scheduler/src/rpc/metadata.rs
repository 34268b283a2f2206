//! Metadata: a tree of values that users and cluster managers keep in the scheduler.

use super::RpcError;
use super::fields::Fields;
use crate::context::Context;
use protocol::Value;
use scheduler_core::MetadataError;
use std::sync::Arc;

pub async fn get_metadata(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let path = path(&mut fields)?;
    if path.is_empty() {
        return Ok(ctx.core.call(|core, _, _| core.all_metadata()).await?);
    }
    // Null is a default like any other; what clients send when they want none is an enum's member.
    let default = fields
        .take_any("default")
        .filter(|value| !is_no_default(value));
    let found = ctx
        .core
        .call(move |core, _, _| core.metadata(&path).cloned())
        .await?;
    match (found, default) {
        (Ok(value), _) | (Err(MetadataError::Missing(_)), Some(value)) => Ok(value),
        (Err(error), _) => Err(error.into()),
    }
}

pub async fn set_metadata(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let path = path(&mut fields)?;
    let value = fields.take_any("value").unwrap_or_default();
    ctx.core
        .call(move |core, _, _| core.set_metadata(&path, value))
        .await??;
    Ok(Value::Nil)
}

impl From<MetadataError> for RpcError {
    fn from(error: MetadataError) -> Self {
        match error {
            MetadataError::Missing(key) => Self::key_error(key.to_string()),
            MetadataError::NoKeys => Self::builtin("IndexError", error.to_string()),
            MetadataError::Key(_) => Self::type_error(error.to_string()),
        }
    }
}

/// A list of keys, or a single one.
fn path(fields: &mut Fields) -> Result<Vec<Value>, RpcError> {
    match fields.required("keys")? {
        Value::Array(path) | Value::Set(path) => Ok(path),
        single if single.as_key().is_some() => Ok(vec![single]),
        other => Err(fields.wrong("keys", "a list of keys", &other)),
    }
}

/// `dask.typing.no_default`, in any release that has it.
fn is_no_default(value: &Value) -> bool {
    matches!(value, Value::Enum(member) if member.member == "no_default")
        || value.is_str("__no_default__")
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{EnumMember, Text, array, map};

    #[test]
    fn a_path_is_a_list_of_keys_or_one_key() {
        let read = |keys: Value| path(&mut Fields::new("get_metadata", map! {"keys" => keys}));
        assert_eq!(
            read(array!["a", 1]).unwrap(),
            [Value::from("a"), Value::from(1)]
        );
        assert_eq!(read(Value::from("a")).unwrap(), [Value::from("a")]);
        assert!(read(map! {}).is_err());
    }

    #[test]
    fn the_sentinel_for_no_default_is_told_from_null() {
        let sentinel = EnumMember {
            module: Text::from_static("dask.typing"),
            class: Text::from_static("_NoDefault"),
            member: Text::from_static("no_default"),
        };
        assert!(is_no_default(&Value::Enum(Box::new(sentinel))));
        assert!(!is_no_default(&Value::Nil));
    }
}
