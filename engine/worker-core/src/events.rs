//! What the core is told. The shell turns messages, answers and measurements into these and hands them over in batches.
//!
//! Everything a peer may have made up is checked by the core; an event that fits nothing is logged and changes nothing.

use crate::effects::Location;
use crate::ids::{ExecutionId, GatherId, UpdateId, ValueId};
use bytes::Bytes;
use protocol::messages::{
    ComputeTask, FromScheduler, KeyOrder, KeysOrder, Replicas, StartStop, StatusOrder, WorkerGone,
    WorkerStatus,
};
use protocol::pickle::exceptions;
use protocol::{Key, Text, Value};
use smallvec::SmallVec;
use std::sync::Arc;

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Event {
    // From the scheduler's stream; see `Event::try_from`.
    ComputeTask(Arc<ComputeTask>),
    FreeKeys(KeysOrder),
    RemoveReplicas(KeysOrder),
    AcquireReplicas(Replicas),
    RefreshWhoHas(Replicas),
    StealRequest(KeyOrder),
    CancelCompute(KeyOrder),
    RemoveWorker(WorkerGone),
    /// The scheduler wants this worker to have another status.
    StatusOrdered(StatusOrder),

    /// A request of [`Action::Gather`](crate::Action::Gather) has ended, one way or another.
    Gathered(Box<Gathered>),
    /// The time of [`Action::RetryBusyPeerLater`](crate::Action::RetryBusyPeerLater) is over.
    RetryBusyPeer {
        peer: Arc<str>,
    },
    /// A second has passed since the last one: time to ask again for what nobody seems to have.
    FindMissing,

    /// A run of [`Action::Execute`](crate::Action::Execute) has ended, one way or another.
    Executed(Box<Executed>),
    /// A running task has left its thread to others and goes on.
    Seceded {
        execution: ExecutionId,
        compute_duration_seconds: f64,
    },
    /// A task that had seceded has a thread again: one task fewer is sent. The scheduler is not told.
    Rejoined {
        execution: ExecutionId,
    },

    /// Somebody has brought values (`update_data`). Those that are kept are named by
    /// [`Action::Store`](crate::Action::Store).
    UpdateData(UpdateData),

    /// Memory of the worker and its executor, measured. Stock does so ten times a second.
    MemoryMeasured {
        process_bytes: u64,
    },
    /// A spill of [`Action::Spill`](crate::Action::Spill) has ended.
    Spilled {
        key: Key,
        value: ValueId,
        outcome: SpillOutcome,
    },
    /// A value was brought elsewhere outside the core's orders, such as into the executor because a task looked at it.
    Relocated {
        key: Key,
        value: ValueId,
        location: Location,
    },
    /// A value cannot be had any more, such as one whose file cannot be read. Runs that needed it and have not begun are
    /// given back after this, as [`Outcome::NotBegun`].
    Lost {
        key: Key,
        value: ValueId,
    },

    /// The shell changes the status: running once the executor is ready, closing when it ends, and so on. The scheduler is
    /// told by the core.
    SetStatus(WorkerStatus),
    /// Total amounts by name (`set_resources`); those not named stay.
    SetResources(Vec<(Arc<str>, f64)>),
    /// Whether transitions are to be reported as [`Action::Transitioned`](crate::Action::Transitioned), which plugins
    /// may want.
    WatchTransitions(bool),
}

impl TryFrom<FromScheduler> for Event {
    /// What the core has no part in: `close`, the end of the stream, and operations of plugins.
    type Error = FromScheduler;

    fn try_from(message: FromScheduler) -> Result<Self, FromScheduler> {
        Ok(match message {
            FromScheduler::ComputeTask(order) => Self::ComputeTask(order),
            FromScheduler::FreeKeys(order) => Self::FreeKeys(order),
            FromScheduler::RemoveReplicas(order) => Self::RemoveReplicas(order),
            FromScheduler::AcquireReplicas(replicas) => Self::AcquireReplicas(replicas),
            FromScheduler::RefreshWhoHas(replicas) => Self::RefreshWhoHas(replicas),
            FromScheduler::StealRequest(order) => Self::StealRequest(order),
            FromScheduler::CancelCompute(order) => Self::CancelCompute(order),
            FromScheduler::RemoveWorker(gone) => Self::RemoveWorker(gone),
            FromScheduler::StatusChange(order) => Self::StatusOrdered(order),
            shells @ (FromScheduler::Close { .. }
            | FromScheduler::CloseStream
            | FromScheduler::Other { .. }) => return Err(shells),
        })
    }
}

/// How a request to a peer ended.
#[derive(Clone, Debug)]
pub struct Gathered {
    pub gather: GatherId,
    pub outcome: GatherOutcome,
    /// When the request was sent and the answer was there, in seconds of this worker's clock.
    pub start_seconds: f64,
    pub stop_seconds: f64,
}

#[derive(Clone, Debug)]
pub enum GatherOutcome {
    /// The peer answered. The keys that came with the bytes each takes serialized; the peer does not have the others.
    Received(Vec<(Key, u64)>),
    /// The peer serves too many others.
    Busy,
    /// The peer could not be reached, or the connection broke.
    Unreachable,
    /// The peer answered nonsense. After three times in a row the tasks that wait for it fail with this error.
    Malformed(TaskError),
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Executed {
    pub execution: ExecutionId,
    pub outcome: Outcome,
    /// The thread it ran on.
    pub thread: Option<i64>,
    /// When it did what: computing, reading from disk, deserializing.
    pub startstops: SmallVec<[StartStop; 1]>,
    /// What the task left in its state for the scheduler; nearly always nil.
    pub metadata: Value,
}

#[derive(Clone, Debug)]
pub enum Outcome {
    /// The executor keeps the result under the execution's number until it is told to free it.
    Finished {
        nbytes: u64,
        /// The pickled class.
        value_type: Option<Bytes>,
        typename: Text,
    },
    Failed(TaskError),
    /// The task raised `Reschedule`.
    Rescheduled,
    /// The executor gives the run back without having begun it. It may do so with any; the task waits for its turn again.
    NotBegun,
}

/// An exception as the scheduler relays it.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskError {
    /// `Serialized` bytes that are a pickle, usually.
    pub exception: Value,
    pub traceback: Value,
    pub exception_text: Text,
    pub traceback_text: Text,
}

impl TaskError {
    /// A `RuntimeError` that was not raised by Python.
    pub fn made_here(message: &str) -> Self {
        let pickle = exceptions::builtin("RuntimeError", message);
        Self {
            exception: Value::Serialized(exceptions::as_field(&pickle)),
            traceback: Value::Nil,
            exception_text: Text::from(format!("RuntimeError({message:?})")),
            traceback_text: Text::default(),
        }
    }
}

/// Values brought from outside, with their sizes.
#[derive(Clone, Debug)]
pub struct UpdateData {
    pub update: UpdateId,
    pub data: Vec<(Key, u64)>,
    pub stimulus_id: Text,
}

/// How a spill ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpillOutcome {
    /// A copy of so many bytes is on disk. The copy in memory stays until
    /// [`Action::DropMemoryCopy`](crate::Action::DropMemoryCopy).
    Written { disk_bytes: u64 },
    /// No space, or the disk failed: nothing else is spilled for a while.
    DiskFailed,
    /// The value cannot be serialized: it stays in memory for good.
    NotSerializable,
}
