//! The newest log lines of this process, kept in memory so that a client can ask for them (`get_scheduler_logs`).
//!
//! A bounded ring behind a lock that is held for one push or one copy. It has what the log's filter lets through, and all of
//! `info` even where that is not shown.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// One line of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// Since the Unix epoch.
    pub seconds: f64,
    /// As Python's logging names levels.
    pub level: &'static str,
    pub message: String,
}

/// How many lines are kept unless told otherwise; `distributed.admin.log-length`.
const DEFAULT_LENGTH: usize = 10_000;

static RING: Ring = Ring::new();

/// The lines kept so far, newest first.
pub fn newest() -> Vec<Record> {
    RING.lock().records.iter().rev().cloned().collect()
}

/// Keeps at most `length` lines from now on.
pub fn keep(length: usize) {
    let mut lines = RING.lock();
    lines.length = length;
    let surplus = lines.records.len().saturating_sub(length);
    lines.records.drain(..surplus);
}

struct Ring(Mutex<Lines>);

struct Lines {
    records: VecDeque<Record>,
    length: usize,
}

impl Ring {
    const fn new() -> Self {
        Self(Mutex::new(Lines {
            records: VecDeque::new(),
            length: DEFAULT_LENGTH,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, record: Record) {
        let mut lines = self.lock();
        if lines.length == 0 {
            return;
        }
        if lines.records.len() >= lines.length {
            lines.records.pop_front();
        }
        lines.records.push_back(record);
    }
}

/// The part of the subscriber that fills the ring.
pub(crate) struct Recorder;

impl<S: Subscriber> Layer<S> for Recorder {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        RING.push(Record {
            seconds: seconds(),
            level: level_name(*event.metadata().level()),
            message: format!(
                "{} - {}{}",
                event.metadata().target(),
                line.message,
                line.fields
            ),
        });
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a log line carries the time at which it was written"
)]
fn seconds() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64())
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        Level::DEBUG | Level::TRACE => "DEBUG",
    }
}

/// An event's message, and its fields as ` name=value`.
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a String cannot fail.
        let _infallible = if field.name() == "message" {
            write!(self.message, "{value:?}")
        } else {
            write!(self.fields, " {}={value:?}", field.name())
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    #[test]
    fn the_newest_lines_are_kept_with_their_fields() {
        keep(2);
        let subscriber = tracing_subscriber::registry().with(Recorder);
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("first");
            tracing::warn!(worker = "a", "second");
            tracing::error!(count = 3, "third");
        });
        let lines = newest();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].level, "ERROR");
        assert!(
            lines[0].message.ends_with(" - third count=3"),
            "{}",
            lines[0].message
        );
        assert!(
            lines[1].message.ends_with(" - second worker=\"a\""),
            "{}",
            lines[1].message
        );
    }
}
