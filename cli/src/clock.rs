//! The only place of this program that reads the clock.

use contract::timestamp::Timestamp;
use std::time::{Duration, Instant, SystemTime};

/// A point in time that only goes forward.
#[expect(clippy::disallowed_methods, reason = "this is the program's clock")]
pub fn monotonic() -> Instant {
    Instant::now()
}

/// The time of day, as the status shows it.
#[expect(clippy::disallowed_methods, reason = "this is the program's clock")]
pub fn now() -> Timestamp {
    let since_1970 = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    Timestamp::from_unix_seconds(since_1970.as_secs())
}
