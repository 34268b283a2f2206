//! Virtual time: what happens next, and streams that deliver in order but late.

use scheduler_core::Time;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

const NANOS_A_MS: u64 = 1_000_000;

/// Events by time, then by the order in which they were added.
pub struct Timeline<E> {
    pub now: Time,
    queue: BinaryHeap<Reverse<(Time, u64)>>,
    events: BTreeMap<u64, E>,
    added: u64,
    /// When each stream's last message arrives.
    streams: BTreeMap<u64, Time>,
}

impl<E> Timeline<E> {
    pub fn new() -> Self {
        Self {
            now: Time(1_700_000_000_000_000_000),
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            added: 0,
            streams: BTreeMap::new(),
        }
    }

    pub fn at(&mut self, when: Time, event: E) {
        self.queue.push(Reverse((when.max(self.now), self.added)));
        self.events.insert(self.added, event);
        self.added += 1;
    }

    pub fn after_ms(&mut self, ms: u64, event: E) {
        self.at(Time(self.now.0 + ms * NANOS_A_MS), event);
    }

    /// Delivers after what was sent on the same stream before.
    pub fn on_stream(&mut self, stream: u64, latency_ms: u64, event: E) {
        let earliest = Time(self.now.0 + latency_ms * NANOS_A_MS);
        let last = self.streams.get(&stream).copied().unwrap_or_default();
        let when = earliest.max(last);
        self.streams.insert(stream, when);
        self.at(when, event);
    }

    pub fn next(&mut self) -> Option<E> {
        let Reverse((when, number)) = self.queue.pop()?;
        self.now = when;
        self.events.remove(&number)
    }

    pub fn ms_since_start(&self) -> u64 {
        (self.now.0 - 1_700_000_000_000_000_000) / NANOS_A_MS
    }
}
