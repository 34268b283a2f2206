//! Who holds, runs and knows what.

use crate::error::TaskError;
use crate::graph::RunSpec;
use crate::ids::{ClientId, WorkerId};
use crate::scheduler::Scheduler;
use crate::task::{Phase, TaskId, UNKNOWN_SIZE};
use protocol::{Key, Text, Value};
use smallvec::SmallVec;
use std::sync::Arc;

/// `(address, value)` of some workers.
type ByWorker<T> = Vec<(Arc<str>, T)>;

impl Scheduler {
    fn chosen(&self, workers: Option<&[WorkerId]>) -> Vec<WorkerId> {
        match workers {
            Some(workers) => workers
                .iter()
                .copied()
                .filter(|id| self.workers.is_registered(*id))
                .collect(),
            None => self.workers.ids().to_vec(),
        }
    }

    fn by_worker<T>(
        &self,
        workers: Option<&[WorkerId]>,
        value: impl Fn(WorkerId) -> T,
    ) -> ByWorker<T> {
        self.chosen(workers)
            .into_iter()
            .map(|id| (Arc::clone(&self.workers.at(id).address), value(id)))
            .collect()
    }

    fn keys_of(&self, tasks: impl Iterator<Item = TaskId>) -> Vec<Key> {
        tasks.map(|task| self.tasks[task].key.clone()).collect()
    }

    pub fn processing(&self, workers: Option<&[WorkerId]>) -> ByWorker<Vec<Key>> {
        self.by_worker(workers, |id| {
            self.keys_of(self.workers.at(id).processing.iter().copied())
        })
    }

    /// In the order in which each worker got its data.
    pub fn has_what(&self, workers: Option<&[WorkerId]>) -> ByWorker<Vec<Key>> {
        self.by_worker(workers, |id| {
            self.keys_of(self.workers.at(id).has_what.iter())
        })
    }

    pub fn ncores(&self, workers: Option<&[WorkerId]>) -> ByWorker<u32> {
        self.by_worker(workers, |id| self.workers.at(id).nthreads)
    }

    pub fn ncores_running(&self, workers: Option<&[WorkerId]>) -> ByWorker<u32> {
        let running: Vec<WorkerId> = self
            .chosen(workers)
            .into_iter()
            .filter(|id| self.workers.at(*id).is_running())
            .collect();
        self.by_worker(Some(&running), |id| self.workers.at(id).nthreads)
    }

    /// Addresses of the holders; none for a key that is not known. All keys if `None`.
    pub fn who_has(&self, keys: Option<&[Key]>) -> Vec<(Key, SmallVec<[Arc<str>; 1]>)> {
        match keys {
            Some(keys) => keys
                .iter()
                .map(|key| {
                    let holders = self.tasks.find(key).map(|task| self.holder_addresses(task));
                    (key.clone(), holders.unwrap_or_default())
                })
                .collect(),
            None => self
                .tasks
                .iter()
                .map(|(id, task)| (task.key.clone(), self.holder_addresses(id)))
                .collect(),
        }
    }

    fn holder_addresses(&self, task: TaskId) -> SmallVec<[Arc<str>; 1]> {
        self.addresses(self.tasks[task].who_has.iter())
    }

    /// The workers that hold a key.
    pub fn holders(&self, key: &Key) -> Vec<WorkerId> {
        let task = self.tasks.find(key);
        task.map(|task| self.tasks[task].who_has.iter().collect())
            .unwrap_or_default()
    }

    /// Sizes by key; unknown keys are left out.
    pub fn nbytes(&self, keys: Option<&[Key]>) -> Vec<(Key, i64)> {
        let size = |task: TaskId| match self.tasks[task].nbytes {
            UNKNOWN_SIZE => -1,
            known => known as i64,
        };
        match keys {
            Some(keys) => keys
                .iter()
                .filter_map(|key| Some((key.clone(), size(self.tasks.find(key)?))))
                .collect(),
            None => self
                .tasks
                .iter()
                .filter(|(_, task)| task.nbytes != UNKNOWN_SIZE)
                .map(|(id, task)| (task.key.clone(), size(id)))
                .collect(),
        }
    }

    /// The same summed by prefix.
    pub fn nbytes_by_prefix(&self, keys: Option<&[Key]>) -> Vec<(Arc<str>, i64)> {
        let mut sums: Vec<(Arc<str>, i64)> = Vec::new();
        for (key, nbytes) in self.nbytes(keys) {
            let Some(task) = self.tasks.find(&key) else {
                continue;
            };
            let prefix = self.groups.prefix_of(self.tasks[task].group);
            let name = &self.groups.prefix(prefix).name;
            match sums.iter_mut().find(|(own, _)| own == name) {
                Some((_, sum)) => *sum += nbytes,
                None => sums.push((Arc::clone(name), nbytes)),
            }
        }
        sums
    }

