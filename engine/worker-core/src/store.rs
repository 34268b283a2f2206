//! What is held, in bytes and by last use. Values are anything that was computed, fetched or brought here.
//!
//! Invariant: the list holds exactly the values that may be spilled: in memory, no actors, not on their way to disk and not
//! refused by it.

use crate::effects::Location;
use crate::task::{Spilling, TaskId, Tasks};

#[derive(Default)]
pub(crate) struct Store {
    /// Bytes of values that are not on disk, by their own account.
    pub in_memory: u64,
    /// Of those, what is on its way to disk.
    pub leaving: u64,
    /// Bytes of spilled values, by their own account.
    pub spilled: u64,
    /// Bytes of spilled values on disk.
    pub on_disk: u64,
    oldest: Option<TaskId>,
    newest: Option<TaskId>,
}

const HELD: &str = "what is in the list is held";

impl Store {
    pub fn oldest(&self) -> Option<TaskId> {
        self.oldest
    }

    /// A value that was not there before.
    pub fn add(&mut self, tasks: &mut Tasks, task: TaskId) {
        let held = tasks[task].held().expect(HELD);
        self.in_memory += held.nbytes;
        if is_listed(tasks, task) {
            self.push(tasks, task);
        }
    }

    /// A value that goes, wherever it is.
    pub fn remove(&mut self, tasks: &mut Tasks, task: TaskId) {
        if is_listed(tasks, task) {
            self.take(tasks, task);
        }
        let held = tasks[task].held().expect(HELD);
        match held.location {
            Location::Executor | Location::Serialized => self.in_memory -= held.nbytes,
            Location::Disk => {
                self.spilled -= held.nbytes;
                self.on_disk -= held.disk_bytes;
            }
        }
        if held.spilling == Spilling::Yes {
            self.leaving -= held.nbytes;
        }
    }

    /// The value is used by the executor now: it is in memory, and the last to be spilled.
    pub fn touch(&mut self, tasks: &mut Tasks, task: TaskId) {
        if is_listed(tasks, task) {
            self.take(tasks, task);
        }
        self.relocate(tasks, task, Location::Executor);
        let held = tasks[task].held_mut().expect(HELD);
        if held.spilling == Spilling::Yes {
            held.spilling = Spilling::Abandoned;
            self.leaving -= held.nbytes;
        }
        if is_listed(tasks, task) {
            self.push(tasks, task);
        }
    }

    /// To disk and back; the list is the caller's business.
    fn relocate(&mut self, tasks: &mut Tasks, task: TaskId, location: Location) {
        let held = tasks[task].held_mut().expect(HELD);
        if held.location == Location::Disk && location != Location::Disk {
            self.spilled -= held.nbytes;
            self.on_disk -= held.disk_bytes;
            self.in_memory += held.nbytes;
            held.disk_bytes = 0;
        }
        held.location = location;
    }

    /// Somebody else moved it within memory, or brought it back there.
    pub fn moved(&mut self, tasks: &mut Tasks, task: TaskId, location: Location) {
        let listed = is_listed(tasks, task);
        self.relocate(tasks, task, location);
        if !listed && is_listed(tasks, task) {
            self.push(tasks, task);
        }
    }

    /// The value begins its way to disk.
    pub fn leave(&mut self, tasks: &mut Tasks, task: TaskId) {
        self.take(tasks, task);
        let held = tasks[task].held_mut().expect(HELD);
        held.spilling = Spilling::Yes;
        self.leaving += held.nbytes;
    }

    /// The value is on disk.
    pub fn arrive(&mut self, tasks: &mut Tasks, task: TaskId, disk_bytes: u64) {
        let held = tasks[task].held_mut().expect(HELD);
        held.spilling = Spilling::No;
        held.location = Location::Disk;
        held.disk_bytes = disk_bytes;
        self.leaving -= held.nbytes;
        self.in_memory -= held.nbytes;
        self.spilled += held.nbytes;
        self.on_disk += disk_bytes;
    }

    /// The value stays in memory after all.
    pub fn stay(&mut self, tasks: &mut Tasks, task: TaskId, spilling: Spilling) {
        let listed = is_listed(tasks, task);
        let held = tasks[task].held_mut().expect(HELD);
        if held.spilling == Spilling::Yes {
            self.leaving -= held.nbytes;
        }
        held.spilling = spilling;
        match (listed, is_listed(tasks, task)) {
            (false, true) => self.push(tasks, task),
            (true, false) => self.take(tasks, task),
            _ => {}
        }
    }

    fn push(&mut self, tasks: &mut Tasks, task: TaskId) {
        let older = self.newest.replace(task);
        match older {
            Some(older) => tasks[older].held_mut().expect(HELD).newer = Some(task),
            None => self.oldest = Some(task),
        }
        let held = tasks[task].held_mut().expect(HELD);
        held.older = older;
        held.newer = None;
    }

    fn take(&mut self, tasks: &mut Tasks, task: TaskId) {
        let held = tasks[task].held_mut().expect(HELD);
        let (older, newer) = (held.older.take(), held.newer.take());
        match older {
            Some(older) => tasks[older].held_mut().expect(HELD).newer = newer,
            None => self.oldest = newer,
        }
        match newer {
            Some(newer) => tasks[newer].held_mut().expect(HELD).older = older,
            None => self.newest = older,
        }
    }

    /// From the least recently used on.
    pub fn listed(&self, tasks: &Tasks) -> Vec<TaskId> {
        let next = |task: &TaskId| tasks[*task].held().expect(HELD).newer;
        std::iter::successors(self.oldest, next).collect()
    }
}

/// Whether a value belongs into the list.
pub(crate) fn is_listed(tasks: &Tasks, task: TaskId) -> bool {
    tasks[task].held().is_some_and(|held| {
        let in_memory = matches!(held.location, Location::Executor | Location::Serialized);
        in_memory && !held.actor && matches!(held.spilling, Spilling::No | Spilling::Abandoned)
    })
}
