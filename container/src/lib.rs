//! What the first program of a container has to do with the kernel and the kubelet: whose memory ran out, the message it
//! leaves, and the orphans it inherits.
//!
//! For the launcher, and for a worker that has taken its place. Knows nothing of commands, tasks and schedulers; reads no
//! clock: whoever calls says when. Where there is no container, everything here does nothing and claims nothing.

pub mod memory;
pub mod message;
pub mod orphans;

pub use memory::{Memory, Shortage};
pub use orphans::Orphans;
