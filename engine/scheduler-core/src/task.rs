//! One task as the core holds it, and the slab of all of them.
//!
//! Compact on purpose: a scheduler holds millions. What most tasks never have lives in one boxed `Rare`.
//! Invariants are walked in `check`; a state carries what is true only in it.

use crate::effects::TaskPriority;
use crate::error::TaskError;
use crate::graph::{Amounts, Annotations, RunSpec};
use crate::group::{GroupId, TypeId};
use crate::id_set::{IdSet, impl_id};
use crate::ids::{ClientId, WorkerId};
use hashbrown::HashTable;
use protocol::{Key, Value};
use smallvec::SmallVec;
use std::ops::{Index, IndexMut};
use std::sync::Arc;

/// Where a task lies in the slab; reused after the task is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TaskId(pub u32);

impl_id!(TaskId);

/// Where a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Released,
    /// `missing`: how many dependencies have no replica.
    Waiting {
        missing: u32,
    },
    /// `order`: since when, to break ties of priority.
    Queued {
        order: u32,
    },
    /// `order`: since when.
    NoWorker {
        order: u32,
    },
    /// `slot`: place in the worker's list.
    Processing {
        worker: WorkerId,
        slot: u32,
    },
    Memory,
    Erred,
    Forgotten,
}

/// The state without what is true in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Released,
    Waiting,
    NoWorker,
    Queued,
    Processing,
    Memory,
    Erred,
    Forgotten,
}

pub(crate) const PHASES: [Phase; 8] = [
    Phase::Released,
    Phase::Waiting,
    Phase::NoWorker,
    Phase::Queued,
    Phase::Processing,
    Phase::Memory,
    Phase::Erred,
    Phase::Forgotten,
];

impl Phase {
    pub fn name(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Waiting => "waiting",
            Self::NoWorker => "no-worker",
            Self::Queued => "queued",
            Self::Processing => "processing",
            Self::Memory => "memory",
            Self::Erred => "erred",
            Self::Forgotten => "forgotten",
        }
    }

    pub fn index(self) -> usize {
        self as usize
    }
}

impl State {
    pub fn phase(self) -> Phase {
        match self {
            Self::Released => Phase::Released,
            Self::Waiting { .. } => Phase::Waiting,
            Self::Queued { .. } => Phase::Queued,
            Self::NoWorker { .. } => Phase::NoWorker,
            Self::Processing { .. } => Phase::Processing,
            Self::Memory => Phase::Memory,
            Self::Erred => Phase::Erred,
            Self::Forgotten => Phase::Forgotten,
        }
    }
}

/// Single bits of a task.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Flags(u8);

impl Flags {
    /// Counted in `waiters` of each of its dependencies.
    pub const WAITS: u8 = 1;
    pub const LOST_DEPENDENCIES: u8 = 2;
    pub const ACTOR: u8 = 4;
    pub const DATA_PRODUCER: u8 = 8;
    pub const LONG_RUNNING: u8 = 16;
    /// Has been sent to a worker at least once, so that `run_id` means something.
    pub const HAS_RUN: u8 = 32;
    pub const HAS_PRIORITY: u8 = 64;
    /// May not be held back in the queue.
    pub const UNQUEUEABLE: u8 = 128;

    pub fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    pub fn set(&mut self, flag: u8, on: bool) {
        if on {
            self.0 |= flag;
        } else {
            self.0 &= !flag;
        }
    }
}

/// A size not known yet.
pub(crate) const UNKNOWN_SIZE: u64 = u64::MAX;
pub(crate) const NO_RECOMMENDATION: u32 = u32::MAX;

pub(crate) struct Task {
    pub key: Key,
    pub run_spec: Option<RunSpec>,
    pub dependencies: IdSet<TaskId>,
    pub dependents: IdSet<TaskId>,
    pub who_has: IdSet<WorkerId>,
    pub who_wants: IdSet<ClientId>,
    pub rare: Option<Box<Rare>>,
    pub nbytes: u64,
    pub priority: TaskPriority,
    pub group: GroupId,
    /// How many dependents have `Flags::WAITS`.
    pub waiters: u32,
    pub state: State,
    /// Low half of the number of its latest run.
    pub run_id: u32,
    pub type_name: TypeId,
    /// Place in the recommendations being worked on.
    pub recommendation: u32,
    pub flags: Flags,
    pub is_barrier: bool,
    /// A client has put its value on a worker.
    pub scattered: bool,
}

/// What most tasks never have.
#[derive(Default)]
pub(crate) struct Rare {
    pub annotations: Option<Arc<Annotations>>,
    /// Addresses; empty is no restriction.
    pub worker_restrictions: Vec<Arc<str>>,
    /// Host names, or names of workers that stand for their hosts.
    pub host_restrictions: Vec<Value>,
    pub resources: Option<Amounts>,
    pub loose_restrictions: bool,
    pub retries: u32,
    pub suspicious: u32,
    pub blame: Option<Arc<Blame>>,
    pub erred_on: SmallVec<[WorkerId; 2]>,
    /// What workers sent as metadata; a map.
    pub metadata: Value,
}

/// The task that failed first, kept for as long as anyone points to it, even after it is forgotten.
#[derive(Debug)]
pub(crate) struct Blame {
    pub key: Key,
    pub error: TaskError,
}

