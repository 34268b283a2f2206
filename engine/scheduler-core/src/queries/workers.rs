//! Who the workers are and what each has and does.

use crate::ids::WorkerId;
use crate::registration::{WorkerName, WorkerStatus};
use crate::scheduler::Scheduler;
use crate::worker::Worker;
use protocol::{Value, map};
use std::sync::Arc;

/// Nobody is registered at this address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnknownWorker(pub Arc<str>);

/// A worker's nanny, if it has one.
pub type NannyOf = Result<Option<Arc<str>>, UnknownWorker>;

impl Scheduler {
    pub fn worker_count(&self) -> usize {
        self.workers.len()
    }

    /// Sorted.
    pub fn worker_addresses(&self) -> Vec<Arc<str>> {
        self.workers.iter().map(|worker| Arc::clone(&worker.address)).collect()
    }

    /// The worker registered at this address.
    pub fn worker_at(&self, address: &str) -> Option<WorkerId> {
        self.workers.find(address)
    }

    /// `None` for a worker that is gone.
    pub fn address_of(&self, worker: WorkerId) -> Option<Arc<str>> {
        Some(Arc::clone(&self.workers.get(worker)?.address))
    }

    /// The address of the worker that calls itself so.
    pub fn address_named(&self, name: &Value) -> Option<Arc<str>> {
        let worker = self.alias(name)?;
        Some(Arc::clone(&self.workers.get(worker)?.address))
    }

    /// Every worker with the name it calls itself by.
    pub fn worker_names(&self) -> Vec<(Arc<str>, WorkerName)> {
        let named = |worker: &Worker| (Arc::clone(&worker.address), worker.name.clone());
        self.workers.iter().map(named).collect()
    }

    /// `None` for an address where nobody is registered.
    pub fn worker_statuses(&self, addresses: &[Arc<str>]) -> Vec<Option<WorkerStatus>> {
        let status = |address: &Arc<str>| self.registered(address).map(|worker| worker.status);
        addresses.iter().map(status).collect()
    }

    pub fn nannies(&self, addresses: &[Arc<str>]) -> Vec<NannyOf> {
        let nanny = |address: &Arc<str>| match self.registered(address) {
            Some(worker) => Ok(worker.nanny.clone()),
            None => Err(UnknownWorker(Arc::clone(address))),
        };
        addresses.iter().map(nanny).collect()
    }

    /// What workers have installed, as they said when they registered.
    pub fn worker_versions(&self) -> Vec<Value> {
        self.workers.iter().map(|worker| worker.versions.clone()).collect()
    }

    /// The part of the scheduler's identity that only the core knows, with at most `limit` workers.
    pub fn identity(&self, limit: Option<usize>) -> Value {
        let limit = limit.unwrap_or(usize::MAX);
        let workers = self.workers.iter().take(limit);
        self.identity_of(workers.map(|worker| describe(worker, true)))
    }

    /// The same for observers of worker status: without what changes with every heartbeat.
    pub fn worker_status_identity(&self) -> Value {
        self.identity_of(self.workers.iter().map(|worker| describe(worker, false)))
    }

    fn identity_of(&self, workers: impl Iterator<Item = Value>) -> Value {
        let addresses = self.workers.iter().map(|worker| Value::from(&*worker.address));
        map! {
            "n_workers" => self.workers.len(),
            "total_threads" => self.workers.total_nthreads,
            "total_memory" => self.workers.total_memory,
            "workers" => Value::Map(addresses.zip(workers).collect()),
        }
    }

    /// A worker as `scheduler_info` shows it; null when it is gone. Observers of worker status get it without readings:
    /// without metrics and the time of the last heartbeat.
    pub fn worker_identity(&self, worker: WorkerId, with_readings: bool) -> Value {
        let worker = self.workers.get(worker);
        worker.map_or(Value::Nil, |worker| describe(worker, with_readings))
    }

