//! The only reader of the clock in this program.

#![expect(clippy::disallowed_methods, reason = "this is the module that may")]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// For measuring durations.
pub fn now() -> Instant {
    Instant::now()
}

/// Seconds since 1970, as Dask stamps its messages.
pub fn unix_seconds() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |elapsed| elapsed.as_secs_f64())
}
