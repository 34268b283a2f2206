//! Collecting what becomes of tasks while somebody wants to know (`get_task_metadata`): from when they ask until they
//! have had enough, the state and the metadata of every task that a client wanted in that time.

use crate::scheduler::Scheduler;
use crate::task::{Phase, TaskId};
use indexmap::{IndexMap, IndexSet};
use protocol::{Key, KeyBuildHasher, Text, Value, map};

/// One collection under way.
pub(crate) struct Collector {
    name: Text,
    /// Wanted and not done yet.
    keys: IndexSet<Key, KeyBuildHasher>,
    done: IndexMap<Key, (Phase, Value), KeyBuildHasher>,
}

impl Scheduler {
    /// Begins a collection.
    pub fn start_collecting(&mut self, name: Text) {
        self.collectors.push(Collector {
            name: name.detached(),
            keys: IndexSet::default(),
            done: IndexMap::default(),
        });
    }

    /// Ends a collection and returns it: `{"metadata": {key: …}, "state": {key: …}}`. `None` unless there is exactly one of
    /// that name.
    pub fn stop_collecting(&mut self, name: &Text) -> Option<Value> {
        let mut named = self
            .collectors
            .iter()
            .enumerate()
            .filter(|(_, own)| own.name == *name);
        let (at, _) = named.next()?;
        if named.next().is_some() {
            return None;
        }
        let done = self.collectors.remove(at).done;
        let metadata: Value = done
            .iter()
            .map(|(key, (_, metadata))| (Value::from(key), metadata.clone()))
            .collect();
        let state: Value = done
            .iter()
            .map(|(key, (phase, _))| (Value::from(key), Value::text(phase.name())))
            .collect();
        Some(map! {"metadata" => metadata, "state" => state})
    }

    /// A client wants these keys.
    pub(crate) fn collect_wanted(&mut self, keys: &[Key]) {
        for collector in &mut self.collectors {
            collector.keys.extend(keys.iter().cloned());
        }
    }

    /// A task is done. Not to be called without collectors: it would only cost time.
    pub(crate) fn collect_done(&mut self, task: TaskId, phase: Phase) {
        let own = &self.tasks[task];
        for collector in &mut self.collectors {
            if collector.keys.swap_remove(&own.key) {
                let metadata = own
                    .rare
                    .as_ref()
                    .map_or(Value::Nil, |rare| rare.metadata.clone());
                collector.done.insert(own.key.clone(), (phase, metadata));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Check, Config, Scheduler, Time};
    use protocol::{Text, map};

    #[test]
    fn a_collection_that_was_never_begun_cannot_end() {
        let mut core = Scheduler::new(Config::default(), 0, Check::EveryEvent, Time(0));
        let name = Text::from_static("mine");
        assert_eq!(core.stop_collecting(&name), None);
        core.start_collecting(name.clone());
        assert_eq!(
            core.stop_collecting(&name),
            Some(map! {"metadata" => map! {}, "state" => map! {}})
        );
        assert_eq!(core.stop_collecting(&name), None);
    }
}
