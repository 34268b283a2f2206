//! Things that happen: what peers say, who joins and leaves, graphs that arrive.
//!
//! Each public function is one event: it begins by naming the event, ends with no recommendation open and, where slots
//! may have opened, with the queue served.

mod cancel;
mod client_stream;
mod data;
mod graph;
mod heartbeat;
mod joining;
mod leaving;
mod restart;
mod wishes;
mod worker_stream;

pub use heartbeat::heartbeat_interval;
