//! Workers and clients arrive; workers become able to run tasks or stop being so.

use crate::effects::{Action, Effects};
use crate::freeing::Freeing;
use crate::ids::{ClientId, Time, WorkerId};
use crate::registration::{Refusal, Registration, WorkerStatus};
use crate::scheduler::{Scheduler, compare_priority};
use crate::task::{Phase, TaskId};
use crate::worker::{MemoryReadings, Needs, Worker};
use protocol::{Key, Value, map};
use std::sync::Arc;

impl Scheduler {
    /// A worker registers.
    pub fn add_worker(
        &mut self,
        r: Registration,
        now: Time,
        fx: &mut Effects,
    ) -> Result<WorkerId, Refusal> {
        self.begin(now, r.stimulus_id.clone());
        if self.workers.find(&r.address).is_some() {
            return Err(Refusal::AddressTaken { address: r.address });
        }
        if self.alias(&r.name).is_some() {
            return Err(Refusal::NameTaken { name: r.name });
        }
        let address = Arc::clone(&r.address);
        self.publish_event(&address, &map! {"action" => "add-worker"}, fx);
        let told = map! {"action" => "add-worker", "worker" => &*address};
        self.publish_event("all", &told, fx);
        let (resources, metrics, sent) = (r.resources.clone(), r.metrics.clone(), r.now_seconds);
        let id = self.enter(r);
        self.counters.workers_added += 1;
        self.add_resources(id, resources);
        self.read_heartbeat(id, metrics, sent);
        self.refresh_no_workers_since();
        self.check_idle_saturated(id);
        fx.action(Action::WorkerAdded {
            identity: self.worker_identity(id, false),
            address,
        });
        if self.workers.at(id).is_running() {
            self.welcome(id, fx);
        }
        self.end();
        Ok(id)
    }

    fn enter(&mut self, mut r: Registration) -> WorkerId {
        // Whoever says that it has no threads would be divided by.
        r.nthreads = r.nthreads.max(1);
        let id = self.workers.next_id();
        let host = self.workers.hosts.entry(Arc::clone(&r.host)).or_default();
        host.workers.push(id);
        host.nthreads += r.nthreads;
        if let Ok(name) = Key::try_from(&r.name) {
            self.workers.aliases.insert(name, id);
        }
        self.workers.total_nthreads += u64::from(r.nthreads);
        self.workers.total_memory += r.memory_limit.unwrap_or(0);
        let running = r.status == WorkerStatus::Running;
        self.workers.insert(Worker {
            id,
            address: r.address,
            host: r.host,
            name: r.name.detached(),
            nthreads: r.nthreads,
            memory_limit: r.memory_limit.unwrap_or(0),
            local_directory: r.local_directory,
            services: r.services.detached(),
            nanny: r.nanny,
            pid: r.pid,
            versions: r.versions.detached(),
            extra: r.extra.detached(),
            server_id: r.server_id,
            status: r.status,
            last_seen: self.now,
            time_delay: 0.0,
            metrics: Value::Nil,
            memory: MemoryReadings::default(),
            nbytes: 0,
            has_what: crate::id_set::OrderedIdSet::default(),
            processing: Vec::new(),
            long_running: 0,
            actors: crate::id_set::IdSet::default(),
            executing: Vec::new(),
            resources: Vec::new(),
            used_resources: Vec::new(),
            prefix_count: Vec::new(),
            needs_what: Needs::default(),
            freeing: Freeing::default(),
            network_nbytes: 0,
            rank: 0,
            removed: false,
            resuming: None,
            restart_asked: None,
        });
        let rank = self.workers.at(id).rank;
        self.workers.running.put(rank, running);
        id
    }

    /// What a worker can do, by name.
    pub(crate) fn add_resources(&mut self, worker: WorkerId, resources: Vec<(Arc<str>, f64)>) {
        let own = self.workers.at_mut(worker);
        for (name, amount) in resources {
            match own.resources.iter_mut().find(|(own, _)| *own == name) {
                Some((_, supply)) => *supply = amount,
                None => own.resources.push((name, amount)),
            }
        }
    }

    /// The RPC of the same name; false if nobody of that address is registered.
    pub fn set_resources(
        &mut self,
        address: &str,
        resources: Vec<(Arc<str>, f64)>,
        now: Time,
        fx: &mut Effects,
    ) -> bool {
        self.begin_named(now, "set-resources");
        let Some(worker) = self.workers.find(address) else {
            return false;
        };
        self.add_resources(worker, resources);
        if self.workers.at(worker).is_running() {
            // It may suit tasks now that it did not suit before.
            self.welcome(worker, fx);
        }
        self.end();
        true
    }

    /// Gives a worker that has begun to run what waited for one like it.
    fn welcome(&mut self, worker: WorkerId, fx: &mut Effects) {
        let mut runnable: Vec<TaskId> = self
            .unrunnable
            .values()
            .map(|(task, _)| *task)
            .filter(|task| {
                self.valid_workers(*task)
                    .is_none_or(|valid| valid.contains(&worker))
            })
            .collect();
        let tasks = &self.tasks;
        runnable.sort_by(|left, right| {
            compare_priority(&tasks[*right].priority, &tasks[*left].priority)
        });
        for task in runnable {
            self.recommend(task, Phase::Processing);
        }
        self.settle(fx);
        self.fill_slots(fx);
    }

    pub(crate) fn change_status(
        &mut self,
        worker: WorkerId,
        status: WorkerStatus,
        fx: &mut Effects,
    ) {
        let own = self.workers.at_mut(worker);
        let previous = std::mem::replace(&mut own.status, status);
        if status != WorkerStatus::ClosingGracefully {
            own.resuming = None;
        }
        if previous == status {
            return;
        }
        let (rank, address) = (own.rank, Arc::clone(&own.address));
        let event = map! {
            "action" => "worker-status-change",
            "prev-status" => previous.name(),
            "status" => status.name(),
            "stimulus_id" => self.stimulus.clone(),
        };
        self.publish_event(&address, &event, fx);
        let running = status == WorkerStatus::Running;
        self.workers.running.put(rank, running);
        self.check_idle_saturated(worker);
        if running {
            self.welcome(worker, fx);
        }
        self.refresh_no_workers_since();
    }

    /// A client connects. A pseudo client of that name becomes this one.
    pub fn add_client(
        &mut self,
        id: &str,
        versions: Value,
        now: Time,
        fx: &mut Effects,
    ) -> ClientId {
        self.begin_named(now, "add-client");
        let event = map! {"action" => "add-client", "client" => id};
        self.publish_event("all", &event, fx);
        self.publish_event(id, &event, fx);
        self.counters.client_connections_added += 1;
        let versions = versions.detached();
        let pseudo = self
            .clients
            .find(id)
            .filter(|known| !self.clients.is_connected(*known));
        let client = match pseudo.and_then(|known| Some((known, self.clients.get_mut(known)?))) {
            Some((known, own)) => {
                own.connected = true;
                own.versions = versions;
                own.last_seen = now;
                known
            }
            None => self.clients.insert(id, true, versions, now),
        };
        self.end();
        client
    }
}
