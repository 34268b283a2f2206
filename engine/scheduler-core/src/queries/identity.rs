//! Workers as users see them.

use crate::ids::{ClientId, WorkerId};
use crate::registration::{WorkerName, WorkerStatus};
use crate::scheduler::Scheduler;
use crate::worker::Worker;
use protocol::Value;
use std::sync::Arc;

/// What the shell must know to reach a worker.
#[derive(Clone, Debug)]
pub struct WorkerContact {
    pub id: WorkerId,
    pub address: Arc<str>,
    pub host: Arc<str>,
    pub name: WorkerName,
    pub nanny: Option<Arc<str>>,
    pub status: WorkerStatus,
    pub nthreads: u32,
    pub server_id: Arc<str>,
}

impl Scheduler {
    /// All workers, in order of address.
    pub fn workers(&self) -> Vec<WorkerContact> {
        self.workers.iter().map(contact).collect()
    }

    pub fn worker(&self, worker: WorkerId) -> Option<WorkerContact> {
        self.workers
            .get(worker)
            .filter(|own| !own.removed)
            .map(contact)
    }

    pub fn worker_at(&self, address: &str) -> Option<WorkerId> {
        self.workers.find(address)
    }

    /// Workers whose name reads so, numbers as text.
    pub fn workers_with_names(&self, names: &[String]) -> Vec<WorkerId> {
        self.workers
            .iter()
            .filter(|worker| names.contains(&name_text(&worker.name)))
            .map(|worker| worker.id)
            .collect()
    }

    /// The versions each worker announced.
    pub fn worker_versions(&self) -> Vec<(Arc<str>, Value)> {
        self.workers
            .iter()
            .map(|worker| (Arc::clone(&worker.address), worker.versions.clone()))
            .collect()
    }

    pub fn client_versions(&self, client: ClientId) -> Option<&Value> {
        self.clients.get(client).map(|own| &own.versions)
    }

    /// The identity map of a worker; without metrics and last_seen for subscribers of worker status.
    pub fn worker_identity(&self, worker: WorkerId, with_metrics: bool) -> Value {
        self.workers
            .get(worker)
            .map_or(Value::Nil, |worker| self.identity_of(worker, with_metrics))
    }

    fn identity_of(&self, worker: &Worker, with_metrics: bool) -> Value {
        let mut entries = vec![
            (Value::text("type"), Value::text("Worker")),
            (Value::text("id"), worker.name.clone()),
            (Value::text("host"), Value::from(&*worker.host)),
            (Value::text("resources"), amounts(&worker.resources)),
            (
                Value::text("local_directory"),
                Value::from(&*worker.local_directory),
            ),
            (Value::text("name"), worker.name.clone()),
            (Value::text("nthreads"), Value::from(worker.nthreads)),
            (
                Value::text("memory_limit"),
                Value::from(worker.memory_limit),
            ),
        ];
        if with_metrics {
            entries.push((
                Value::text("last_seen"),
                Value::Float(worker.last_seen.seconds()),
            ));
        }
        entries.push((Value::text("services"), worker.services.clone()));
        if with_metrics {
            entries.push((Value::text("metrics"), worker.metrics.clone()));
        }
        entries.push((Value::text("status"), Value::text(worker.status.name())));
        let nanny = worker.nanny.as_deref().map_or(Value::Nil, Value::from);
        entries.push((Value::text("nanny"), nanny));
        if let Value::Map(extra) = &worker.extra {
            entries.extend(extra.iter().cloned());
        }
        Value::Map(entries)
    }

    /// `{address: identity}` of the first so many workers, of all if `None`.
    pub fn worker_identities(&self, limit: Option<usize>, with_metrics: bool) -> Value {
        self.workers
            .iter()
            .take(limit.unwrap_or(usize::MAX))
            .map(|worker| {
                (
                    Value::from(&*worker.address),
                    self.identity_of(worker, with_metrics),
                )
            })
            .collect()
    }
}

fn contact(worker: &Worker) -> WorkerContact {
    WorkerContact {
        id: worker.id,
        address: Arc::clone(&worker.address),
        host: Arc::clone(&worker.host),
        name: worker.name.clone(),
        nanny: worker.nanny.clone(),
        status: worker.status,
        nthreads: worker.nthreads,
        server_id: Arc::clone(&worker.server_id),
    }
}

fn amounts(resources: &[(Arc<str>, f64)]) -> Value {
    resources
        .iter()
        .map(|(name, amount)| (Value::from(&**name), number(*amount)))
        .collect()
}

/// Whole amounts read as Python integers, as they nearly always were given.
pub(crate) fn number(amount: f64) -> Value {
    if amount.fract() == 0.0 && amount.abs() < 1e15 {
        Value::Int(amount as i64)
    } else {
        Value::Float(amount)
    }
}

/// As Python's `str(name)`.
pub(crate) fn name_text(name: &Value) -> String {
    name.as_key()
        .map_or_else(String::new, |key| key.to_string())
}
