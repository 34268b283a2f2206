//! Decisions that need no task: how much memory is too much, whom to serve.

pub(crate) mod memory;
pub(crate) mod transfers;
