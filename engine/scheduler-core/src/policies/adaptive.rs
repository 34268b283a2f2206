//! How many workers the work at hand asks for, and which could go.

use crate::ids::WorkerId;
use crate::scheduler::Scheduler;
use crate::worker::Worker;
use protocol::Value;

/// So many waiting tasks are looked at; the others are taken to be like them.
const SAMPLE: usize = 100;
/// More workers are asked for beyond this share of memory in use.
const MEMORY_IN_USE: f64 = 0.6;

/// What `workers_to_close` is asked.
#[derive(Clone, Debug, Default)]
pub struct CloseRequest {
    pub memory_ratio: Option<f64>,
    /// How many to close.
    pub count: Option<i64>,
    /// How many to keep at least.
    pub minimum: Option<i64>,
    /// How many to have afterwards.
    pub target: Option<i64>,
    /// Workers close together by this: same value, same group. Empty: each for itself.
    pub groups: Vec<(WorkerId, Value)>,
    /// Workers that must not go, such as those taking part in a shuffle.
    pub keep: Vec<WorkerId>,
}

struct ClosingGroup {
    workers: Vec<WorkerId>,
    busy: bool,
    nbytes: u64,
    limit: u64,
}

impl Scheduler {
    /// How many workers there should be.
    pub fn adaptive_target(&self, target_duration_seconds: Option<f64>) -> u64 {
        let seconds = target_duration_seconds.unwrap_or(self.config.adaptive_target_duration);
        let count = self.workers.len() as u64;
        let target = self
            .workers_for_work(seconds)
            .max(self.workers_for_memory());
        if target >= count {
            return target;
        }
        count - self.workers_to_close(&CloseRequest::default()).len() as u64
    }

    fn workers_for_work(&self, seconds: f64) -> u64 {
        let waiting = self.queued.iter().map(|place| place.task);
        let unrunnable = self.unrunnable.values().map(|(task, _)| *task);
        let mut ahead: f64 = waiting
            .chain(unrunnable)
            .take(SAMPLE)
            .map(|task| self.duration_of(self.groups.prefix_of(self.tasks[task].group)))
            .sum();
        let ready = self.queued.len() + self.unrunnable.len();
        if ready > SAMPLE {
            ahead *= ready as f64 / SAMPLE as f64;
        }
        let mut cores = ((self.total_occupancy() + ahead) / seconds).ceil() as u64;
        // A few long tasks cannot use many cores.
        let processing: usize = self
            .workers
            .iter()
            .map(|worker| worker.processing.len())
            .sum();
        cores = cores.min((ready + processing) as u64);
        if self.workers.is_empty() {
            return if ready > 0 { cores.max(1) } else { cores };
        }
        let share = cores as f64 / self.workers.total_nthreads as f64;
        (share * self.workers.len() as f64).ceil() as u64
    }

    fn workers_for_memory(&self) -> u64 {
        let used: u64 = self.workers.iter().map(|worker| worker.nbytes).sum();
        let limit = self.workers.total_memory;
        if limit > 0 && used as f64 > MEMORY_IN_USE * limit as f64 {
            2 * self.workers.len() as u64
        } else {
            0
        }
    }

    /// Workers that can go at little cost: without work, and with little data compared to their peers.
    pub fn workers_to_close(&self, request: &CloseRequest) -> Vec<WorkerId> {
        let total = self.workers.len() as i64;
        let count = request
            .count
            .or(request.target.map(|target| total - target))
            .map(|count| count.max(0));
        let keep = count.map_or(0, |count| total - count);
        let ratio = match (count, request.memory_ratio) {
            (None, None) => Some(2.0),
            (_, ratio) => ratio,
        };
        let all_busy = self
            .workers
            .iter()
            .all(|worker| !worker.processing.is_empty());
        if count.unwrap_or(0) == 0 && all_busy {
            return Vec::new();
        }
        let mut groups = self.closing_groups(request);
        let mut limit: u64 = groups.iter().map(|group| group.limit).sum();
        let nbytes: u64 = groups.iter().map(|group| group.nbytes).sum();
        groups.sort_by_key(|group| (!group.busy, std::cmp::Reverse(group.nbytes)));
        let (mut closing, mut left) = (Vec::new(), total);
        while let Some(group) = groups.pop() {
            let size = group.workers.len() as i64;
            let too_few = request
                .minimum
                .is_some_and(|minimum| minimum > 0 && left - size < minimum);
            if (count.is_none() && group.busy) || too_few {
                break;
            }
            limit = limit.saturating_sub(group.limit);
            let by_count = count.is_some() && left - size >= keep;
            let by_memory = ratio.is_some_and(|ratio| limit as f64 >= ratio * nbytes as f64);
            if !by_count && !by_memory {
                break;
            }
            left -= size;
            closing.extend(group.workers);
        }
        closing
    }

    fn closing_groups(&self, request: &CloseRequest) -> Vec<ClosingGroup> {
        let mut groups: Vec<(Option<&Value>, ClosingGroup)> = Vec::new();
        for worker in self.workers.iter() {
            if worker.long_running > 0 || request.keep.contains(&worker.id) {
                continue;
            }
            let name = request
                .groups
                .iter()
                .find(|(id, _)| *id == worker.id)
                .map(|(_, name)| name);
            let known = groups
                .iter_mut()
                .find(|(own, _)| name.is_some() && *own == name);
            match known {
                Some((_, group)) => group.add(worker),
                None => {
                    let mut group = ClosingGroup {
                        workers: Vec::new(),
                        busy: false,
                        nbytes: 0,
                        limit: 0,
                    };
                    group.add(worker);
                    groups.push((name, group));
                }
            }
        }
        groups.into_iter().map(|(_, group)| group).collect()
    }
}

impl ClosingGroup {
    fn add(&mut self, worker: &Worker) {
        self.workers.push(worker.id);
        self.busy |= !worker.processing.is_empty();
        self.nbytes += worker.nbytes;
        self.limit += worker.memory_limit;
    }
}
