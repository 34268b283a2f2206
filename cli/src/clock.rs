//! The time, as a local run tells it.

use contract::timestamp::Timestamp;
pub use terminal::clock::monotonic;

/// The time of day, as the status shows it.
pub fn now() -> Timestamp {
    Timestamp::from_unix_seconds(terminal::clock::now_seconds())
}
