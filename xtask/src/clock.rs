//! The only place of this program that reads a clock: how long steps take.

use std::time::{Duration, Instant};

pub struct Stopwatch(Instant);

#[expect(
    clippy::disallowed_methods,
    reason = "this is the clock module everyone else must use"
)]
pub fn start() -> Stopwatch {
    Stopwatch(Instant::now())
}

impl Stopwatch {
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
