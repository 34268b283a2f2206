//! Retiring workers: what only they hold is copied elsewhere first.
//!
//! A retirement starts with the worker taking no more tasks and ends with [`Action::RetirementEnded`], either retired or
//! not because nobody can take its data. Progress comes from ticks.

use super::memory_manager::{IdMap, Pending};
use crate::effects::{Action, Effects, LogLevel, ToWorker};
use crate::ids::{Time, WorkerId};
use crate::registration::{Removal, WorkerStatus};
use crate::scheduler::Scheduler;
use crate::task::TaskId;
use protocol::{Text, Value, map};
use std::sync::Arc;

/// What becomes of a worker when its data is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AfterRetiring {
    /// Tell it to close.
    pub close: bool,
    /// Take it off the books at once, without waiting for it to go.
    pub remove: bool,
}

struct Retirement {
    previous: WorkerStatus,
    after: AfterRetiring,
    stimulus_id: Text,
    /// The policy has nothing more to move.
    settled: bool,
    /// Somebody's data could not be placed anywhere.
    stuck: bool,
}

/// The retirements under way.
#[derive(Default)]
pub(crate) struct Retirements(IdMap<WorkerId, Retirement>);

impl Retirements {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

const POLL_SECONDS: f64 = 0.01;
const SLOWEST_POLL_SECONDS: f64 = 0.5;
/// One more second between polls for each so many keys.
const KEYS_A_SECOND: f64 = 400.0;

impl Scheduler {
    /// Starts to retire workers; unknown ones are left out. Returns those that an end will be reported for.
    pub fn retire(
        &mut self,
        workers: &[WorkerId],
        after: AfterRetiring,
        stimulus_id: Text,
        now: Time,
        fx: &mut Effects,
    ) -> Vec<WorkerId> {
        self.begin(now, stimulus_id.clone());
        let mut started = Vec::new();
        for worker in workers.iter().copied() {
            if !self.workers.is_registered(worker) {
                continue;
            }
            started.push(worker);
            if let Some(running) = self.retirements.0.get_mut(&worker) {
                running.after.close |= after.close;
                running.after.remove |= after.remove;
                continue;
            }
            let own = self.workers.at_mut(worker);
            let previous = own.resuming.take().unwrap_or(own.status);
            self.stimulus = stimulus_id.clone();
            self.change_status(worker, WorkerStatus::ClosingGracefully, fx);
            self.tell_status(worker, WorkerStatus::ClosingGracefully, &stimulus_id, fx);
            let retirement = Retirement {
                previous,
                after,
                stimulus_id: stimulus_id.clone(),
                settled: false,
                stuck: false,
            };
            self.retirements.0.insert(worker, retirement);
        }
        if !started.is_empty() {
            self.run_memory_manager(fx);
        }
        self.end();
        started
    }

    fn tell_status(
        &self,
        worker: WorkerId,
        status: WorkerStatus,
        stimulus_id: &Text,
        fx: &mut Effects,
    ) {
        let stimulus_id = stimulus_id.clone();
        fx.worker(
            worker,
            ToWorker::StatusChange {
                status,
                stimulus_id,
            },
        );
    }

    pub(crate) fn run_retirements(&mut self, pending: &mut Pending) {
        for at in 0..self.retirements.0.len() {
            let Some((worker, retirement)) = self.retirements.0.get_index(at) else {
                return;
            };
            if retirement.settled {
                continue;
            }
            let (settled, stuck) = self.plan_retirement(*worker, pending);
            if let Some((_, retirement)) = self.retirements.0.get_index_mut(at) {
                retirement.settled = settled;
                retirement.stuck = stuck;
            }
        }
    }

    /// Suggests moves for one worker; whether that was all, and whether it is stuck.
    fn plan_retirement(&self, worker: WorkerId, pending: &mut Pending) -> (bool, bool) {
        let own = self.workers.at(worker);
        if !own.actors.is_empty() {
            return (true, true);
        }
        let (mut moving, mut homeless) = (0, 0);
        for task in own.has_what.iter() {
            if self.tasks[task].is_actor() || self.is_safe_without(task, worker, pending) {
                continue;
            }
            moving += 1;
            let planned = pending
                .moves
                .get(&task)
                .is_some_and(|moves| !moves.replicate.is_empty());
            if !planned && self.suggest_replica(task, pending).is_none() {
                homeless += 1;
            }
        }
        (moving == 0 || homeless > 0, homeless > 0)
    }

