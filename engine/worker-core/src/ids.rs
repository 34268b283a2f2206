//! What the outside and the core call things by. Keys name tasks; numbers name what happens to them.
//!
//! Every number is given once in the life of a core, so that an answer that comes late means nothing else.

pub use protocol::Time;

/// One run of a task in the executor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExecutionId(pub u64);

/// One value that is or was kept under a key. The result of an execution has the execution's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueId(pub u64);

/// One request for values to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GatherId(pub u64);

/// One delivery of values from outside; the shell chooses the number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpdateId(pub u64);

impl From<ExecutionId> for ValueId {
    fn from(execution: ExecutionId) -> Self {
        Self(execution.0)
    }
}
