//! What time alone brings about: silent workers, an idle scheduler, tasks without workers for too long.

use crate::config::Config;
use crate::effects::{Action, Effects, LogLevel};
use crate::error::TaskError;
use crate::ids::{Time, WorkerId};
use crate::pickles;
use crate::registration::Removal;
use crate::scheduler::Scheduler;
use crate::stimuli::heartbeat_interval;
use crate::task::{Blame, TaskId};
use crate::transitions::Fault;
use protocol::{Value, map};
use std::sync::Arc;

/// How often idleness and tasks without workers are looked at, in seconds.
const WATCH_SECONDS: f64 = 0.25;
/// A worker may miss this many reports.
const MISSED_REPORTS: f64 = 10.0;

pub(crate) struct Timers {
    next_ttl_check: Option<Time>,
    next_watch: Option<Time>,
    pub next_memory_run: Option<Time>,
    pub next_retirement_poll: Option<Time>,
    pub idle_since: Option<Time>,
    transitions_when_idle: u64,
    /// Since when tasks have waited while no worker was running.
    no_workers_since: Option<Time>,
    closing: bool,
}

impl Timers {
    pub fn new(config: &Config, now: Time) -> Self {
        let watched = config.idle_timeout.is_some() || config.no_workers_timeout.is_some();
        Self {
            next_ttl_check: config.worker_ttl.map(|ttl| now.plus_seconds(ttl)),
            next_watch: watched.then(|| now.plus_seconds(WATCH_SECONDS)),
            next_memory_run: None,
            next_retirement_poll: None,
            idle_since: None,
            transitions_when_idle: 0,
            no_workers_since: None,
            closing: false,
        }
    }
}