impl Task {
    pub fn new(key: Key, group: GroupId) -> Self {
        Self {
            key,
            run_spec: None,
            dependencies: IdSet::default(),
            dependents: IdSet::default(),
            who_has: IdSet::default(),
            who_wants: IdSet::default(),
            rare: None,
            nbytes: UNKNOWN_SIZE,
            priority: TaskPriority::default(),
            group,
            waiters: 0,
            state: State::Released,
            run_id: 0,
            type_name: TypeId::UNKNOWN,
            recommendation: NO_RECOMMENDATION,
            flags: Flags::default(),
            is_barrier: false,
            scattered: false,
        }
    }

    pub fn phase(&self) -> Phase {
        self.state.phase()
    }

    pub fn has(&self, flag: u8) -> bool {
        self.flags.has(flag)
    }

    pub fn rare_mut(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// Nobody waits for it and no client wants it.
    pub fn is_unneeded(&self) -> bool {
        self.waiters == 0 && self.who_wants.is_empty()
    }

    pub fn blame(&self) -> Option<&Arc<Blame>> {
        self.rare.as_ref()?.blame.as_ref()
    }

    pub fn is_actor(&self) -> bool {
        self.flags.has(Flags::ACTOR)
    }

    pub fn resources(&self) -> Option<&Amounts> {
        self.rare.as_ref()?.resources.as_ref()
    }

    pub fn is_restricted(&self) -> bool {
        self.rare.as_ref().is_some_and(|rare| {
            rare.resources.is_some()
                || !rare.worker_restrictions.is_empty()
                || !rare.host_restrictions.is_empty()
        })
    }

    /// Where it is processing, if it is.
    pub fn processing_on(&self) -> Option<WorkerId> {
        match self.state {
            State::Processing { worker, .. } => Some(worker),
            State::Released
            | State::Waiting { .. }
            | State::Queued { .. }
            | State::NoWorker { .. }
            | State::Memory
            | State::Erred
            | State::Forgotten => None,
        }
    }

    /// Whether a message about `run_id` is about its latest run.
    pub fn is_run(&self, run_id: u64) -> bool {
        self.flags.has(Flags::HAS_RUN) && self.run_id == run_id as u32
    }
}

/// All tasks, found by id or by key.
pub(crate) struct Tasks {
    slab: Vec<Task>,
    free: Vec<TaskId>,
    removed: Vec<TaskId>,
    by_key: HashTable<TaskId>,
    /// Stands where a key was.
    nothing: Key,
}

impl Default for Tasks {
    fn default() -> Self {
        Self {
            slab: Vec::new(),
            free: Vec::new(),
            removed: Vec::new(),
            by_key: HashTable::new(),
            nothing: Key::int(0),
        }
    }
}

impl Index<TaskId> for Tasks {
    type Output = Task;

    fn index(&self, id: TaskId) -> &Task {
        &self.slab[id.0 as usize]
    }
}

impl IndexMut<TaskId> for Tasks {
    fn index_mut(&mut self, id: TaskId) -> &mut Task {
        &mut self.slab[id.0 as usize]
    }
}

impl Tasks {
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    pub fn find(&self, key: &Key) -> Option<TaskId> {
        self.by_key
            .find(key.hash64(), |id| self.slab[id.0 as usize].key == *key)
            .copied()
    }

    /// Adds a task whose key is not there yet.
    pub fn add(&mut self, task: Task) -> TaskId {
        let hash = task.key.hash64();
        let id = match self.free.pop() {
            Some(id) => {
                self.slab[id.0 as usize] = task;
                id
            }
            None => {
                self.slab.push(task);
                TaskId(self.slab.len() as u32 - 1)
            }
        };
        let slab = &self.slab;
        self.by_key
            .insert_unique(hash, id, |other| slab[other.0 as usize].key.hash64());
        id
    }

    /// Takes a forgotten task out. Its place keeps the key and the state until [`Self::bury`].
    pub fn remove(&mut self, id: TaskId) {
        let hash = self.slab[id.0 as usize].key.hash64();
        if let Ok(entry) = self.by_key.find_entry(hash, |own| *own == id) {
            entry.remove();
            self.removed.push(id);
        }
        let task = &mut self.slab[id.0 as usize];
        task.run_spec = None;
        task.rare = None;
    }

    /// Lets places of removed tasks be used again. Must not be called while ids are in use outside.
    pub fn bury(&mut self) {
        if self.removed.is_empty() {
            return;
        }
        if self.by_key.is_empty() {
            *self = Self::default();
            return;
        }
        for id in self.removed.drain(..) {
            self.slab[id.0 as usize].key = self.nothing.clone();
            self.free.push(id);
        }
    }

    pub fn reserve(&mut self, additional: usize) {
        let missing = additional.saturating_sub(self.free.len());
        self.slab.reserve(missing);
        let slab = &self.slab;
        self.by_key
            .reserve(additional, |id| slab[id.0 as usize].key.hash64());
    }

    /// In slab order, which depends only on what was added and removed before.
    pub fn iter(&self) -> impl Iterator<Item = (TaskId, &Task)> {
        self.slab
            .iter()
            .enumerate()
            .filter(|(_, task)| task.state != State::Forgotten)
            .map(|(at, task)| (TaskId(at as u32), task))
    }

    /// Bytes of the slab and the table, without what tasks hold elsewhere.
    pub fn table_bytes(&self) -> usize {
        self.slab.capacity() * size_of::<Task>()
            + self.free.capacity() * size_of::<TaskId>()
            + self.by_key.allocation_size()
    }
}