    /// The state's name; `None` for a key that is not known.
    pub fn task_status(&self, key: &Key) -> Option<&'static str> {
        self.tasks
            .find(key)
            .map(|task| self.tasks[task].phase().name())
    }

    /// Whether a client wants a key.
    pub fn wants(&self, client: ClientId, key: &Key) -> bool {
        self.tasks
            .find(key)
            .is_some_and(|task| self.tasks[task].who_wants.contains(client))
    }

    /// Where a key is processing.
    pub fn processing_on(&self, key: &Key) -> Option<Arc<str>> {
        let worker = self.tasks[self.tasks.find(key)?].processing_on()?;
        Some(Arc::clone(&self.workers.at(worker).address))
    }

    /// The keys a task depends on.
    pub fn dependencies(&self, key: &Key) -> Vec<Key> {
        match self.tasks.find(key) {
            Some(task) => self.keys_of(self.tasks[task].dependencies.iter()),
            None => Vec::new(),
        }
    }

    /// `{prefix: {state: count}}` of prefixes with tasks that are not just released or forgotten.
    pub fn prefix_states(&self) -> Value {
        const SHOWN: [Phase; 5] = [
            Phase::Memory,
            Phase::Erred,
            Phase::Released,
            Phase::Processing,
            Phase::Waiting,
        ];
        self.groups
            .prefixes()
            .filter(|(_, prefix)| {
                let gone = prefix.states[Phase::Forgotten.index()];
                prefix.states.iter().sum::<u32>() > gone
            })
            .map(|(_, prefix)| {
                let counts = SHOWN
                    .iter()
                    .map(|phase| {
                        (
                            Value::text(phase.name()),
                            Value::from(prefix.states[phase.index()]),
                        )
                    })
                    .collect();
                (Value::from(&*prefix.name), counts)
            })
            .collect()
    }

    /// The pickled task, as it came.
    pub fn run_spec(&self, key: &Key) -> Option<RunSpec> {
        self.tasks[self.tasks.find(key)?].run_spec.clone()
    }

    /// The key that is to blame for the first of `keys` that has failed.
    pub fn error_cause(&self, keys: &[Key]) -> Option<Key> {
        keys.iter().find_map(|key| {
            let blame = self.tasks[self.tasks.find(key)?].blame()?;
            Some(blame.key.clone())
        })
    }

    /// Why a key has failed.
    pub fn error_of(&self, key: &Key) -> Option<TaskError> {
        let blame = self.tasks[self.tasks.find(key)?].blame()?;
        Some(blame.error.clone())
    }

    /// What workers sent as metadata of a task; nil if nothing.
    pub fn task_metadata(&self, key: &Key) -> Value {
        let task = self.tasks.find(key);
        task.and_then(|task| self.tasks[task].rare.as_ref())
            .map_or(Value::Nil, |rare| rare.metadata.clone())
    }

    /// One line about a task, for people looking for faults.
    pub fn describe_task(&self, key: &Key) -> Option<String> {
        let own = &self.tasks[self.tasks.find(key)?];
        let rare = own.rare.as_ref();
        let names = |workers: &[Arc<str>]| workers.join(" ");
        let addresses = rare.map(|rare| names(&rare.worker_restrictions));
        Some(format!(
            "{key:?} {:?} priority {:?} needs {:?} for {} waiting, wanted by {:?}, held by {:?}, restricted to {:?} {:?} {:?}",
            own.state,
            own.priority,
            self.dependencies(key),
            own.waiters,
            own.who_wants.iter().collect::<Vec<_>>(),
            self.holders(key),
            addresses,
            rare.map(|rare| &rare.host_restrictions),
            own.resources(),
        ))
    }

    /// `[key, start, finish, recommendations, stimulus, time]` of kept transitions about any of these keys or stimuli.
    pub fn story(&self, keys: &[Key], stimuli: &[Text]) -> Value {
        self.story
            .iter()
            .filter(|told| {
                keys.contains(&told.key)
                    || stimuli.contains(&told.stimulus_id)
                    || told
                        .recommendations
                        .iter()
                        .any(|(key, _)| keys.contains(key))
            })
            .map(|told| {
                let recommendations = told
                    .recommendations
                    .iter()
                    .map(|(key, phase)| (key.to_value(), Value::text(phase.name())))
                    .collect();
                Value::Array(vec![
                    told.key.to_value(),
                    Value::text(told.start.name()),
                    Value::text(told.finish.name()),
                    recommendations,
                    Value::Str(told.stimulus_id.clone()),
                    Value::Float(told.at.seconds()),
                ])
            })
            .collect()
    }
}
