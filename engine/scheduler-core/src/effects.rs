//! What the outside must do after an event: messages per recipient, and actions.
//!
//! Effects carry cheap handles; they are encoded on the connection's own task. The shell drains them after each pass.

use crate::graph::{Amounts, Annotations, RunSpec};
use crate::ids::{ClientId, Time, WorkerId};
use crate::registration::WorkerStatus;
use bytes::Bytes;
use protocol::{Key, Text, Value};
use smallvec::SmallVec;
use std::sync::Arc;

/// When a task runs relative to others: smaller first, as Python compares tuples.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Default)]
pub struct TaskPriority {
    /// The user's priority, negated.
    pub user: f64,
    pub generation: f64,
    pub internal: i32,
}

/// Where an input of a task is.
#[derive(Clone, Debug)]
pub struct DependencyLocation {
    pub key: Key,
    /// `None` while unknown; -1 on the wire.
    pub nbytes: Option<u64>,
    pub holders: SmallVec<[Arc<str>; 1]>,
}

/// The order to run a task.
#[derive(Clone, Debug)]
pub struct ComputeTask {
    pub key: Key,
    pub run_id: u64,
    pub priority: TaskPriority,
    pub run_spec: Option<RunSpec>,
    pub dependencies: Vec<DependencyLocation>,
    /// `None` is null on the wire.
    pub resource_restrictions: Option<Amounts>,
    pub actor: bool,
    pub annotations: Option<Arc<Annotations>>,
    pub span_id: Option<Arc<str>>,
    pub stimulus_id: Text,
}

/// Keys with their holders.
pub type Replicas = Vec<(Key, SmallVec<[Arc<str>; 1]>)>;

/// To one worker, on its stream.
#[derive(Clone, Debug)]
pub enum ToWorker {
    ComputeTask(Box<ComputeTask>),
    FreeKeys {
        keys: Vec<Key>,
        stimulus_id: Text,
    },
    RemoveReplicas {
        keys: Vec<Key>,
        stimulus_id: Text,
    },
    AcquireReplicas {
        who_has: Replicas,
        nbytes: Vec<u64>,
        stimulus_id: Text,
    },
    RefreshWhoHas {
        who_has: Replicas,
        stimulus_id: Text,
    },
    StatusChange {
        status: WorkerStatus,
        stimulus_id: Text,
    },
    /// Another worker left.
    RemoveWorker {
        address: Arc<str>,
        stimulus_id: Text,
    },
    /// Close, together with the nanny.
    Close {
        reason: Arc<str>,
    },
    /// End of the stream.
    CloseStream,
}

/// To one client, on its stream.
#[derive(Clone, Debug)]
pub enum ToClient {
    /// `type_pickle` is what the worker sent with the result, where it is known.
    KeyInMemory {
        key: Key,
        type_pickle: Option<Bytes>,
        workers: Option<Arc<[Arc<str>]>>,
    },
    TaskErred {
        key: Key,
        exception: Value,
        traceback: Value,
    },
    LostData {
        key: Key,
    },
    CancelledKeys {
        keys: Vec<Key>,
        reason: Value,
        message: Value,
    },
    TaskRetried {
        key: Key,
    },
    Restart,
    Event {
        topic: Arc<str>,
        at: Time,
        message: Value,
    },
    AdjustHeartbeatInterval {
        seconds: f64,
    },
}

/// How loud a line of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    Debug,
    Info,
    Warning,
    Error,
}

