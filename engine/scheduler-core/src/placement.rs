//! Which worker a runnable task goes to.
//!
//! Ties are broken by order of address, where stock Dask leaves them to chance.

use crate::ids::WorkerId;
use crate::scheduler::Scheduler;
use crate::task::{Flags, Phase, TaskId};
use crate::worker::Worker;
use smallvec::SmallVec;

/// Where to go with a runnable task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    Worker(WorkerId),
    /// Wait until a worker has a free slot.
    Queue,
    /// Wait until there is a worker that suits.
    NoWorker,
}

/// Workers in order of address.
pub(crate) type Candidates = SmallVec<[WorkerId; 16]>;

/// Above this many workers, roots are dealt out in turn without looking.
const FEW_WORKERS: usize = 20;

impl Scheduler {
    pub(crate) fn choose_worker(&mut self, task: TaskId) -> Choice {
        if !self.is_rootish(task) {
            return self
                .choose_by_need(task)
                .map_or(Choice::NoWorker, Choice::Worker);
        }
        if self.may_queue(task) {
            self.choose_for_queued()
                .map_or(Choice::Queue, Choice::Worker)
        } else {
            self.choose_with_siblings(task)
                .map_or(Choice::NoWorker, Choice::Worker)
        }
    }

    fn may_queue(&self, task: TaskId) -> bool {
        self.config.worker_saturation.is_finite() && !self.tasks[task].has(Flags::UNQUEUEABLE)
    }

    /// Whether the task is one of many that need next to nothing.
    pub(crate) fn is_rootish(&self, task: TaskId) -> bool {
        let own = &self.tasks[task];
        if own.is_restricted() {
            return false;
        }
        if own.has(Flags::DATA_PRODUCER) && own.run_spec.is_some() {
            return true;
        }
        let group = self.groups.group(own.group);
        if u64::from(group.size) <= self.workers.total_nthreads * 2
            || group.dependencies.len() >= self.config.rootish_taskgroup
        {
            return false;
        }
        let inputs: usize = group
            .dependencies
            .iter()
            .map(|on| self.groups.group(on).size as usize)
            .sum();
        inputs < self.config.rootish_taskgroup_dependencies
    }

    /// The least busy worker with a free slot.
    pub(crate) fn choose_for_queued(&self) -> Option<WorkerId> {
        let load = |worker: &Worker| worker.processing.len() as f64 / f64::from(worker.nthreads);
        let mut best: Option<(f64, WorkerId)> = None;
        for worker in self.workers.in_set(&self.workers.with_slots) {
            let own = load(worker);
            if own == 0.0 {
                return Some(worker.id);
            }
            if best.is_none_or(|(least, _)| own < least) {
                best = Some((own, worker.id));
            }
        }
        best.map(|(_, worker)| worker)
    }

    /// Keeps siblings together: the worker that took the last one of the group, until it has its share.
    fn choose_with_siblings(&mut self, task: TaskId) -> Option<WorkerId> {
        let pool = if self.workers.idle.is_empty() {
            &self.workers.running
        } else {
            &self.workers.idle
        };
        let pool: Candidates = self.workers.in_set(pool).map(|worker| worker.id).collect();
        if pool.is_empty() {
            return None;
        }
        let id = self.tasks[task].group;
        let group = self.groups.group(id);
        let last = group.last_worker.filter(|last| {
            group.last_worker_tasks_left != 0
                && self.workers.is_registered(*last)
                && self.workers.at(*last).is_running()
        });
        let (size, mut left) = (group.size, group.last_worker_tasks_left);
        let to_come = group.states[Phase::Released.index()] + group.states[Phase::Waiting.index()];
        let worker = match last {
            Some(worker) => worker,
            None => {
                let worker = self.least_objective(task, &pool)?;
                let share = f64::from(size) / self.workers.total_nthreads as f64;
                left = (share * f64::from(self.workers.at(worker).nthreads)).floor() as i64;
                worker
            }
        };
        let group = self.groups.group_mut(id);
        group.last_worker = (to_come > 1).then_some(worker);
        group.last_worker_tasks_left = left - 1;
        Some(worker)
    }

    /// The worker where the task is expected to start first, among those that may run it.
    pub(crate) fn choose_by_need(&mut self, task: TaskId) -> Option<WorkerId> {
        if self.workers.running.is_empty() {
            return None;
        }
        let mut valid = self.valid_workers(task);
        if valid.is_none() && self.workers.running.len() < self.workers.len() {
            valid = Some(self.running_workers());
        }
        if self.tasks[task].dependencies.is_empty() && valid.is_none() {
            return self.deal_out();
        }
        self.choose_among(task, valid)
    }

    fn running_workers(&self) -> Candidates {
        self.workers
            .in_set(&self.workers.running)
            .map(|worker| worker.id)
            .collect()
    }

    fn choose_among(&mut self, task: TaskId, valid: Option<Candidates>) -> Option<WorkerId> {
        let mut candidates = if self.tasks[task].is_actor() {
            self.running_workers()
        } else {
            self.holders_of_inputs(task)
        };
        match valid {
            None if candidates.is_empty() => candidates = self.running_workers(),
            None => {}
            Some(valid) => {
                candidates.retain(|worker| valid.contains(worker));
                if candidates.is_empty() {
                    candidates = valid;
                }
                let loose = self.tasks[task]
                    .rare
                    .as_ref()
                    .is_some_and(|rare| rare.loose_restrictions);
                if candidates.is_empty() && loose {
                    return self.choose_among(task, None);
                }
            }
        }
        match candidates.as_slice() {
            [] => None,
            [only] => Some(*only),
            several => self.least_objective(task, several),
        }
    }

