//! Answers about the state, for RPCs and HTTP; nothing here changes anything.
//!
//! Answers are values as they travel; maps keep the order in which stock Dask lists workers (by address) and keys.

mod metadata;
mod tasks;
mod workers;

pub use tasks::UnknownKey;
pub use workers::{NannyOf, UnknownWorker};
