//! The scheduler program: connections, RPC handlers and HTTP around the pure core.
//!
//! `core_loop` owns the core and is the only one who touches it. `server` accepts connections; `streams` carries the
//! long-lived ones of clients and workers, `rpc` answers requests, `graph` opens graphs in helper processes.

pub mod args;
mod clock;
pub mod config;
mod context;
mod core_loop;
mod outbox;
mod rpc;