    /// `{address: [key, …]}`; an unknown address holds nothing.
    pub fn has_what(&self, addresses: Option<&[Arc<str>]>) -> Value {
        let keys = |worker: &Worker| -> Value {
            let held = worker.has_what.iter();
            held.map(|task| Value::from(&self.tasks[task].key)).collect()
        };
        let Some(addresses) = addresses else {
            return self.of_all(keys);
        };
        let of_one = |address: &Arc<str>| {
            let held = self.registered(address).map(keys);
            (Value::from(&**address), held.unwrap_or(Value::Array(Vec::new())))
        };
        addresses.iter().map(of_one).collect()
    }

    /// `{address: [key, …]}` of what workers have been given to run; only registered workers.
    pub fn processing(&self, addresses: Option<&[Arc<str>]>) -> Value {
        let keys = |worker: &Worker| -> Value {
            let given = worker.processing.iter();
            given.map(|task| Value::from(&self.tasks[*task].key)).collect()
        };
        self.of(addresses, keys)
    }

    /// `{address: threads}`; only registered workers.
    pub fn ncores(&self, addresses: Option<&[Arc<str>]>) -> Value {
        self.of(addresses, |worker| Value::from(worker.nthreads))
    }

    /// `{address: threads}`; only workers that take new tasks.
    pub fn ncores_running(&self, addresses: Option<&[Arc<str>]>) -> Value {
        let threads = self.of(addresses, |worker| {
            if worker.is_running() { Value::from(worker.nthreads) } else { Value::Nil }
        });
        let mut entries = threads.into_map().unwrap_or_default();
        entries.retain(|(_, threads)| !threads.is_nil());
        Value::Map(entries)
    }

    fn of(&self, addresses: Option<&[Arc<str>]>, answer: impl Fn(&Worker) -> Value) -> Value {
        let Some(addresses) = addresses else {
            return self.of_all(answer);
        };
        let workers = addresses.iter().filter_map(|address| self.registered(address));
        workers.map(|worker| (Value::from(&*worker.address), answer(worker))).collect()
    }

    fn of_all(&self, answer: impl Fn(&Worker) -> Value) -> Value {
        let workers = self.workers.iter();
        workers.map(|worker| (Value::from(&*worker.address), answer(worker))).collect()
    }

    fn registered(&self, address: &str) -> Option<&Worker> {
        self.workers.get(self.workers.find(address)?)
    }
}

fn describe(worker: &Worker, with_readings: bool) -> Value {
    let resource = |(name, amount): &(Arc<str>, f64)| (Value::from(&**name), number(*amount));
    let mut entries = vec![
        (Value::text("type"), Value::text("Worker")),
        (Value::text("id"), worker.name.clone()),
        (Value::text("host"), Value::from(&*worker.host)),
        (Value::text("resources"), worker.resources.iter().map(resource).collect()),
        (Value::text("local_directory"), Value::from(&*worker.local_directory)),
        (Value::text("name"), worker.name.clone()),
        (Value::text("nthreads"), Value::from(worker.nthreads)),
        (Value::text("memory_limit"), Value::from(worker.memory_limit)),
    ];
    if with_readings {
        entries.push((Value::text("last_seen"), Value::Float(worker.last_seen.seconds())));
    }
    entries.push((Value::text("services"), worker.services.clone()));
    if with_readings {
        entries.push((Value::text("metrics"), worker.metrics.clone()));
    }
    entries.push((Value::text("status"), Value::text(worker.status.name())));
    entries.push((Value::text("nanny"), Value::from(worker.nanny.as_deref())));
    let mut described = Value::Map(entries);
    for (name, value) in worker.extra.as_map().unwrap_or_default() {
        set(&mut described, name, value.clone());
    }
    described
}

/// What a worker says of itself replaces what we say.
fn set(described: &mut Value, name: &Value, value: Value) {
    let Value::Map(entries) = described else { return };
    match entries.iter_mut().find(|(own, _)| own == name) {
        Some((_, own)) => *own = value,
        None => entries.push((name.clone(), value)),
    }
}

/// Whole numbers as integers, as users wrote them.
fn number(amount: f64) -> Value {
    const EXACT: f64 = 9e15;
    if amount.fract() == 0.0 && amount.abs() < EXACT {
        Value::Int(amount as i64)
    } else {
        Value::Float(amount)
    }
}
