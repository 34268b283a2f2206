//! The only place of this program that reads a clock.
//!
//! Time is handed to the core as an input, so that a run can be replayed. It follows the wall clock at start-up and a
//! monotonic clock from then on: it never goes backwards and a stepped wall clock fires no timeout.

use protocol::Time;
use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

static START: OnceLock<(Time, Instant)> = OnceLock::new();

/// Nanoseconds since the Unix epoch.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the clock module everyone else must use"
)]
pub fn now() -> Time {
    let (start, instant) = START.get_or_init(|| {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_nanos() as u64);
        (Time(wall), Instant::now())
    });
    Time(start.0 + instant.elapsed().as_nanos() as u64)
}
