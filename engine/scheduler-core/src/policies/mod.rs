//! Slow decisions, taken by timers or asked for: who retires, who is lost, how many workers there should be.

pub(crate) mod adaptive;
pub(crate) mod memory_manager;
pub(crate) mod rebalance;
pub(crate) mod replicate;
pub(crate) mod retire;
pub(crate) mod timeouts;
