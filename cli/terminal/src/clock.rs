//! The only place of `daskjob`'s commands that reads the clock.

use std::time::{Duration, Instant, SystemTime};

/// A point in time that only goes forward.
#[expect(clippy::disallowed_methods, reason = "this is the commands' clock")]
pub fn monotonic() -> Instant {
    Instant::now()
}

/// The time of day, in seconds since 1970-01-01T00:00:00Z.
#[expect(clippy::disallowed_methods, reason = "this is the commands' clock")]
pub fn now_seconds() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO)
        .as_secs()
}
