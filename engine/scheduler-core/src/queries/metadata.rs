//! Metadata: a tree of values that users keep in the scheduler, addressed by a path of keys.

use crate::scheduler::Scheduler;
use protocol::{Key, Value};

impl Scheduler {
    /// The value at the end of `path`, the whole tree for an empty one, or the first key that is not there.
    pub fn metadata(&self, path: &[Key]) -> Result<Value, Key> {
        let Some((first, rest)) = path.split_first() else {
            let entries = self.metadata.iter();
            return Ok(entries.map(|(key, value)| (Value::from(key), value.clone())).collect());
        };
        let mut value = self.metadata.get(first).ok_or_else(|| first.clone())?;
        for key in rest {
            value = entry(value, key).ok_or_else(|| key.clone())?;
        }
        Ok(value.clone())
    }

    /// Puts a value at the end of `path`; what is in the way and is no map is replaced by one.
    pub fn set_metadata(&mut self, path: &[Key], value: Value) {
        let Some((first, rest)) = path.split_first() else { return };
        let mut slot = self.metadata.entry(first.clone()).or_default();
        for key in rest {
            slot = entry_or_insert(slot, key);
        }
        // A stored value must not keep a whole received frame alive.
        *slot = value.detached();
    }
}

fn entry<'a>(value: &'a Value, key: &Key) -> Option<&'a Value> {
    let entries = value.as_map()?.iter();
    let mut found = entries.filter(|(own, _)| own.as_key().as_ref() == Some(key));
    found.next().map(|(_, value)| value)
}

fn entry_or_insert<'a>(value: &'a mut Value, key: &Key) -> &'a mut Value {
    if value.as_map().is_none() {
        *value = Value::Map(Vec::new());
    }
    let Value::Map(entries) = value else {
        unreachable!("it has just been made a map");
    };
    let found = entries.iter().position(|(own, _)| own.as_key().as_ref() == Some(key));
    let at = found.unwrap_or_else(|| {
        entries.push((Value::from(key), Value::Nil));
        entries.len() - 1
    });
    &mut entries[at].1
}

#[cfg(test)]
mod tests {
    use crate::{Check, Config, Scheduler, Time};
    use protocol::{Key, Value, map};

    fn path(keys: &[&str]) -> Vec<Key> {
        keys.iter().map(|key| Key::str(key)).collect()
    }

    #[test]
    fn a_value_is_found_by_the_path_it_was_put_at() {
        let mut core = Scheduler::new(Config::default(), 0, Check::EveryEvent, Time(0));
        core.set_metadata(&path(&["a", "b"]), Value::from(1));
        assert_eq!(core.metadata(&path(&["a", "b"])), Ok(Value::from(1)));
        assert_eq!(core.metadata(&path(&["a"])), Ok(map! {"b" => 1}));
        assert_eq!(core.metadata(&path(&["a", "c", "d"])), Err(Key::str("c")));
    }

    #[test]
    fn what_is_in_the_way_and_is_no_map_is_replaced() {
        let mut core = Scheduler::new(Config::default(), 0, Check::EveryEvent, Time(0));
        core.set_metadata(&path(&["a"]), Value::from(1));
        core.set_metadata(&path(&["a", "b"]), Value::from(2));
        assert_eq!(core.metadata(&[]), Ok(map! {"a" => map! {"b" => 2}}));
    }
}
