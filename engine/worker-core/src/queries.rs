//! Questions about a worker, answered without changing anything.

use crate::effects::Location;
use crate::ids::{Time, ValueId};
use crate::story::Transition;
use crate::task::{PHASES, Task};
use crate::worker::Worker;
use protocol::Key;
use protocol::messages::WorkerStatus;
use std::sync::Arc;

/// A value that is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldValue {
    pub value: ValueId,
    pub location: Location,
    pub nbytes: u64,
    /// Peers get a way to reach it instead of itself.
    pub actor: bool,
}

/// Transfers from peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IncomingTransfers {
    pub bytes: u64,
    pub count: usize,
    pub count_total: u64,
}

/// Bytes of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManagedMemory {
    /// In memory, by their own account.
    pub in_memory: u64,
    /// On disk, by their own account when they were in memory.
    pub spilled: u64,
    /// On disk, as they are there.
    pub on_disk: u64,
}

impl Worker {
    pub fn status(&self) -> WorkerStatus {
        self.status
    }

    pub fn task_count(&self) -> usize {
        self.tasks.len()
    }

    /// The value of a key, if it is here.
    pub fn held(&self, key: &Key) -> Option<HeldValue> {
        let held = self.tasks[self.tasks.find(key)?].held()?;
        Some(HeldValue {
            value: held.value,
            location: held.location,
            nbytes: held.nbytes,
            actor: held.actor,
        })
    }

    /// Keys of all values that are here, in no useful order.
    pub fn held_keys(&self) -> impl Iterator<Item = &Key> {
        let held = self.tasks.iter().filter(|(_, task)| task.held().is_some());
        held.map(|(_, task)| &task.key)
    }

    /// What a task is doing; `None` if it is not known here.
    pub fn state_of(&self, key: &Key) -> Option<&'static str> {
        self.tasks.find(key).map(|task| self.shown_state(task))
    }

    /// Tasks that a thread or a seceded run works on, with how long already in seconds. For heartbeats.
    pub fn executing(&self, now: Time) -> impl Iterator<Item = (&Key, f64)> {
        let wanted = self.runs.iter().filter(|(_, run)| run.wanted);
        wanted.map(move |(_, run)| (&run.order.key, now.seconds_since(run.started)))
    }

    /// How many tasks are in which state, those without any left out.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, usize)> {
        let named = PHASES.iter().map(|phase| phase.name()).zip(self.counts);
        named.filter(|(_, count)| *count > 0)
    }

    /// Runs that hold a thread, wanted or not.
    pub fn threads_in_use(&self) -> usize {
        self.runs.on_threads()
    }

    /// Runs that have ended.
    pub fn executed_count(&self) -> u64 {
        self.runs.executed()
    }

    /// Whether [`Event::FindMissing`](crate::Event::FindMissing) would do anything.
    pub fn misses_anything(&self) -> bool {
        !self.missing.is_empty()
    }

    pub fn incoming(&self) -> IncomingTransfers {
        IncomingTransfers {
            bytes: self.gathers.incoming_bytes,
            count: self.gathers.count(),
            count_total: self.gathers.total,
        }
    }

    pub fn managed_memory(&self) -> ManagedMemory {
        ManagedMemory {
            in_memory: self.store.in_memory,
            spilled: self.store.spilled,
            on_disk: self.store.on_disk,
        }
    }

    /// Total amounts by name.
    pub fn resources(&self) -> impl Iterator<Item = (&Arc<str>, f64)> {
        let all = self.queues.resources.iter();
        all.map(|resource| (&resource.name, resource.total))
    }

    /// Every task in a line, for whoever looks for a bug.
    pub fn describe_tasks(&self) -> Vec<String> {
        let line = |(_, task): (_, &Task)| {
            let needs = task.dependencies.iter();
            let needs: Vec<&Key> = needs.map(|edge| &self.tasks[edge.on].key).collect();
            let holders = task.who_has.iter();
            let holders: Vec<&str> = holders.map(|peer| &*self.peers[*peer].address).collect();
            format!(
                "{:?} run {} {:?} needs {needs:?} at {holders:?} cancelled runs {}",
                task.key, task.run_id, task.state, task.orphans
            )
        };
        self.tasks.iter().map(line).collect()
    }

    /// Recent transitions, the oldest first.
    pub fn story(&self) -> impl DoubleEndedIterator<Item = &Transition> {
        self.story.iter()
    }
}