/// What else the outside must do.
#[derive(Clone, Debug)]
pub enum Action {
    /// End the program with success.
    CloseScheduler {
        reason: Arc<str>,
    },
    /// Write what is queued, then close that worker's connection.
    DropWorkerConnection(WorkerId),
    /// A peer broke the protocol: close its connection. The core hears of it as of any other loss.
    DropBrokenWorker {
        worker: WorkerId,
        why: Arc<str>,
    },
    DropBrokenClient {
        client: ClientId,
        why: Arc<str>,
    },
    /// Ask this nanny to restart its worker, which has not been heard of for too long.
    RestartByNanny {
        worker: WorkerId,
        address: Arc<str>,
        nanny: Arc<str>,
    },
    /// To subscribers of worker status: a worker has joined.
    WorkerAdded {
        address: Arc<str>,
        identity: Value,
    },
    /// To subscribers of worker status: a worker has left.
    WorkerRemoved {
        address: Arc<str>,
    },
    /// A retirement has ended; `retired` is false if nobody could take the worker's data.
    RetirementEnded {
        worker: WorkerId,
        address: Arc<str>,
        retired: bool,
        identity: Value,
    },
    Log {
        level: LogLevel,
        message: &'static str,
        subject: String,
    },
}

/// Messages and actions of one pass. Reused.
#[derive(Default)]
pub struct Effects {
    workers: Batches<ToWorker>,
    clients: Batches<ToClient>,
    actions: Vec<Action>,
}

impl Effects {
    /// Queues a message to a worker.
    pub fn worker(&mut self, worker: WorkerId, message: ToWorker) {
        self.workers.push(worker.0, message);
    }

    /// Queues the order to free a key; orders of one event become one message.
    pub(crate) fn free_key(&mut self, worker: WorkerId, key: &Key, stimulus: &Text) {
        let last = self.workers.last_mut(worker.0);
        if let Some(ToWorker::FreeKeys { keys, stimulus_id }) = last
            && stimulus_id == stimulus
        {
            keys.push(key.clone());
            return;
        }
        let message = ToWorker::FreeKeys {
            keys: vec![key.clone()],
            stimulus_id: stimulus.clone(),
        };
        self.worker(worker, message);
    }

    /// Queues a message to a client.
    pub fn client(&mut self, client: ClientId, message: ToClient) {
        self.clients.push(client.0, message);
    }

    pub fn action(&mut self, action: Action) {
        self.actions.push(action);
    }

    /// One batch per worker, in the order in which workers were first addressed.
    pub fn drain_workers(&mut self) -> impl Iterator<Item = (WorkerId, Vec<ToWorker>)> {
        self.workers
            .drain()
            .map(|(id, batch)| (WorkerId(id), batch))
    }

    /// One batch per client, in the order in which clients were first addressed.
    pub fn drain_clients(&mut self) -> impl Iterator<Item = (ClientId, Vec<ToClient>)> {
        self.clients
            .drain()
            .map(|(id, batch)| (ClientId(id), batch))
    }

    pub fn drain_actions(&mut self) -> impl Iterator<Item = Action> {
        self.actions.drain(..)
    }

    pub fn is_empty(&self) -> bool {
        self.workers.batches.is_empty()
            && self.clients.batches.is_empty()
            && self.actions.is_empty()
    }
}

/// Batches by recipient. `slots` maps a recipient to its batch of this pass.
struct Batches<M> {
    batches: Vec<(u32, Vec<M>)>,
    slots: Vec<u32>,
}

const NO_BATCH: u32 = u32::MAX;

impl<M> Default for Batches<M> {
    fn default() -> Self {
        Self {
            batches: Vec::new(),
            slots: Vec::new(),
        }
    }
}

impl<M> Batches<M> {
    fn push(&mut self, id: u32, message: M) {
        let at = id as usize;
        if at >= self.slots.len() {
            self.slots.resize(at + 1, NO_BATCH);
        }
        if self.slots[at] == NO_BATCH {
            self.slots[at] = self.batches.len() as u32;
            self.batches.push((id, Vec::new()));
        }
        self.batches[self.slots[at] as usize].1.push(message);
    }

    fn last_mut(&mut self, id: u32) -> Option<&mut M> {
        let slot = *self.slots.get(id as usize)?;
        self.batches.get_mut(slot as usize)?.1.last_mut()
    }

    fn drain(&mut self) -> impl Iterator<Item = (u32, Vec<M>)> {
        for (id, _) in &self.batches {
            self.slots[*id as usize] = NO_BATCH;
        }
        self.batches.drain(..)
    }
}
