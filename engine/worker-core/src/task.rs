//! One task as a worker holds it, and the slab of all of them.
//!
//! A state carries what is true in it. A task has edges to its inputs only while it waits for its turn; from then on the
//! executor holds what it needs.

use crate::effects::Location;
use crate::ids::{ExecutionId, GatherId, ValueId};
use crate::peers::PeerId;
use crate::priority::Priority;
use crate::queues::ClassId;
use hashbrown::HashTable;
use protocol::Key;
use protocol::messages::{ComputeTask, StartStop};
use smallvec::SmallVec;
use std::ops::{Index, IndexMut};
use std::sync::Arc;

/// Where a task lies in the slab; reused after the task is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TaskId(pub u32);

/// Where a task is.
#[derive(Debug)]
pub(crate) enum State {
    /// Known only because a run of it that nobody wants has not ended.
    Released,
    /// Ordered; so many inputs are not here. With none missing it waits for a cancelled run of its own to end.
    Waiting {
        missing: u32,
    },
    Ready,
    /// Could run; its resources are in use.
    Constrained {
        class: ClassId,
    },
    Executing {
        run: ExecutionId,
    },
    /// It runs but has left its thread to others.
    LongRunning {
        run: ExecutionId,
    },
    /// Wanted, and a peer has it.
    Fetch,
    /// Asked for. If nobody wants it any more, what comes is dropped.
    Flight {
        gather: GatherId,
    },
    /// Wanted, and no peer is known to have it.
    Missing,
    Memory(Box<Held>),
    /// It failed here, and the scheduler knows.
    Error,
}

/// The state without what is true in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    Released,
    Waiting,
    Ready,
    Constrained,
    Executing,
    LongRunning,
    Fetch,
    Flight,
    Missing,
    Memory,
    Error,
}

pub(crate) const PHASES: [Phase; 11] = [
    Phase::Released,
    Phase::Waiting,
    Phase::Ready,
    Phase::Constrained,
    Phase::Executing,
    Phase::LongRunning,
    Phase::Fetch,
    Phase::Flight,
    Phase::Missing,
    Phase::Memory,
    Phase::Error,
];

impl Phase {
    pub fn name(self) -> &'static str {
        match self {
            Self::Released => "released",
            Self::Waiting => "waiting",
            Self::Ready => "ready",
            Self::Constrained => "constrained",
            Self::Executing => "executing",
            Self::LongRunning => "long-running",
            Self::Fetch => "fetch",
            Self::Flight => "flight",
            Self::Missing => "missing",
            Self::Memory => "memory",
            Self::Error => "error",
        }
    }

    /// Ordered and not begun.
    pub fn awaits_its_turn(self) -> bool {
        matches!(self, Self::Waiting | Self::Ready | Self::Constrained)
    }

    /// Its value is on its way from a peer, or should be.
    pub fn is_coming(self) -> bool {
        matches!(self, Self::Fetch | Self::Flight | Self::Missing)
    }
}

impl State {
    pub fn phase(&self) -> Phase {
        match self {
            Self::Released => Phase::Released,
            Self::Waiting { .. } => Phase::Waiting,
            Self::Ready => Phase::Ready,
            Self::Constrained { .. } => Phase::Constrained,
            Self::Executing { .. } => Phase::Executing,
            Self::LongRunning { .. } => Phase::LongRunning,
            Self::Fetch => Phase::Fetch,
            Self::Flight { .. } => Phase::Flight,
            Self::Missing => Phase::Missing,
            Self::Memory(_) => Phase::Memory,
            Self::Error => Phase::Error,
        }
    }
}

/// A value that is here.
#[derive(Debug)]
pub(crate) struct Held {
    pub value: ValueId,
    pub location: Location,
    pub nbytes: u64,
    pub actor: bool,
    /// What was said about its class, if it was computed here.
    pub kind: Option<KindId>,
    pub thread: Option<i64>,
    pub spilling: Spilling,
    /// Of the copy on disk.
    pub disk_bytes: u64,
    /// Neighbours among the values in memory, by when they were last used.
    pub older: Option<TaskId>,
    pub newer: Option<TaskId>,
}

/// How far a value is on its way to disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spilling {
    No,
    Yes,
    /// It was needed meanwhile; the copy on disk will be dropped.
    Abandoned,
    /// It cannot be serialized.
    Never,
}

/// A class of results, as sent to the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KindId(pub u32);

/// From a task to one of its inputs; `place` is where the input lists the task.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edge {
    pub on: TaskId,
    pub place: u32,
}

/// No value is taken for bigger, whatever is said of it, so that sums stay numbers.
pub(crate) const BIGGEST_BYTES: u64 = 1 << 50;

/// A size not known yet.
pub(crate) const UNKNOWN_SIZE: u64 = u64::MAX;

