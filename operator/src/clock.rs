//! The only place of this program that reads a clock.
//!
//! What is stored in a status is wall-clock time, because another operator goes on from it. Tests drive the same code
//! with the runtime's own clock, which they can stop.

use plan::life::Time;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Tells the time of day.
#[derive(Debug, Clone, Copy)]
pub enum Clock {
    System,
    /// Starts at a time of day and goes on as the runtime's clock does.
    Runtime {
        start: Time,
        since: Instant,
    },
}

impl Clock {
    pub fn runtime(start: Time) -> Self {
        Clock::Runtime {
            start,
            since: instant(),
        }
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock module everyone else must use"
    )]
    pub fn now(&self) -> Time {
        match self {
            Clock::System => Time(
                SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .map_or(0, |since| since.as_secs()),
            ),
            Clock::Runtime { start, since } => start.plus(since.elapsed().as_secs()),
        }
    }

    /// How long until then; zero when it has passed.
    pub fn until(&self, at: Time) -> Duration {
        Duration::from_secs(at.since(self.now()))
    }
}

/// A point on the runtime's clock, to measure with.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the clock module everyone else must use"
)]
pub fn instant() -> Instant {
    Instant::now()
}
