//! The operator as a whole against an API server in memory, with everything that can go wrong between two calls.

#![expect(clippy::unwrap_used, reason = "a test that panics fails")]

mod interruptions;
mod kubelet;
mod leaders;
mod lives;
mod server;
mod stops;
mod storage;
mod trouble;
mod watches;
mod world;
