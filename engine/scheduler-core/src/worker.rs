//! One worker as the core sees it, and the table of all of them in order of address.
//!
//! Invariant: the rank sets (running, idle, saturated, with free slots) agree with the flags of each worker; ranks
//! follow the order of addresses, so that ties are broken as in stock Dask.

use crate::freeing::Freeing;
use crate::group::PrefixId;
use crate::id_set::{IdSet, OrderedIdSet, hash_id};
use crate::ids::{Time, WorkerId};
use crate::rank_set::RankSet;
use crate::registration::{WorkerName, WorkerStatus};
use crate::task::TaskId;
use hashbrown::HashTable;
use protocol::{Key, Value};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

pub(crate) struct Worker {
    pub id: WorkerId,
    pub address: Arc<str>,
    pub host: Arc<str>,
    pub name: WorkerName,
    pub nthreads: u32,
    /// Zero is no limit.
    pub memory_limit: u64,
    pub local_directory: Arc<str>,
    pub services: Value,
    pub nanny: Option<Arc<str>>,
    pub pid: i64,
    pub versions: Value,
    pub extra: Value,
    pub server_id: Arc<str>,
    pub status: WorkerStatus,
    pub last_seen: Time,
    pub time_delay: f64,
    pub metrics: Value,
    pub memory: MemoryReadings,
    /// Sizes of what it holds, together.
    pub nbytes: u64,
    pub has_what: OrderedIdSet<TaskId>,
    pub processing: Vec<TaskId>,
    /// How many of `processing` have seceded.
    pub long_running: u32,
    pub actors: IdSet<TaskId>,
    pub executing: Vec<(Key, f64)>,
    pub resources: Vec<(Arc<str>, f64)>,
    pub used_resources: Vec<(Arc<str>, f64)>,
    pub prefix_count: Vec<(PrefixId, u32)>,
    pub needs_what: Needs,
    pub freeing: Freeing,
    /// Bytes it has still to fetch.
    pub network_nbytes: u64,
    pub rank: u32,
    /// No longer registered; kept only until its tasks have left it.
    pub removed: bool,
    /// What it has been told to be again after a retirement that failed, until it says so itself.
    pub resuming: Option<WorkerStatus>,
    /// When its nanny was last asked to restart it for its silence.
    pub restart_asked: Option<Time>,
}

/// What heartbeats say about memory.
#[derive(Default)]
pub(crate) struct MemoryReadings {
    pub process: u64,
    pub spilled_memory: u64,
    pub spilled_disk: u64,
    pub unmanaged_old: u64,
    pub unmanaged_history: VecDeque<(Time, u64)>,
}

/// Inputs a worker has still to fetch, and for how many tasks.
#[derive(Default)]
pub(crate) struct Needs(HashTable<(TaskId, u32)>);

impl Needs {
    /// True if nobody on this worker needed it before.
    pub fn add(&mut self, task: TaskId) -> bool {
        let hash = hash_id(task.0);
        if let Some((_, count)) = self.0.find_mut(hash, |(own, _)| *own == task) {
            *count += 1;
            return false;
        }
        self.0
            .insert_unique(hash, (task, 1), |(own, _)| hash_id(own.0));
        true
    }

    /// True if nobody on this worker needs it any more, false if others do or nobody ever did.
    pub fn subtract(&mut self, task: TaskId) -> bool {
        let Ok(mut entry) = self.0.find_entry(hash_id(task.0), |(own, _)| *own == task) else {
            return false;
        };
        entry.get_mut().1 -= 1;
        if entry.get().1 > 0 {
            return false;
        }
        entry.remove();
        true
    }

    /// True if somebody needed it.
    pub fn remove(&mut self, task: TaskId) -> bool {
        match self.0.find_entry(hash_id(task.0), |(own, _)| *own == task) {
            Ok(entry) => {
                entry.remove();
                true
            }
            Err(_) => false,
        }
    }

