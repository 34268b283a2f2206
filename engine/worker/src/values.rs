//! Where values are beyond what the core knows: bytes in this process, files on disk, and which of them the executor holds.
//!
//! Invariant: a value that the core calls serialized has its bytes here, one it calls spilled has a file here.

use crate::spill::{self, Spilled};
use protocol::{Key, KeyBuildHasher, Payload};
use std::collections::HashMap;
use std::path::PathBuf;
use worker_core::{Location, UpdateId, ValueId};

pub struct Values {
    pub directory: PathBuf,
    serialized: HashMap<ValueId, Payload>,
    on_disk: HashMap<ValueId, Spilled>,
    /// How many files there have been.
    files: u64,
    /// Which value the executor has under a key.
    in_executor: HashMap<Key, ValueId, KeyBuildHasher>,
    /// Values on their way from disk into the executor, and whether they have been freed meanwhile.
    unspilling: HashMap<ValueId, Unspilling>,
    /// Of an update whose objects are in the executor already.
    python: Option<(UpdateId, Key)>,
}

struct Unspilling {
    key: Key,
    is_freed: bool,
    spilled: Spilled,
}

impl Values {
    pub fn new(directory: PathBuf) -> Self {
        Self {
            directory,
            serialized: HashMap::new(),
            on_disk: HashMap::new(),
            files: 0,
            in_executor: HashMap::default(),
            unspilling: HashMap::new(),
            python: None,
        }
    }

    pub fn store(&mut self, value: ValueId, payload: Payload) {
        self.serialized.insert(value, payload);
    }

    pub fn serialized(&self, value: ValueId) -> Option<&Payload> {
        self.serialized.get(&value)
    }

    pub fn take_serialized(&mut self, value: ValueId) -> Option<Payload> {
        self.serialized.remove(&value)
    }

    /// A run has ended with this value. That may be heard after a newer value was sent, which has taken its place by then.
    pub fn made(&mut self, key: &Key, value: ValueId) {
        match self.in_executor.get_mut(key) {
            Some(newest) => *newest = (*newest).max(value),
            None => {
                self.in_executor.insert(key.clone(), value);
            }
        }
    }

    /// The executor has been given this value.
    pub fn given(&mut self, key: &Key, value: ValueId) {
        self.in_executor.insert(key.clone(), value);
    }

    pub fn is_in_executor(&self, key: &Key, value: ValueId) -> bool {
        self.in_executor.get(key) == Some(&value)
    }

    /// True if the executor is to drop what it has under the key.
    pub fn leave_executor(&mut self, key: &Key, value: ValueId) -> bool {
        let holds = self.is_in_executor(key, value);
        if holds {
            self.in_executor.remove(key);
        }
        holds
    }

    pub fn written(&mut self, value: ValueId, spilled: Spilled) {
        self.on_disk.insert(value, spilled);
    }

    pub fn spilled(&self, value: ValueId) -> Option<&Spilled> {
        self.on_disk.get(&value)
    }

    /// From now on the value counts as the executor's; none if it is not on disk.
    pub fn begin_unspilling(&mut self, key: &Key, value: ValueId) -> Option<Spilled> {
        let spilled = self.on_disk.remove(&value)?;
        let unspilling = Unspilling {
            key: key.clone(),
            is_freed: false,
            spilled: spilled.clone(),
        };
        self.unspilling.insert(value, unspilling);
        Some(spilled)
    }

    pub fn is_unspilling(&self, value: ValueId) -> bool {
        self.unspilling.contains_key(&value)
    }

    pub fn end_unspilling(&mut self, value: ValueId) -> Option<(Key, bool)> {
        let unspilling = self.unspilling.remove(&value)?;
        Some((unspilling.key, unspilling.is_freed))
    }

    /// True if the value is on its way from disk: it is dropped once the runs that need it have begun.
    pub fn free_when_unspilled(&mut self, value: ValueId) -> bool {
        match self.unspilling.get_mut(&value) {
            Some(unspilling) => {
                unspilling.is_freed = true;
                true
            }
            None => false,
        }
    }

    pub fn drop_file(&mut self, value: ValueId) {
        drop(self.on_disk.remove(&value));
    }

    pub fn held_by_python(&mut self, update: UpdateId, key: &Key) {
        self.python = Some((update, key.clone()));
    }

    pub fn no_longer_held_by_python(&mut self, update: UpdateId) {
        if self
            .python
            .as_ref()
            .is_some_and(|(held, _)| *held == update)
        {
            self.python = None;
        }
    }

    pub fn is_held_by_python(&self, update: UpdateId, key: &Key) -> bool {
        self.python
            .as_ref()
            .is_some_and(|(held, of)| *held == update && of == key)
    }

    /// Never the same twice.
    pub fn file_for(&mut self, value: ValueId) -> PathBuf {
        self.files += 1;
        self.directory.join(spill::file_name(value, self.files))
    }
}

/// A value that somebody wants to read.
pub enum Readable {
    Here(Payload),
    OnDisk(Spilled),
    InExecutor,
}

impl Values {
    /// How a held value is read.
    pub fn readable(&self, value: ValueId, location: Location) -> Option<Readable> {
        match location {
            Location::Executor => Some(match self.unspilling.get(&value) {
                Some(unspilling) => Readable::OnDisk(unspilling.spilled.clone()),
                None => Readable::InExecutor,
            }),
            Location::Serialized => self.serialized(value).cloned().map(Readable::Here),
            Location::Disk => self.spilled(value).cloned().map(Readable::OnDisk),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::lent::Piece;
    use crate::executor::shared::SharedMemory;
    use crate::requests::Serialized;
    use bytes::Bytes;

    #[test]
    fn a_value_that_goes_to_disk_again_leaves_those_alone_who_still_read_its_first_file() {
        let directory = tempfile::tempdir().unwrap();
        let mut values = Values::new(directory.path().to_owned());
        let content = |text: &'static str| Serialized {
            header: Bytes::from_static(b"header"),
            frames: vec![Piece::Here(Bytes::from_static(text.as_bytes()))],
        };
        let value = ValueId(1);
        let first = spill::write(&values.file_for(value), &content("first")).unwrap();
        let second = spill::write(&values.file_for(value), &content("second")).unwrap();
        let memory = SharedMemory::new(None);
        assert_eq!(first.read(&memory).unwrap().frames(), ["first"]);
        drop(first);
        assert_eq!(second.read(&memory).unwrap().frames(), ["second"]);
    }
}