pub(crate) struct Task {
    pub key: Key,
    pub state: State,
    pub priority: Option<Priority>,
    pub run_id: i64,
    /// Only while it awaits its turn.
    pub order: Option<Arc<ComputeTask>>,
    pub dependencies: SmallVec<[Edge; 2]>,
    /// Tasks that await their turn and need this, each with the index of its edge.
    pub dependents: Vec<(TaskId, u32)>,
    /// Peers that have it, as far as is known; only while it is coming.
    pub who_has: SmallVec<[PeerId; 2]>,
    /// As announced, until it is here.
    pub nbytes: u64,
    /// When its inputs were transferred.
    pub startstops: SmallVec<[StartStop; 1]>,
    /// Runs of it that nobody wants.
    pub orphans: u32,
    /// How many of them hold a thread: another run of it must wait for them.
    pub blocking: u32,
    /// Times in a row that a peer answered nonsense for it.
    pub failures: u8,
    /// Wanted for its own sake, not for a task.
    pub acquired: bool,
    /// The scheduler has been asked at once where it is; the next time must wait for its turn.
    pub asked: bool,
}

impl Task {
    pub fn new(key: Key) -> Self {
        Self {
            key,
            state: State::Released,
            priority: None,
            run_id: -1,
            order: None,
            dependencies: SmallVec::new(),
            dependents: Vec::new(),
            who_has: SmallVec::new(),
            nbytes: UNKNOWN_SIZE,
            startstops: SmallVec::new(),
            orphans: 0,
            blocking: 0,
            failures: 0,
            acquired: false,
            asked: false,
        }
    }

    pub fn phase(&self) -> Phase {
        self.state.phase()
    }

    /// Whether its value is of use here.
    pub fn is_wanted(&self) -> bool {
        self.acquired || !self.dependents.is_empty()
    }

    pub fn held(&self) -> Option<&Held> {
        match &self.state {
            State::Memory(held) => Some(held),
            _ => None,
        }
    }

    pub fn held_mut(&mut self) -> Option<&mut Held> {
        match &mut self.state {
            State::Memory(held) => Some(held),
            _ => None,
        }
    }
}

#[derive(Default)]
pub(crate) struct Tasks {
    slab: Vec<Option<Task>>,
    free: Vec<TaskId>,
    by_key: HashTable<TaskId>,
}

const EXISTS: &str = "a task that is referred to is in the slab";

impl Index<TaskId> for Tasks {
    type Output = Task;

    fn index(&self, id: TaskId) -> &Task {
        self.slab[id.0 as usize].as_ref().expect(EXISTS)
    }
}

impl IndexMut<TaskId> for Tasks {
    fn index_mut(&mut self, id: TaskId) -> &mut Task {
        self.slab[id.0 as usize].as_mut().expect(EXISTS)
    }
}

fn hash_at(slab: &[Option<Task>], id: TaskId) -> u64 {
    slab[id.0 as usize].as_ref().expect(EXISTS).key.hash64()
}

impl Tasks {
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// A task that may have been forgotten meanwhile.
    pub fn get(&self, id: TaskId) -> Option<&Task> {
        self.slab.get(id.0 as usize)?.as_ref()
    }

    pub fn find(&self, key: &Key) -> Option<TaskId> {
        let is_it = |id: &TaskId| self.get(*id).is_some_and(|task| task.key == *key);
        self.by_key.find(key.hash64(), is_it).copied()
    }

    pub fn find_or_add(&mut self, key: &Key) -> TaskId {
        if let Some(known) = self.find(key) {
            return known;
        }
        let task = Task::new(key.clone());
        let id = match self.free.pop() {
            Some(id) => {
                self.slab[id.0 as usize] = Some(task);
                id
            }
            None => {
                self.slab.push(Some(task));
                TaskId(self.slab.len() as u32 - 1)
            }
        };
        let slab = &self.slab;
        self.by_key
            .insert_unique(key.hash64(), id, |other| hash_at(slab, *other));
        id
    }

    pub fn remove(&mut self, id: TaskId) {
        let hash = self[id].key.hash64();
        if let Ok(entry) = self.by_key.find_entry(hash, |own| *own == id) {
            entry.remove();
        }
        self.slab[id.0 as usize] = None;
        self.free.push(id);
    }

    /// In slab order, which depends only on what was added and removed before.
    pub fn iter(&self) -> impl Iterator<Item = (TaskId, &Task)> {
        let numbered = self.slab.iter().enumerate();
        numbered.filter_map(|(at, task)| Some((TaskId(at as u32), task.as_ref()?)))
    }

    /// Lets `task` depend on `on`.
    pub fn link(&mut self, task: TaskId, on: TaskId) {
        let edge = self[task].dependencies.len() as u32;
        let place = self[on].dependents.len() as u32;
        self[on].dependents.push((task, edge));
        self[task].dependencies.push(Edge { on, place });
    }

    /// Takes all edges of a task to its inputs, and itself from their lists.
    pub fn unlink(&mut self, task: TaskId) -> SmallVec<[Edge; 2]> {
        for index in (0..self[task].dependencies.len()).rev() {
            let Edge { on, place } = self[task].dependencies[index];
            let list = &mut self[on].dependents;
            // The last of the list takes the place that becomes free.
            list.swap_remove(place as usize);
            if let Some((moved, edge)) = list.get(place as usize).copied() {
                self[moved].dependencies[edge as usize].place = place;
            }
        }
        std::mem::take(&mut self[task].dependencies)
    }
}
