//! How busy workers are: expected seconds of work and transfer, and who counts as idle or saturated.
//!
//! Counts per prefix make this independent of the number of tasks.

use crate::group::PrefixId;
use crate::ids::WorkerId;
use crate::scheduler::Scheduler;
use crate::task::TaskId;
use crate::worker::Worker;

impl Scheduler {
    /// Expected seconds a task of this prefix computes.
    pub(crate) fn duration_of(&self, prefix: PrefixId) -> f64 {
        let own = self.groups.prefix(prefix);
        if own.duration_average >= 0.0 {
            own.duration_average
        } else if own.max_exec_time > 0.0 {
            2.0 * own.max_exec_time
        } else {
            self.config.unknown_task_duration
        }
    }

    /// Seconds of work and transfer ahead of a worker.
    pub(crate) fn occupancy(&self, worker: &Worker) -> f64 {
        let work: f64 = worker
            .prefix_count
            .iter()
            .map(|(prefix, count)| self.duration_of(*prefix) * f64::from(*count))
            .sum();
        work + worker.network_nbytes as f64 / self.bandwidth
    }

    /// The same for all workers together.
    pub(crate) fn total_occupancy(&self) -> f64 {
        let work: f64 = self
            .active_prefixes
            .iter()
            .map(|prefix| {
                self.duration_of(*prefix) * f64::from(self.groups.prefix(*prefix).processing)
            })
            .sum();
        work + self.network_nbytes as f64 / self.bandwidth
    }

    pub(crate) fn count_active(&mut self, prefix: PrefixId) {
        let own = self.groups.prefix_mut(prefix);
        own.processing += 1;
        if own.processing == 1 {
            self.active_prefixes.push(prefix);
        }
    }

    pub(crate) fn uncount_active(&mut self, prefix: PrefixId) {
        let own = self.groups.prefix_mut(prefix);
        own.processing -= 1;
        if own.processing == 0 {
            self.active_prefixes.retain(|other| *other != prefix);
        }
    }

    /// Sorts the worker in or out of idle, saturated and with free slots.
    pub(crate) fn check_idle_saturated(&mut self, worker: WorkerId) {
        if self.workers.total_nthreads == 0 || !self.workers.is_registered(worker) {
            return;
        }
        let own = self.workers.at(worker);
        let (rank, running) = (own.rank, own.is_running());
        let free = running && !own.is_full(self.config.worker_saturation);
        let (idle, saturated) = if running {
            self.load_of(own)
        } else {
            (false, false)
        };
        self.workers.idle.put(rank, idle);
        self.workers.saturated.put(rank, saturated);
        self.workers.with_slots.put(rank, free);
    }

    /// Whether a running worker is idle, and whether it is saturated.
    fn load_of(&self, worker: &Worker) -> (bool, bool) {
        let processing = worker.processing.len() as f64;
        let threads = f64::from(worker.nthreads);
        if processing < threads {
            return (true, false);
        }
        let occupancy = self.occupancy(worker);
        let fair_share = self.total_occupancy() / self.workers.total_nthreads as f64;
        if occupancy < threads * fair_share / 2.0 {
            return (true, false);
        }
        let pending = occupancy * (processing - threads) / (processing * threads);
        (
            false,
            processing > threads && pending > 0.4 && pending > 1.9 * fair_share,
        )
    }

    pub(crate) fn acquire_resources(&mut self, task: TaskId, worker: WorkerId) {
        self.use_resources(task, worker, 1.0);
    }

    pub(crate) fn release_resources(&mut self, task: TaskId, worker: WorkerId) {
        self.use_resources(task, worker, -1.0);
    }

    fn use_resources(&mut self, task: TaskId, worker: WorkerId, sign: f64) {
        let Some(resources) = self.tasks[task].resources().cloned() else {
            return;
        };
        let used = &mut self.workers.at_mut(worker).used_resources;
        for (name, amount) in resources.iter() {
            match used.iter_mut().find(|(own, _)| own == name) {
                Some((_, total)) => *total += sign * amount,
                None => used.push((name.clone(), sign * amount)),
            }
        }
    }
}
