//! A worker of either sort: the model, which can be as odd as one likes, or the real core in a simulated shell.

use crate::real_worker::{Later, RealWorker, Seen};
use crate::worker::{Ending, SimWorker, Wish};
use protocol::Key;
use scheduler_core::{Time, ToWorker, WorkerId, WorkerStatus};
use std::sync::Arc;

pub enum Member {
    Model(SimWorker),
    Real(Box<RealWorker>),
}

impl Member {
    /// What a real worker has been through.
    pub fn seen(&self) -> Option<&Seen> {
        match self {
            Self::Model(_) => None,
            Self::Real(worker) => Some(&worker.seen),
        }
    }

    pub fn tell_time(&mut self, now: Time, calm: bool) {
        if let Self::Real(worker) = self {
            worker.tell_time(now, calm);
        }
    }

    pub fn id(&self) -> WorkerId {
        match self {
            Self::Model(worker) => worker.id,
            Self::Real(worker) => worker.id,
        }
    }

    pub fn address(&self) -> Arc<str> {
        match self {
            Self::Model(worker) => Arc::clone(&worker.address),
            Self::Real(worker) => Arc::clone(&worker.address),
        }
    }

    pub fn status(&self) -> WorkerStatus {
        match self {
            Self::Model(worker) => worker.status,
            Self::Real(worker) => worker.status(),
        }
    }

    pub fn take_wishes(&mut self) -> Vec<Wish> {
        std::mem::take(match self {
            Self::Model(worker) => &mut worker.wishes,
            Self::Real(worker) => &mut worker.wishes,
        })
    }

    pub fn announce(&mut self, status: WorkerStatus) {
        match self {
            Self::Model(worker) => worker.announce(status),
            Self::Real(worker) => worker.announce(status),
        }
    }

    pub fn holds_nothing(&self) -> bool {
        match self {
            Self::Model(worker) => worker.holds_nothing(),
            Self::Real(worker) => worker.holds_nothing(),
        }
    }

    pub fn describe(&self) -> String {
        match self {
            Self::Model(worker) => worker.describe(),
            Self::Real(worker) => worker.describe(),
        }
    }

    pub fn held(&self) -> Vec<Key> {
        match self {
            Self::Model(worker) => worker.held(),
            Self::Real(worker) => worker.held(),
        }
    }

    pub fn executing(&self) -> Vec<Key> {
        match self {
            Self::Model(worker) => worker.executing(),
            Self::Real(worker) => worker.executing(),
        }
    }

    pub fn has(&self, key: &Key) -> bool {
        match self {
            Self::Model(worker) => worker.has(key),
            Self::Real(worker) => worker.has(key),
        }
    }

    /// Data from outside: scattered.
    pub fn put(&mut self, key: Key, nbytes: u64) {
        match self {
            Self::Model(worker) => worker.put(key, nbytes),
            Self::Real(worker) => worker.put(key, nbytes),
        }
    }

    pub fn lose(&mut self, key: &Key) {
        match self {
            Self::Model(worker) => worker.lose(key),
            Self::Real(worker) => worker.lose(key),
        }
    }

    pub fn hear(&mut self, message: ToWorker) {
        match self {
            Self::Model(worker) => worker.hear(message),
            Self::Real(worker) => worker.hear(message),
        }
    }

    pub fn secede(&mut self, key: &Key, token: u64) {
        match self {
            Self::Model(worker) => worker.secede(key, token),
            Self::Real(worker) => worker.secede(token),
        }
    }

    pub fn executed(&mut self, key: &Key, token: u64, ending: Ending) {
        match self {
            Self::Model(worker) => worker.executed(key, token, ending),
            Self::Real(worker) => worker.executed(key, token, ending),
        }
    }

    pub fn fetched(&mut self, from: &Arc<str>, asked: &[Key], answer: Option<&[(Key, u64)]>) {
        match self {
            Self::Model(worker) => worker.fetched(from, asked, answer),
            Self::Real(worker) => worker.fetched(from, answer),
        }
    }

    pub fn fetch_later(&mut self, from: &Arc<str>, asked: &[Key]) {
        match self {
            Self::Model(worker) => worker.fetch_later(asked),
            Self::Real(worker) => worker.fetch_later(from),
        }
    }

    pub fn look_for_missing(&mut self) {
        match self {
            Self::Model(worker) => {
                worker.look_for_missing();
            }
            Self::Real(worker) => worker.look_for_missing(),
        }
    }

    pub fn measure(&mut self) {
        if let Self::Real(worker) = self {
            worker.measure();
        }
    }

    pub fn later(&mut self, what: Later) {
        if let Self::Real(worker) = self {
            worker.later(what);
        }
    }

    pub fn steal(&mut self, key: Key) {
        if let Self::Real(worker) = self {
            worker.steal(key);
        }
    }

    pub fn drop_replica(&mut self, key: Key) {
        if let Self::Real(worker) = self {
            worker.drop_replica(key);
        }
    }

    pub fn acquire(&mut self, key: Key, holders: &[Arc<str>]) {
        if let Self::Real(worker) = self {
            worker.acquire(key, holders);
        }
    }
}