    pub fn count(&self, task: TaskId) -> u32 {
        self.0
            .find(hash_id(task.0), |(own, _)| *own == task)
            .map_or(0, |(_, count)| *count)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl Worker {
    pub fn is_running(&self) -> bool {
        self.status == WorkerStatus::Running
    }

    /// How many more tasks it may be given before it is over-saturated; negative when it is already.
    pub fn free_slots(&self, saturation: f64) -> i64 {
        let capacity = (saturation * f64::from(self.nthreads)).ceil().max(1.0) as i64;
        capacity - (self.processing.len() as i64 - i64::from(self.long_running))
    }

    pub fn is_full(&self, saturation: f64) -> bool {
        saturation.is_finite() && self.free_slots(saturation) <= 0
    }

    pub fn count_prefix(&mut self, prefix: PrefixId) {
        match self.prefix_count.iter_mut().find(|(own, _)| *own == prefix) {
            Some((_, count)) => *count += 1,
            None => self.prefix_count.push((prefix, 1)),
        }
    }

    pub fn uncount_prefix(&mut self, prefix: PrefixId) {
        let found = self.prefix_count.iter().position(|(own, _)| *own == prefix);
        if let Some(at) = found {
            self.prefix_count[at].1 -= 1;
            if self.prefix_count[at].1 == 0 {
                self.prefix_count.swap_remove(at);
            }
        }
    }

    pub fn supplies(&self, resource: &str, required: f64) -> bool {
        self.resources
            .iter()
            .any(|(own, amount)| **own == *resource && *amount >= required)
    }

    pub fn managed_in_memory(&self) -> u64 {
        let managed = self.nbytes.saturating_sub(self.memory.spilled_memory);
        managed.min(self.memory.process)
    }

    /// Managed memory and what has been unmanaged for long: what stays when the spikes are over.
    pub fn optimistic_memory(&self) -> u64 {
        let managed = self.managed_in_memory();
        managed + self.memory.unmanaged_old.min(self.memory.process - managed)
    }
}

/// A machine with workers.
#[derive(Default)]
pub(crate) struct Host {
    pub workers: Vec<WorkerId>,
    pub nthreads: u32,
    pub last_seen: Time,
    pub info: Value,
}

#[derive(Default)]
pub(crate) struct Workers {
    slots: Vec<Option<Box<Worker>>>,
    by_address: BTreeMap<Arc<str>, WorkerId>,
    by_rank: Vec<WorkerId>,
    pub aliases: hashbrown::HashMap<Key, WorkerId, protocol::KeyBuildHasher>,
    pub hosts: BTreeMap<Arc<str>, Host>,
    pub running: RankSet,
    pub idle: RankSet,
    pub saturated: RankSet,
    /// Running and with free slots.
    pub with_slots: RankSet,
    pub total_nthreads: u64,
    pub total_memory: u64,
}

impl Workers {
    pub fn len(&self) -> usize {
        self.by_rank.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_rank.is_empty()
    }

    pub fn get(&self, id: WorkerId) -> Option<&Worker> {
        self.slots.get(id.0 as usize)?.as_deref()
    }

    pub fn get_mut(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.slots.get_mut(id.0 as usize)?.as_deref_mut()
    }

    /// A worker that tasks point to; those are never gone.
    pub fn at(&self, id: WorkerId) -> &Worker {
        self.get(id)
            .expect("a task points only to workers that exist")
    }

    pub fn at_mut(&mut self, id: WorkerId) -> &mut Worker {
        self.get_mut(id)
            .expect("a task points only to workers that exist")
    }

    /// Whether it is registered; one being removed is not any more.
    pub fn is_registered(&self, id: WorkerId) -> bool {
        self.get(id).is_some_and(|worker| !worker.removed)
    }

    pub fn find(&self, address: &str) -> Option<WorkerId> {
        self.by_address.get(address).copied()
    }

    /// In order of address.
    pub fn ids(&self) -> &[WorkerId] {
        &self.by_rank
    }

    /// In order of address.
    pub fn iter(&self) -> impl Iterator<Item = &Worker> {
        self.by_rank.iter().map(|id| self.at(*id))
    }

    pub fn of_rank(&self, rank: u32) -> WorkerId {
        self.by_rank[rank as usize]
    }

    /// The members of a set, in order of address.
    pub fn in_set<'a>(&'a self, set: &'a RankSet) -> impl Iterator<Item = &'a Worker> {
        set.iter().map(|rank| self.at(self.of_rank(rank)))
    }

    pub fn next_id(&self) -> WorkerId {
        WorkerId(self.slots.len() as u32)
    }

    pub fn insert(&mut self, worker: Worker) {
        let id = worker.id;
        self.by_address.insert(Arc::clone(&worker.address), id);
        self.slots.push(Some(Box::new(worker)));
        self.rank_again();
    }

    /// Takes it out of every table but the slot that its tasks still point to.
    pub fn unregister(&mut self, id: WorkerId) {
        let address = Arc::clone(&self.at(id).address);
        self.by_address.remove(&address);
        for set in [
            &mut self.running,
            &mut self.idle,
            &mut self.saturated,
            &mut self.with_slots,
        ] {
            set.remove(
                self.slots[id.0 as usize]
                    .as_ref()
                    .map_or(0, |worker| worker.rank),
            );
        }
        self.rank_again();
    }

    /// Drops it, when nothing points to it any more.
    pub fn drop_slot(&mut self, id: WorkerId) {
        self.slots[id.0 as usize] = None;
    }

    /// Ranks follow addresses; the sets follow the ranks.
    fn rank_again(&mut self) {
        let old: Vec<WorkerId> = std::mem::take(&mut self.by_rank);
        self.by_rank = self.by_address.values().copied().collect();
        for (rank, id) in self.by_rank.iter().enumerate() {
            if let Some(worker) = self.slots[id.0 as usize].as_deref_mut() {
                worker.rank = rank as u32;
            }
        }
        for set in [
            &mut self.running,
            &mut self.idle,
            &mut self.saturated,
            &mut self.with_slots,
        ] {
            let members: Vec<WorkerId> = set
                .iter()
                .filter_map(|rank| old.get(rank as usize).copied())
                .collect();
            set.clear();
            for id in members {
                if let Some(worker) = self.slots[id.0 as usize].as_deref() {
                    set.insert(worker.rank);
                }
            }
        }
    }
}
