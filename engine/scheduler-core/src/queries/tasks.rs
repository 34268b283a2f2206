//! Where tasks are, what became of them, and what is known about them.

use crate::group::Prefix;
use crate::scheduler::Scheduler;
use crate::story::Transition;
use crate::task::{Phase, Task, TaskId, UNKNOWN_SIZE};
use crate::graph::RunSpec;
use crate::key_split::key_split;
use indexmap::IndexMap;
use protocol::{Key, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// There is no task of that name.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct UnknownKey(pub Key);

/// What `get_task_prefix_states` counts.
const COUNTED: [Phase; 5] = [
    Phase::Memory,
    Phase::Erred,
    Phase::Released,
    Phase::Processing,
    Phase::Waiting,
];

impl Scheduler {
    /// Each key with the addresses of its holders; none for an unknown key.
    pub fn holders(&self, keys: &[Key]) -> Vec<(Key, Vec<Arc<str>>)> {
        let of_one = |key: &Key| {
            let holders = self.tasks.find(key).map(|task| self.holder_addresses(task));
            (key.clone(), holders.unwrap_or_default())
        };
        keys.iter().map(of_one).collect()
    }

    fn holder_addresses(&self, task: TaskId) -> Vec<Arc<str>> {
        let holders = self.tasks[task].who_has.iter();
        holders.map(|worker| Arc::clone(&self.workers.at(worker).address)).collect()
    }

    /// `{key: [address, …]}` of these keys, or of all.
    pub fn who_has(&self, keys: Option<&[Key]>) -> Value {
        let addresses = |task| -> Value {
            let holders = self.holder_addresses(task).into_iter();
            holders.map(|address| Value::from(&*address)).collect()
        };
        let Some(keys) = keys else {
            let tasks = self.tasks.iter();
            return tasks.map(|(id, task)| (Value::from(&task.key), addresses(id))).collect();
        };
        let of_one = |key: &Key| {
            let holders = self.tasks.find(key).map(addresses);
            (Value::from(key), holders.unwrap_or(Value::Array(Vec::new())))
        };
        keys.iter().map(of_one).collect()
    }

    /// Sizes of results, `{key: bytes}`, or `{prefix: bytes}` with `summary`. Without `keys` those that are known.
    pub fn nbytes(&self, keys: Option<&[Key]>, summary: bool) -> Result<Value, UnknownKey> {
        let mut sizes: Vec<(&Key, i64)> = Vec::new();
        match keys {
            Some(keys) => {
                for key in keys {
                    let task = self.tasks.find(key).ok_or_else(|| UnknownKey(key.clone()))?;
                    sizes.push((key, known_size(&self.tasks[task]).unwrap_or(-1)));
                }
            }
            None => {
                let tasks = self.tasks.iter();
                sizes.extend(tasks.filter_map(|(_, task)| Some((&task.key, known_size(task)?))));
            }
        }
        if !summary {
            return Ok(sizes.into_iter().map(|(key, size)| (Value::from(key), Value::Int(size))).collect());
        }
        let mut sums: IndexMap<String, i64> = IndexMap::new();
        for (key, size) in sizes {
            *sums.entry(key_split(key).into_owned()).or_default() += size;
        }
        Ok(sums.into_iter().map(|(prefix, size)| (Value::from(prefix), Value::Int(size))).collect())
    }

    /// `{key: state}`, null for an unknown key.
    pub fn task_statuses(&self, keys: &[Key]) -> Value {
        let of_one = |key: &Key| {
            let task = self.tasks.find(key);
            let state = task.map(|task| Value::text(self.tasks[task].phase().name()));
            (Value::from(key), Value::from(state))
        };
        keys.iter().map(of_one).collect()
    }

    /// `{prefix: {state: count}}` of prefixes with tasks in these states.
    pub fn prefix_states(&self) -> Value {
        let count = |prefix: &Prefix, phase: Phase| prefix.states[phase.index()];
        let of_one = |prefix: &Prefix| -> Option<(Value, Value)> {
            if COUNTED.iter().all(|phase| count(prefix, *phase) == 0) {
                return None;
            }
            let counts = COUNTED.iter();
            let counts = counts.map(|phase| (Value::text(phase.name()), Value::from(count(prefix, *phase))));
            Some((Value::from(&*prefix.name), counts.collect()))
        };
        self.groups.prefixes().filter_map(|(_, prefix)| of_one(prefix)).collect()
    }

    /// Every transition of these keys, or caused by these stimuli: `[key, start, finish, {key: state}, stimulus, time]`.
    pub fn story(&self, keys_or_stimuli: &[Key]) -> Value {
        let wanted: BTreeSet<&Key> = keys_or_stimuli.iter().collect();
        let stimuli: BTreeSet<&[u8]> = keys_or_stimuli.iter().filter_map(Key::as_str_bytes).collect();
        let concerns = |transition: &&Transition| {
            wanted.contains(&transition.key)
                || stimuli.contains(transition.stimulus_id.as_bytes())
                || transition.recommendations.iter().any(|(key, _)| wanted.contains(key))
        };
        self.story.iter().filter(concerns).map(describe).collect()
    }

    /// The task's pickle, null for a task without one.
    pub fn run_spec_of(&self, key: &Key) -> Result<Option<RunSpec>, UnknownKey> {
        let task = self.tasks.find(key).ok_or_else(|| UnknownKey(key.clone()))?;
        Ok(self.tasks[task].run_spec.clone())
    }

    /// The task to blame for the first of these keys that failed.
    pub fn error_cause(&self, keys: &[Key]) -> Option<Key> {
        keys.iter().find_map(|key| {
            let rare = self.tasks[self.tasks.find(key)?].rare.as_ref()?;
            Some(rare.blame.as_ref()?.key.clone())
        })
    }

    /// Which workers run these keys now: `{address: [key, …]}`. A waiting key stands for what it waits for.
    pub fn running_on(&self, keys: &[Key]) -> Result<BTreeMap<Arc<str>, Vec<Key>>, UnknownKey> {
        let mut pending = Vec::new();
        for key in keys {
            pending.push(self.tasks.find(key).ok_or_else(|| UnknownKey(key.clone()))?);
        }
        let mut seen = BTreeSet::new();
        let mut running: BTreeMap<Arc<str>, Vec<Key>> = BTreeMap::new();
        while let Some(id) = pending.pop() {
            if !seen.insert(id) {
                continue;
            }
            let task = &self.tasks[id];
            match task.state {
                crate::task::State::Waiting { .. } => pending.extend(task.dependencies.iter()),
                crate::task::State::Processing { worker, .. } => {
                    let address = Arc::clone(&self.workers.at(worker).address);
                    running.entry(address).or_default().push(task.key.clone());
                }
                _ => {}
            }
        }
        Ok(running)
    }
}

fn known_size(task: &Task) -> Option<i64> {
    (task.nbytes != UNKNOWN_SIZE).then(|| i64::try_from(task.nbytes).unwrap_or(i64::MAX))
}

fn describe(transition: &Transition) -> Value {
    let recommendation = |(key, phase): &(Key, Phase)| (Value::from(key), Value::text(phase.name()));
    Value::Array(vec![
        Value::from(&transition.key),
        Value::text(transition.start.name()),
        Value::text(transition.finish.name()),
        transition.recommendations.iter().map(recommendation).collect(),
        Value::Str(transition.stimulus_id.clone()),
        Value::Float(transition.at.seconds()),
    ])
}