    /// Others hold it too: the replica here goes, or may stay until the worker does.
    fn is_safe_without(&self, task: TaskId, worker: WorkerId, pending: &mut Pending) -> bool {
        let own = &self.tasks[task];
        if own.who_has.len() < 2 {
            return false;
        }
        self.suggest_drop(task, worker, pending)
            || own
                .who_has
                .iter()
                .any(|holder| self.workers.at(holder).is_running())
    }

    /// Ends what is done.
    pub(crate) fn poll_retirements(&mut self, fx: &mut Effects) {
        let done: Vec<WorkerId> = self
            .retirements
            .0
            .iter()
            .filter(|(worker, retirement)| retirement.settled || self.holds_nothing_alone(**worker))
            .map(|(worker, _)| *worker)
            .collect();
        for worker in done {
            if let Some(retirement) = self.retirements.0.shift_remove(&worker) {
                self.end_retirement(worker, &retirement, fx);
            }
        }
        self.timers.next_retirement_poll = self.next_poll();
        if self.retirements.is_empty() {
            self.timers.next_memory_run = None;
        }
    }

    fn next_poll(&self) -> Option<Time> {
        let most = self
            .retirements
            .0
            .keys()
            .map(|worker| self.workers.at(*worker).has_what.len())
            .max()?;
        let seconds = (most as f64 / KEYS_A_SECOND).clamp(POLL_SECONDS, SLOWEST_POLL_SECONDS);
        Some(self.now.plus_seconds(seconds))
    }

    fn holds_nothing_alone(&self, worker: WorkerId) -> bool {
        let own = self.workers.at(worker);
        own.actors.is_empty()
            && own
                .has_what
                .iter()
                .all(|task| self.tasks[task].who_has.len() > 1)
    }

    fn end_retirement(&mut self, worker: WorkerId, retirement: &Retirement, fx: &mut Effects) {
        let address = Arc::clone(&self.workers.at(worker).address);
        let identity = self.worker_identity(worker, true);
        self.stimulus = retirement.stimulus_id.clone();
        if retirement.stuck {
            self.resume(worker, retirement, fx);
            self.log(
                LogLevel::Warning,
                "worker cannot be retired: nobody can take its data",
                &address,
                fx,
            );
        } else if retirement.after.remove {
            let removal = Removal {
                expected: true,
                close: retirement.after.close,
                reason: Arc::from("scheduler-remove-worker"),
                stimulus_id: retirement.stimulus_id.clone(),
            };
            self.part_with(worker, &removal, fx);
        } else if retirement.after.close {
            fx.worker(
                worker,
                ToWorker::Close {
                    reason: Arc::from("scheduler-close-worker"),
                },
            );
        }
        self.report_retirement(worker, address, !retirement.stuck, identity, fx);
    }

    /// The worker goes on as before, unless it has announced something else meanwhile.
    fn resume(&mut self, worker: WorkerId, retirement: &Retirement, fx: &mut Effects) {
        if self.workers.at(worker).status != WorkerStatus::ClosingGracefully {
            return;
        }
        let status = match retirement.previous {
            WorkerStatus::Init => WorkerStatus::Running,
            previous => previous,
        };
        self.workers.at_mut(worker).resuming = Some(status);
        self.tell_status(worker, status, &retirement.stimulus_id, fx);
    }

    fn report_retirement(
        &mut self,
        worker: WorkerId,
        address: Arc<str>,
        retired: bool,
        identity: Value,
        fx: &mut Effects,
    ) {
        let list = |yes: bool| match yes {
            true => Value::Array(vec![Value::from(&*address)]),
            false => Value::Array(Vec::new()),
        };
        let event = map! {
            "action" => "retire-workers",
            "retired" => list(retired),
            "could-not-retire" => list(!retired),
            "stimulus_id" => self.stimulus.clone(),
        };
        self.publish_event("all", &event, fx);
        let action = if retired {
            "retired"
        } else {
            "could-not-retire"
        };
        let event = map! {"action" => action, "stimulus_id" => self.stimulus.clone()};
        self.publish_event(&address, &event, fx);
        fx.action(Action::RetirementEnded {
            worker,
            address,
            retired,
            identity,
        });
    }

    /// The worker has gone before its retirement was over.
    pub(crate) fn retirement_lost(&mut self, worker: WorkerId, fx: &mut Effects) {
        if self.retirements.0.shift_remove(&worker).is_some() {
            let address = Arc::clone(&self.workers.at(worker).address);
            let identity = self.worker_identity(worker, true);
            self.report_retirement(worker, address, true, identity, fx);
        }
    }
}
