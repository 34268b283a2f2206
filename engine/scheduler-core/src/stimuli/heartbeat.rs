//! What workers report about themselves every now and then.

use crate::heartbeat::{Heartbeat, HeartbeatAnswer};
use crate::ids::{Time, WorkerId};
use crate::scheduler::Scheduler;
use protocol::{Key, Value};
use std::sync::Arc;

/// How often workers report, in seconds: never more than 200 reports a second together.
pub fn heartbeat_interval(workers: usize) -> f64 {
    match workers {
        0..=10 => 0.5,
        11..50 => 1.0,
        50..200 => 2.0,
        _ => workers as f64 / 200.0 + 1.0,
    }
}

impl Scheduler {
    /// One report. It comes on another connection than the stream, maybe after the worker is gone.
    pub fn heartbeat(&mut self, address: &str, h: Heartbeat, now: Time) -> HeartbeatAnswer {
        self.now = self.now.max(now);
        let Some(worker) = self.workers.find(address) else {
            return HeartbeatAnswer::Missing;
        };
        self.note_executing(worker, &h.executing);
        self.read_heartbeat(worker, h.metrics, h.now_seconds);
        self.note_host(worker, h.host_info);
        HeartbeatAnswer::Known {
            interval: heartbeat_interval(self.workers.len()),
        }
    }

    /// A task that runs far longer than its kind used to makes the average unbelievable.
    fn note_executing(&mut self, worker: WorkerId, executing: &[(Key, f64)]) {
        let mut known = Vec::with_capacity(executing.len());
        for (key, seconds) in executing {
            let Some(task) = self.tasks.find(key) else {
                continue;
            };
            known.push((key.clone(), *seconds));
            if !seconds.is_finite() {
                continue;
            }
            let prefix = self.groups.prefix_of(self.tasks[task].group);
            let own = self.groups.prefix_mut(prefix);
            own.max_exec_time = own.max_exec_time.max(*seconds);
            if *seconds > 2.0 * own.duration_average {
                own.duration_average = -1.0;
            }
        }
        self.workers.at_mut(worker).executing = known;
    }

    pub(crate) fn read_heartbeat(&mut self, worker: WorkerId, metrics: Value, sent_seconds: f64) {
        let share = 1.0 / self.workers.len().max(1) as f64;
        let measured = metrics
            .get("bandwidth")
            .and_then(|own| own.get("total"))
            .and_then(Value::as_f64);
        if let Some(measured) = measured.filter(|bytes| *bytes > 0.0 && bytes.is_finite()) {
            self.bandwidth = self.bandwidth * (1.0 - share) + measured * share;
        }
        self.add_digests(&metrics);
        let now = self.now;
        let horizon_seconds = self.config.memory_recent_to_old_time;
        let own = self.workers.at_mut(worker);
        own.last_seen = now;
        own.restart_asked = None;
        if sent_seconds > 0.0 {
            own.time_delay = now.seconds() - sent_seconds;
        }
        let spilled = metrics.get("spilled_bytes");
        let read =
            |map: Option<&Value>, field| map.and_then(|map| map.get(field)).and_then(Value::as_u64);
        own.memory.process = read(Some(&metrics), "memory").unwrap_or(0);
        own.memory.spilled_memory = read(spilled, "memory").unwrap_or(0);
        own.memory.spilled_disk = read(spilled, "disk").unwrap_or(0);
        own.note_unmanaged(now, horizon_seconds);
        own.metrics = metrics.detached();
    }

    fn add_digests(&mut self, metrics: &Value) {
        let digests = metrics
            .get("digests_total_since_heartbeat")
            .and_then(Value::as_map);
        for (name, value) in digests.unwrap_or_default() {
            if let (Ok(name), Some(value)) = (Key::try_from(name), value.as_f64()) {
                *self.counters.worker_metrics.entry(name).or_insert(0.0) += value;
            }
        }
    }

    fn note_host(&mut self, worker: WorkerId, info: Value) {
        let (now, host) = (self.now, Arc::clone(&self.workers.at(worker).host));
        if let Some(own) = self.workers.hosts.get_mut(&host) {
            own.last_seen = now;
            if info.as_map().is_some_and(|entries| !entries.is_empty()) {
                own.info = info.detached();
            }
        }
    }
}

impl crate::worker::Worker {
    /// Memory that tasks' results do not explain, and the least of it in the recent past.
    fn note_unmanaged(&mut self, now: Time, horizon_seconds: f64) {
        let memory = &mut self.memory;
        let mut least = memory.unmanaged_old;
        while let Some((at, size)) = memory.unmanaged_history.front().copied() {
            if now.seconds_since(at) <= horizon_seconds {
                break;
            }
            memory.unmanaged_history.pop_front();
            if size == least {
                least = 0;
            }
        }
        let size = (memory.process + memory.spilled_memory).saturating_sub(self.nbytes);
        memory.unmanaged_history.push_back((now, size));
        if least == 0 {
            let sizes = memory.unmanaged_history.iter().map(|(_, size)| *size);
            memory.unmanaged_old = sizes.min().unwrap_or(0);
        } else if size < least {
            memory.unmanaged_old = size;
        }
    }
}
