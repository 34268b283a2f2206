//! What users keep with the scheduler: nested maps under lists of keys.

use crate::scheduler::Scheduler;
use protocol::{Key, KeyError, Value};

/// Why metadata cannot be read or written.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MetadataError {
    #[error("no keys given")]
    NoKeys,
    #[error("{0}")]
    Missing(Key),
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl Scheduler {
    /// Sets `value` under the path `keys`, making maps on the way.
    pub fn set_metadata(&mut self, keys: &[Value], value: Value) -> Result<(), MetadataError> {
        let (first, path) = keys.split_first().ok_or(MetadataError::NoKeys)?;
        let slot = self.metadata.entry(Key::try_from(first)?).or_default();
        *descend(slot, path)? = value.detached();
        Ok(())
    }

    /// The whole tree.
    pub fn all_metadata(&self) -> Value {
        let entries = self.metadata.iter();
        entries
            .map(|(key, value)| (Value::from(key), value.clone()))
            .collect()
    }

    /// What is under the path `keys`.
    pub fn metadata(&self, keys: &[Value]) -> Result<&Value, MetadataError> {
        let (first, path) = keys.split_first().ok_or(MetadataError::NoKeys)?;
        let first = Key::try_from(first)?;
        let mut found = self
            .metadata
            .get(&first)
            .ok_or(MetadataError::Missing(first))?;
        for key in path {
            let wanted = Key::try_from(key)?;
            let entries = found.as_map().unwrap_or_default();
            found = entries
                .iter()
                .find(|(own, _)| same(own, &wanted))
                .map(|(_, value)| value)
                .ok_or(MetadataError::Missing(wanted))?;
        }
        Ok(found)
    }
}

/// The place under `path`; what was not there, or is no map, is made one.
fn descend<'a>(mut slot: &'a mut Value, path: &[Value]) -> Result<&'a mut Value, MetadataError> {
    for key in path {
        let wanted = Key::try_from(key)?;
        if !matches!(slot, Value::Map(_)) {
            *slot = Value::Map(Vec::new());
        }
        let Value::Map(entries) = slot else { continue };
        let at = match entries.iter().position(|(own, _)| same(own, &wanted)) {
            Some(at) => at,
            None => {
                entries.push((key.detached(), Value::Nil));
                entries.len() - 1
            }
        };
        slot = &mut entries[at].1;
    }
    Ok(slot)
}

fn same(own: &Value, wanted: &Key) -> bool {
    Key::try_from(own).is_ok_and(|own| own == *wanted)
}
