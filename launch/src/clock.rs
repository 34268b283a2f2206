//! The only place of the launcher that reads the clock.

use std::time::Instant;

/// A point in time that only goes forward.
#[expect(clippy::disallowed_methods, reason = "this is the program's clock")]
pub fn now() -> Instant {
    Instant::now()
}