    /// Running workers that hold any input, in order of address.
    fn holders_of_inputs(&mut self, task: TaskId) -> Candidates {
        let round = self.next_round();
        let mut holders = Candidates::new();
        for dependency in self.tasks[task].dependencies.iter() {
            for holder in self.tasks[dependency].who_has.iter() {
                let mark = &mut self.scratch[holder.0 as usize];
                if mark.0 != round {
                    mark.0 = round;
                    if self.workers.at(holder).is_running() {
                        holders.push(holder);
                    }
                }
            }
        }
        holders.sort_by_key(|holder| self.workers.at(*holder).rank);
        holders
    }

    /// A fresh mark for `scratch`, which has one place for each worker there ever was.
    fn next_round(&mut self) -> u64 {
        self.scratch_round += 1;
        let places = self.workers.next_id().0 as usize;
        if self.scratch.len() < places {
            self.scratch.resize(places, (0, 0));
        }
        self.scratch_round
    }

    fn least_objective(&mut self, task: TaskId, candidates: &[WorkerId]) -> Option<WorkerId> {
        let total = self.weigh_inputs(task);
        let round = self.scratch_round;
        let is_actor = self.tasks[task].is_actor();
        let mut best: Option<((usize, f64, u64), WorkerId)> = None;
        for id in candidates {
            let worker = self.workers.at(*id);
            let local = match self.scratch[id.0 as usize] {
                (mark, bytes) if mark == round => bytes,
                _ => 0,
            };
            let stack = self.occupancy(worker) / f64::from(worker.nthreads);
            let start = stack + total.saturating_sub(local) as f64 / self.bandwidth;
            let actors = if is_actor { worker.actors.len() } else { 0 };
            let objective = (actors, start, worker.nbytes);
            if best.is_none_or(|(least, _)| objective < least) {
                best = Some((objective, *id));
            }
        }
        best.map(|(_, worker)| worker)
    }

    /// Bytes of all inputs; `scratch` then says how many of them each holder has.
    fn weigh_inputs(&mut self, task: TaskId) -> u64 {
        let round = self.next_round();
        let mut total = 0;
        for dependency in self.tasks[task].dependencies.iter() {
            let nbytes = match self.tasks[dependency].nbytes {
                crate::task::UNKNOWN_SIZE => self.config.default_data_size,
                known => known,
            };
            total += nbytes;
            for holder in self.tasks[dependency].who_has.iter() {
                let place = &mut self.scratch[holder.0 as usize];
                if place.0 != round {
                    *place = (round, 0);
                }
                place.1 += nbytes;
            }
        }
        total
    }

    /// For a task without inputs or restrictions, while all workers are running.
    fn deal_out(&self) -> Option<WorkerId> {
        let idle: Candidates = self
            .workers
            .in_set(&self.workers.idle)
            .take(FEW_WORKERS)
            .map(|worker| worker.id)
            .collect();
        let (count, from_idle) = match self.workers.idle.len() {
            0 => (self.workers.len(), false),
            idle => (idle, true),
        };
        let turn = (self.n_tasks % count as u64) as usize;
        if count >= FEW_WORKERS {
            return if from_idle {
                self.workers
                    .idle
                    .nth(turn)
                    .map(|rank| self.workers.of_rank(rank))
            } else {
                self.workers.ids().get(turn).copied()
            };
        }
        let pool = if from_idle {
            idle.as_slice()
        } else {
            self.workers.ids()
        };
        self.least_occupied(pool, turn)
    }

    /// The least occupied; those without any work take turns.
    fn least_occupied(&self, pool: &[WorkerId], turn: usize) -> Option<WorkerId> {
        let load = |id: WorkerId| self.occupancy(self.workers.at(id));
        let mut best: Option<(f64, WorkerId)> = None;
        for id in pool {
            let own = load(*id);
            if best.is_none_or(|(least, _)| own < least) {
                best = Some((own, *id));
            }
        }
        let (least, worker) = best?;
        if least > 0.0 {
            return Some(worker);
        }
        let in_turn = (0..pool.len()).map(|step| pool[(turn + step) % pool.len()]);
        in_turn
            .into_iter()
            .find(|id| load(*id) == 0.0)
            .or(Some(worker))
    }

    /// Gives queued tasks to workers while there are both.
    pub(crate) fn fill_slots(&mut self, fx: &mut crate::effects::Effects) {
        if self.queued.is_empty() || !self.config.worker_saturation.is_finite() {
            return;
        }
        let saturation = self.config.worker_saturation;
        let slots: i64 = self
            .workers
            .in_set(&self.workers.with_slots)
            .map(|worker| worker.free_slots(saturation))
            .sum();
        for _ in 0..slots {
            let Some(first) = self.queued.first() else {
                return;
            };
            let task = first.task;
            self.settle_one(task, Phase::Processing, fx);
        }
    }
}
