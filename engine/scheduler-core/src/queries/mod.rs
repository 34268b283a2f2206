//! Answers to questions; nothing here changes anything.

pub(crate) mod identity;
pub(crate) mod metadata;
mod snapshot;
pub(crate) mod status;
pub(crate) mod tables;
pub(crate) mod totals;
