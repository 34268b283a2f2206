//! Workers and clients go away, at any moment.

use crate::effects::{Action, Effects, LogLevel, ToWorker};
use crate::error::TaskError;
use crate::ids::{ClientId, Time, WorkerId};
use crate::pickles;
use crate::registration::{Removal, WorkerStatus};
use crate::scheduler::{Scheduler, compare_priority};
use crate::task::{Blame, Phase, TaskId};
use crate::transitions::Fault;
use protocol::{Key, Value, map};
use std::sync::Arc;

/// What was lost with a worker, for the event that tells.
#[derive(Default)]
struct Losses {
    processing: Vec<Value>,
    computed: Vec<Value>,
    scattered: Vec<Value>,
}

impl Scheduler {
    /// A worker leaves, or is taken for lost. Nothing happens if it is not registered any more.
    pub fn remove_worker(
        &mut self,
        worker: WorkerId,
        removal: Removal,
        now: Time,
        fx: &mut Effects,
    ) {
        if !self.workers.is_registered(worker) {
            return;
        }
        self.begin(now, removal.stimulus_id.clone());
        self.part_with(worker, &removal, fx);
        self.end();
    }

    /// The same inside another event.
    pub(crate) fn part_with(&mut self, worker: WorkerId, removal: &Removal, fx: &mut Effects) {
        if removal.close {
            let reason = Arc::clone(&removal.reason);
            fx.worker(worker, ToWorker::Close { reason });
        }
        fx.action(Action::DropWorkerConnection(worker));
        let address = self.unregister(worker);
        let mut losses = Losses::default();
        self.take_back_tasks(worker, removal.expected, &mut losses, fx);
        self.count_lost_replicas(worker, &mut losses);
        self.tell_of_losses(&address, losses, removal.expected, fx);
        self.settle(fx);
        self.refresh_no_workers_since();
        fx.action(Action::WorkerRemoved {
            address: Arc::clone(&address),
        });
        self.topics.expire(
            &address,
            self.now.plus_seconds(self.config.events_cleanup_delay),
        );
        self.retirement_lost(worker, fx);
        self.workers.drop_slot(worker);
        for other in self.workers.ids() {
            fx.worker(
                *other,
                ToWorker::RemoveWorker {
                    address: Arc::clone(&address),
                    stimulus_id: self.stimulus.clone(),
                },
            );
        }
        self.fill_slots(fx);
    }

    fn unregister(&mut self, worker: WorkerId) -> Arc<str> {
        self.workers.unregister(worker);
        let own = self.workers.at_mut(worker);
        own.status = WorkerStatus::Closed;
        own.removed = true;
        let (host, name, address) = (
            Arc::clone(&own.host),
            own.name.clone(),
            Arc::clone(&own.address),
        );
        let (nthreads, memory_limit) = (own.nthreads, own.memory_limit);
        self.workers.total_nthreads -= u64::from(nthreads);
        self.workers.total_memory -= memory_limit;
        if let Ok(name) = Key::try_from(&name) {
            self.workers.aliases.remove(&name);
        }
        if let Some(host_own) = self.workers.hosts.get_mut(&host) {
            host_own.workers.retain(|other| *other != worker);
            host_own.nthreads = host_own.nthreads.saturating_sub(nthreads);
            if host_own.workers.is_empty() {
                self.workers.hosts.remove(&host);
            }
        }
        self.counters.workers_removed += 1;
        address
    }

