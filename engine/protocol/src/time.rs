//! Moments and spans as the cores see them; on the wire they are seconds.

use crate::Text;
use std::fmt::Write as _;

/// Nanoseconds since the Unix epoch; always an input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

const NANOS_A_SECOND: f64 = 1e9;

impl Time {
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// From seconds since the epoch, as Python's `time()` gives them.
    pub fn from_seconds(seconds: f64) -> Self {
        Self((seconds * NANOS_A_SECOND) as u64)
    }

    /// Seconds since the epoch, as Python's `time()` gives them.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / NANOS_A_SECOND
    }

    /// Seconds from `earlier` to `self`; zero if the clock went back.
    pub fn seconds_since(self, earlier: Self) -> f64 {
        self.0.saturating_sub(earlier.0) as f64 / NANOS_A_SECOND
    }

    /// `name-<seconds>`, as stock Dask calls its own events.
    pub fn stamp(self, name: &str) -> Text {
        let mut text = String::with_capacity(name.len() + 20);
        let micros = self.0 / 1000;
        // Writing to a String cannot fail.
        let _infallible = write!(
            text,
            "{name}-{}.{:06}",
            micros / 1_000_000,
            micros % 1_000_000
        );
        Text::from(text)
    }

    /// This moment and `seconds` more.
    pub fn plus_seconds(self, seconds: f64) -> Self {
        Self(self.0.saturating_add((seconds * NANOS_A_SECOND) as u64))
    }
}
