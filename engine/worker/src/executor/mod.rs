//! The Python process beside the worker, which holds values and runs tasks: its process, its line, its messages.
//!
//! Knows nothing of tasks' states; `docs/executor-protocol.md` is what both ends keep.

pub mod conduit;
pub mod lent;
pub mod line;
pub mod message;
pub mod packet;
pub mod process;
pub mod segment;
pub mod shared;