    /// What it was working on runs elsewhere, the most urgent first; what has killed too many workers fails.
    fn take_back_tasks(
        &mut self,
        worker: WorkerId,
        expected: bool,
        losses: &mut Losses,
        fx: &mut Effects,
    ) {
        let mut processing = self.workers.at(worker).processing.clone();
        let tasks = &self.tasks;
        processing.sort_by(|left, right| {
            compare_priority(&tasks[*right].priority, &tasks[*left].priority)
        });
        losses.processing = processing
            .iter()
            .map(|task| tasks[*task].key.to_value())
            .collect();
        for task in processing {
            if expected || !self.suspect(task) {
                self.recommend(task, Phase::Released);
                continue;
            }
            self.log(
                LogLevel::Error,
                "task failed because its workers died",
                &self.tasks[task].key,
                fx,
            );
            let blame = Arc::new(Blame {
                key: self.tasks[task].key.clone(),
                error: self.killed_worker(task, worker),
            });
            let fault = Fault {
                worker: Some(worker),
                blame,
            };
            self.fail(task, fault, fx);
        }
    }

    /// True if it has been there too often when a worker died.
    fn suspect(&mut self, task: TaskId) -> bool {
        let prefix = self.groups.prefix_of(self.tasks[task].group);
        self.groups.prefix_mut(prefix).suspicious += 1;
        let rare = self.tasks[task].rare_mut();
        rare.suspicious += 1;
        rare.suspicious > self.config.allowed_failures
    }

    fn killed_worker(&self, task: TaskId, worker: WorkerId) -> TaskError {
        let key = &self.tasks[task].key;
        let worker = self.workers.at(worker);
        let allowed = self.config.allowed_failures;
        let text = format!(
            "KilledWorker({key:?}, <WorkerState '{}', status: closed>, {allowed})",
            worker.address
        );
        TaskError::made_here(pickles::killed_worker(key, worker, allowed), &text)
    }

    fn count_lost_replicas(&mut self, worker: WorkerId, losses: &mut Losses) {
        let held: Vec<TaskId> = self.workers.at(worker).has_what.iter().collect();
        for task in held {
            self.remove_replica(task, worker);
            if self.workers.at_mut(worker).actors.remove(task) {
                self.recommend(task, Phase::Erred);
            } else if self.tasks[task].who_has.is_empty() {
                let key = self.tasks[task].key.to_value();
                if self.tasks[task].run_spec.is_some() {
                    losses.computed.push(key);
                    self.recommend(task, Phase::Released);
                } else {
                    losses.scattered.push(key);
                    self.recommend(task, Phase::Forgotten);
                }
            }
        }
    }

    fn tell_of_losses(
        &mut self,
        address: &Arc<str>,
        losses: Losses,
        expected: bool,
        fx: &mut Effects,
    ) {
        if !losses.computed.is_empty() {
            self.log(
                LogLevel::Warning,
                "results lost with a worker are computed again",
                address,
                fx,
            );
        }
        if !losses.scattered.is_empty() {
            self.log(
                LogLevel::Error,
                "scattered data lost with a worker",
                address,
                fx,
            );
        }
        let mut event = map! {
            "action" => "remove-worker",
            "processing-tasks" => Value::Set(losses.processing),
            "lost-computed-tasks" => Value::Set(losses.computed),
            "lost-scattered-tasks" => Value::Set(losses.scattered),
            "stimulus_id" => self.stimulus.clone(),
            "expected" => expected,
        };
        self.publish_event(address, &event, fx);
        event.set("worker", Value::from(&**address));
        self.publish_event("all", &event, fx);
    }

    /// A client's connection has ended: it wants nothing any more.
    pub fn remove_client(&mut self, client: ClientId, now: Time, fx: &mut Effects) {
        self.begin_named(now, "remove-client");
        let Some(own) = self.clients.get(client) else {
            return;
        };
        let name = Arc::clone(&own.name);
        let event = map! {"action" => "remove-client", "client" => &*name};
        self.publish_event("all", &event, fx);
        self.publish_event(&name, &event, fx);
        self.release_all_wishes(client, fx);
        self.topics.unsubscribe_everywhere(client);
        self.topics.expire(
            &name,
            self.now.plus_seconds(self.config.events_cleanup_delay),
        );
        self.clients.remove(client);
        self.counters.client_connections_removed += 1;
        self.end();
    }
}
