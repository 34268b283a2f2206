//! What the outside must do after a batch of events: messages to the scheduler, and actions.
//!
//! Both are in order. Messages are encoded on the connection's own task. Actions are begun one after another: what an
//! `Execute` names must be held before a later `Free` of it is carried out.

use crate::ids::{ExecutionId, GatherId, UpdateId, ValueId};
use protocol::Key;
use protocol::messages::{ComputeTask, FromWorker, WorkerStatus};
use std::sync::Arc;

/// Where a value is, as far as deciding needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Location {
    /// A live object in the executor.
    Executor,
    /// Bytes in the worker, as they came.
    Serialized,
    Disk,
}

/// One run, to be given to the executor.
#[derive(Clone, Debug)]
pub struct Execution {
    pub id: ExecutionId,
    /// Whether it is an actor, its annotations (`executor`, `span` …) and the pickled task are in here.
    pub order: Arc<ComputeTask>,
    /// In the order of the order's dependencies. From now on the core takes them all for live objects of the executor:
    /// what is elsewhere must be brought there, and its copy on disk is gone.
    pub inputs: Vec<Input>,
    /// What tasks of its name took here, in seconds.
    pub expected_seconds: Option<f64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    pub key: Key,
    pub value: ValueId,
    /// Where it was.
    pub location: Location,
}

/// One request to a peer: `get_data`, whose answer is [`Event::Gathered`](crate::Event::Gathered).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gather {
    pub id: GatherId,
    pub peer: Arc<str>,
    pub keys: Vec<Key>,
    /// As the scheduler announced them.
    pub total_nbytes: u64,
}

/// What holds a value that is to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Gather(GatherId),
    Update(UpdateId),
}

/// How loud a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    Debug,
    Info,
    Warning,
    Error,
}

/// What the outside must do.
#[derive(Clone, Debug)]
pub enum Action {
    /// Run it; answered by [`Event::Executed`](crate::Event::Executed), exactly once.
    Execute(Box<Execution>),
    /// Nobody wants this run any more: not begun it need not be, and it must be answered in any case. What it makes is
    /// freed by its number; where values lie by key, it must not take the place of a later value of that key.
    CancelExecution { execution: ExecutionId },
    /// A run before this one takes long: give it back as [`Outcome::NotBegun`](crate::Outcome::NotBegun), if so it is; if it
    /// has begun, go on.
    RecallExecution { execution: ExecutionId },
    /// Ask a peer; answered by [`Event::Gathered`](crate::Event::Gathered), exactly once.
    Gather(Box<Gather>),
    /// Send [`Event::RetryBusyPeer`](crate::Event::RetryBusyPeer) after so long.
    RetryBusyPeerLater { peer: Arc<str>, after_ns: u64 },
    /// The peer has left: close idle connections to it.
    ForgetPeer { peer: Arc<str> },
    /// Keep what has come under this number; whatever came and is not named by a `Store` of the same batch is dropped.
    Store {
        key: Key,
        value: ValueId,
        source: Source,
    },
    /// Drop all copies of this value, wherever they are.
    Free { key: Key, value: ValueId },
    /// Write a copy to disk; answered by [`Event::Spilled`](crate::Event::Spilled), exactly once unless it is freed.
    Spill {
        key: Key,
        value: ValueId,
        nbytes: u64,
    },
    /// The copy on disk is the one that counts now.
    DropMemoryCopy { key: Key, value: ValueId },
    /// The value was needed or freed while it was being spilled.
    DropDiskCopy { key: Key, value: ValueId },
    /// Memory is above the pause threshold: collecting garbage may help.
    CollectGarbage,
    /// Memory is above the limit of all limits. First a polite end, then, if it is still so, `force`.
    TerminateExecutor {
        process_bytes: u64,
        memory_limit: u64,
        force: bool,
    },
    /// The status is now this one; the scheduler is told by a message of its own.
    StatusChanged(WorkerStatus),
    /// Only where it was asked for.
    Transitioned {
        key: Key,
        start: &'static str,
        finish: &'static str,
    },
    Log {
        level: LogLevel,
        message: &'static str,
        subject: String,
    },
}

/// Messages and actions of one batch. Reused.
#[derive(Debug, Default)]
pub struct Effects {
    pub(crate) messages: Vec<FromWorker>,
    pub(crate) actions: Vec<Action>,
}

impl Effects {
    pub(crate) fn say(&mut self, message: FromWorker) {
        self.messages.push(message);
    }

    pub(crate) fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// To the scheduler, on its stream.
    pub fn drain_messages(&mut self) -> impl Iterator<Item = FromWorker> {
        self.messages.drain(..)
    }

    /// To the scheduler, to be encoded in one go; leaves an empty list of the same capacity behind.
    pub fn take_messages(&mut self) -> Vec<FromWorker> {
        let capacity = self.messages.capacity().min(4096);
        std::mem::replace(&mut self.messages, Vec::with_capacity(capacity))
    }

    pub fn drain_actions(&mut self) -> impl Iterator<Item = Action> {
        self.actions.drain(..)
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty() && self.actions.is_empty()
    }
}