impl Scheduler {
    /// When [`Self::tick`] has something to do next.
    pub fn next_tick(&self) -> Option<Time> {
        let timers = &self.timers;
        [
            timers.next_ttl_check,
            timers.next_watch,
            timers.next_memory_run,
            timers.next_retirement_poll,
            self.topics.next_expiry(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Time, fx: &mut Effects) {
        self.begin_named(now, "tick");
        let due = |at: Option<Time>| at.is_some_and(|at| at <= now);
        if due(self.timers.next_ttl_check) {
            self.timers.next_ttl_check = self.config.worker_ttl.map(|ttl| now.plus_seconds(ttl));
            self.check_worker_ttl(fx);
        }
        if due(self.timers.next_watch) {
            self.timers.next_watch = Some(now.plus_seconds(WATCH_SECONDS));
            self.check_no_workers(fx);
            if self.config.idle_timeout.is_some() {
                self.check_idle(now, fx);
            }
        }
        if due(self.timers.next_memory_run) {
            self.run_memory_manager(fx);
        }
        if due(self.timers.next_retirement_poll) {
            self.poll_retirements(fx);
        }
        if due(self.topics.next_expiry()) {
            let (workers, clients) = (&self.workers, &self.clients);
            self.topics.drop_expired(now, |name| {
                workers.find(name).is_some() || clients.find(name).is_some()
            });
        }
        self.end();
    }

    /// Workers that have not been heard of are restarted by their nannies, or taken for lost.
    fn check_worker_ttl(&mut self, fx: &mut Effects) {
        let Some(configured) = self.config.worker_ttl else {
            return;
        };
        let ttl = configured.max(MISSED_REPORTS * heartbeat_interval(self.workers.len()));
        let silent: Vec<WorkerId> = self
            .workers
            .iter()
            .filter(|worker| self.now.seconds_since(worker.last_seen) > ttl)
            .map(|worker| worker.id)
            .collect();
        if silent.is_empty() {
            return;
        }
        let addresses: Value = silent
            .iter()
            .map(|worker| Value::from(&*self.workers.at(*worker).address))
            .collect();
        let event = map! {"action" => "worker-ttl-timed-out", "workers" => addresses, "ttl" => ttl};
        self.publish_event("scheduler", &event, fx);
        for worker in silent {
            self.give_up_on(worker, fx);
        }
    }

    fn give_up_on(&mut self, worker: WorkerId, fx: &mut Effects) {
        let own = self.workers.at_mut(worker);
        let address = Arc::clone(&own.address);
        // A nanny gets one chance; a worker that stays silent after that is gone.
        let nanny = own.nanny.clone().filter(|_| own.restart_asked.is_none());
        own.restart_asked = Some(self.now);
        self.log(
            LogLevel::Warning,
            "worker has not reported for too long",
            &address,
            fx,
        );
        match nanny {
            Some(nanny) => fx.action(Action::RestartByNanny {
                worker,
                address,
                nanny,
            }),
            None => {
                let removal = Removal {
                    expected: false,
                    close: true,
                    reason: Arc::from("scheduler-remove-worker"),
                    stimulus_id: self.now.stamp("check-worker-ttl"),
                };
                self.stimulus = removal.stimulus_id.clone();
                self.part_with(worker, &removal, fx);
            }
        }
    }

    /// Since when nothing has happened; asks to close the program after the idle timeout.
    pub fn check_idle(&mut self, now: Time, fx: &mut Effects) -> Option<Time> {
        self.now = self.now.max(now);
        let transitions = self.counters.transitions;
        let moved =
            std::mem::replace(&mut self.timers.transitions_when_idle, transitions) != transitions;
        let busy = self.graphs_under_way > 0
            || !self.queued.is_empty()
            || !self.unrunnable.is_empty()
            || self
                .workers
                .iter()
                .any(|worker| !worker.processing.is_empty());
        if moved || busy {
            self.timers.idle_since = None;
            return None;
        }
        let since = *self.timers.idle_since.get_or_insert(self.now);
        if let Some(timeout) = self.config.idle_timeout
            && self.now.seconds_since(since) > timeout
            && !self.timers.closing
        {
            self.timers.closing = true;
            fx.action(Action::CloseScheduler {
                reason: Arc::from("idle-timeout-exceeded"),
            });
        }
        Some(since)
    }

    /// Since when the scheduler was found idle; does not look again.
    pub fn idle_since(&self) -> Option<Time> {
        self.timers.idle_since
    }

    pub(crate) fn refresh_no_workers_since(&mut self) {
        if !self.workers.running.is_empty()
            || (self.queued.is_empty() && self.unrunnable.is_empty())
        {
            self.timers.no_workers_since = None;
        } else {
            self.timers.no_workers_since.get_or_insert(self.now);
        }
    }

    /// Tasks that have waited too long for any worker, or for one that suits, fail.
    fn check_no_workers(&mut self, fx: &mut Effects) {
        let Some(timeout) = self.config.no_workers_timeout else {
            return;
        };
        self.stimulus = self.now.stamp("check-no-workers-timeout");
        self.refresh_no_workers_since();
        let mut affected = Vec::new();
        for (task, had_workers) in self.overdue_unrunnable(timeout) {
            let pickle = if had_workers {
                pickles::no_valid_worker(
                    &self.tasks[task].key,
                    self.tasks[task].rare.as_deref(),
                    timeout,
                )
            } else {
                pickles::no_worker(&self.tasks[task].key, timeout)
            };
            let class = if had_workers {
                "NoValidWorkerError"
            } else {
                "NoWorkerError"
            };
            affected.push(self.fail_by_timeout(task, pickle, class, fx));
        }
        for task in self.overdue_queued(timeout) {
            let pickle = pickles::no_worker(&self.tasks[task].key, timeout);
            affected.push(self.fail_by_timeout(task, pickle, "NoWorkerError", fx));
        }
        self.settle(fx);
        if !affected.is_empty() {
            let event =
                map! {"action" => "no-workers-timeout-exceeded", "keys" => Value::Set(affected)};
            self.publish_event("scheduler", &event, fx);
        }
    }

    /// With whether there were running workers all the while, none of which suited.
    fn overdue_unrunnable(&self, timeout: f64) -> Vec<(TaskId, bool)> {
        let without = self.timers.no_workers_since;
        self.unrunnable
            .values()
            .filter(|(_, since)| self.now.seconds_since(*since) > timeout)
            .map(|(task, since)| (*task, without.is_none_or(|without| without > *since)))
            .collect()
    }

    fn overdue_queued(&self, timeout: f64) -> Vec<TaskId> {
        match self.timers.no_workers_since {
            Some(since) if self.now.seconds_since(since) > timeout => {
                self.queued.iter().map(|place| place.task).collect()
            }
            _ => Vec::new(),
        }
    }

    fn fail_by_timeout(
        &mut self,
        task: TaskId,
        pickle: Vec<u8>,
        class: &str,
        fx: &mut Effects,
    ) -> Value {
        let key = self.tasks[task].key.clone();
        self.log(
            LogLevel::Error,
            "task failed: it has waited too long for a worker",
            &key,
            fx,
        );
        let blame = Arc::new(Blame {
            key: key.clone(),
            error: TaskError::made_here(pickle, &format!("{class}({key:?})")),
        });
        self.fail(
            task,
            Fault {
                worker: None,
                blame,
            },
            fx,
        );
        key.to_value()
    }
}
