//! The active memory manager: moves and drops replicas as its policies suggest.
//!
//! One policy so far, [`retire`](super::retire). Invariant: the last replica of a key is never dropped, nor one that a
//! task on the same worker is waiting to use.

use crate::effects::{Effects, Replicas, ToWorker};
use crate::ids::WorkerId;
use crate::scheduler::Scheduler;
use crate::task::{Flags, Phase, TaskId, UNKNOWN_SIZE};
use indexmap::IndexMap;
use protocol::Key;
use smallvec::SmallVec;
use std::hash::BuildHasherDefault;

/// What is to be done about one task.
#[derive(Default)]
pub(crate) struct Moves {
    pub replicate: SmallVec<[WorkerId; 2]>,
    pub drop: SmallVec<[WorkerId; 2]>,
}

/// Passes ids through: they are hash enough, and the seed is fixed.
#[derive(Default, Clone, Copy)]
pub(crate) struct IdHasher(u64);

impl std::hash::Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 << 8) | u64::from(*byte);
        }
    }

    fn write_u32(&mut self, raw: u32) {
        self.0 = crate::id_set::hash_id(raw);
    }
}

pub(crate) type IdMap<K, V> = IndexMap<K, V, BuildHasherDefault<IdHasher>>;

/// The suggestions of one run.
#[derive(Default)]
pub(crate) struct Pending {
    pub moves: IdMap<TaskId, Moves>,
    /// Memory of workers once everything pending is done; filled when first asked for.
    memory: IdMap<WorkerId, u64>,
}

impl Scheduler {
    /// Runs all policies once and sends what they suggest.
    pub(crate) fn run_memory_manager(&mut self, fx: &mut Effects) {
        let interval = self.config.memory_manager_interval;
        self.timers.next_memory_run =
            (!self.retirements.is_empty()).then(|| self.now.plus_seconds(interval));
        let mut pending = Pending::default();
        self.run_retirements(&mut pending);
        self.enact(pending, fx);
        self.poll_retirements(fx);
    }

    fn memory_then(&self, worker: WorkerId, pending: &Pending) -> u64 {
        let known = pending.memory.get(&worker).copied();
        known.unwrap_or_else(|| self.workers.at(worker).optimistic_memory())
    }

    fn known_size(&self, task: TaskId) -> u64 {
        match self.tasks[task].nbytes {
            UNKNOWN_SIZE => 0,
            known => known,
        }
    }

    /// Who should get a new replica: the running worker with the least memory in use.
    pub(crate) fn suggest_replica(&self, task: TaskId, pending: &mut Pending) -> Option<WorkerId> {
        let own = &self.tasks[task];
        if own.phase() != Phase::Memory || own.has(Flags::ACTOR) {
            return None;
        }
        let planned = pending.moves.get(&task);
        let choice = self
            .workers
            .in_set(&self.workers.running)
            .map(|worker| worker.id)
            .filter(|id| !own.who_has.contains(*id))
            .filter(|id| planned.is_none_or(|moves| !moves.replicate.contains(id)))
            .min_by_key(|id| self.memory_then(*id, pending))?;
        let memory = self.memory_then(choice, pending) + self.known_size(task);
        pending.memory.insert(choice, memory);
        pending
            .moves
            .entry(task)
            .or_default()
            .replicate
            .push(choice);
        Some(choice)
    }

    /// Whether a worker may drop its replica.
    pub(crate) fn suggest_drop(
        &self,
        task: TaskId,
        worker: WorkerId,
        pending: &mut Pending,
    ) -> bool {
        let own = &self.tasks[task];
        let planned = pending.moves.get(&task).map_or(0, |moves| moves.drop.len());
        let planned_here = pending
            .moves
            .get(&task)
            .is_some_and(|moves| moves.drop.contains(&worker));
        let needed_here = || {
            own.dependents
                .iter()
                .any(|dependent| self.tasks[dependent].processing_on() == Some(worker))
        };
        if own.who_has.len() < 2 + planned || own.has(Flags::ACTOR) || planned_here || needed_here()
        {
            return false;
        }
        let memory = self
            .memory_then(worker, pending)
            .saturating_sub(self.known_size(task));
        pending.memory.insert(worker, memory);
        pending.moves.entry(task).or_default().drop.push(worker);
        true
    }

    fn enact(&mut self, pending: Pending, fx: &mut Effects) {
        let mut acquire: IdMap<WorkerId, Vec<TaskId>> = IdMap::default();
        let mut remove: IdMap<WorkerId, Vec<TaskId>> = IdMap::default();
        for (task, moves) in pending.moves {
            for worker in moves.replicate {
                acquire.entry(worker).or_default().push(task);
            }
            for worker in moves.drop {
                remove.entry(worker).or_default().push(task);
            }
        }
        self.stimulus = self.now.stamp("active_memory_manager");
        for (worker, tasks) in acquire {
            self.request_acquire(worker, &tasks, fx);
        }
        for (worker, tasks) in remove {
            self.request_remove(worker, &tasks, fx);
        }
    }

    fn request_acquire(&self, worker: WorkerId, tasks: &[TaskId], fx: &mut Effects) {
        let who_has: Replicas = tasks
            .iter()
            .map(|task| {
                let own = &self.tasks[*task];
                (own.key.clone(), self.addresses(own.who_has.iter()))
            })
            .collect();
        let nbytes = tasks.iter().map(|task| self.known_size(*task)).collect();
        let stimulus_id = self.stimulus.clone();
        fx.worker(
            worker,
            ToWorker::AcquireReplicas {
                who_has,
                nbytes,
                stimulus_id,
            },
        );
    }

    /// The replicas are off the books at once; a worker that refuses will say that it has them.
    fn request_remove(&mut self, worker: WorkerId, tasks: &[TaskId], fx: &mut Effects) {
        let keys: Vec<Key> = tasks
            .iter()
            .map(|task| self.tasks[*task].key.clone())
            .collect();
        for task in tasks {
            if self.tasks[*task].scattered {
                self.note_freeing(self.tasks[*task].key.clone(), worker);
            }
            self.remove_replica(*task, worker);
        }
        let stimulus_id = self.stimulus.clone();
        fx.worker(worker, ToWorker::RemoveReplicas { keys, stimulus_id });
    }
}
