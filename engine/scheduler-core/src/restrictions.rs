//! Which workers a task may run on, and how users name workers.
//!
//! Restrictions are kept as addresses and hosts, resolved when a worker is looked for: it may join later.

use crate::effects::Effects;
use crate::ids::{Time, WorkerId};
use crate::placement::Candidates;
use crate::scheduler::Scheduler;
use crate::task::{Phase, TaskId};
use protocol::{Key, Value};
use std::sync::Arc;

/// What a user's name for a worker means.
pub(crate) enum Place {
    Address(Arc<str>),
    Host(Value),
}

impl Scheduler {
    /// The running workers that may run the task, in order of address; `None` if any may.
    pub(crate) fn valid_workers(&self, task: TaskId) -> Option<Candidates> {
        let rare = self.tasks[task].rare.as_deref()?;
        let placed = !rare.worker_restrictions.is_empty() || !rare.host_restrictions.is_empty();
        if !placed && rare.resources.is_none() {
            return None;
        }
        let mut valid = if placed {
            self.placed_workers(&rare.worker_restrictions, &rare.host_restrictions)
        } else {
            self.workers.ids().iter().copied().collect()
        };
        valid.retain(|id| {
            let worker = self.workers.at(*id);
            let supplied = rare.resources.as_ref().is_none_or(|needed| {
                needed
                    .iter()
                    .all(|(name, amount)| worker.supplies(name, *amount))
            });
            supplied && worker.is_running()
        });
        Some(valid)
    }

    fn placed_workers(&self, addresses: &[Arc<str>], hosts: &[Value]) -> Candidates {
        let mut placed: Candidates = addresses
            .iter()
            .filter_map(|address| self.workers.find(address))
            .collect();
        for host in hosts {
            let Some(host) = self.host_named(host) else {
                continue;
            };
            if let Some(own) = self.workers.hosts.get(&*host) {
                placed.extend(own.workers.iter().copied());
            }
        }
        placed.sort_by_key(|id| self.workers.at(*id).rank);
        placed.dedup();
        placed
    }

    /// A host name, or the host of the worker of that name.
    fn host_named(&self, name: &Value) -> Option<Arc<str>> {
        if let Some(worker) = self.alias(name) {
            return Some(Arc::clone(&self.workers.at(worker).host));
        }
        name.as_str().map(Arc::from)
    }

    /// The worker that calls itself so.
    pub(crate) fn alias(&self, name: &Value) -> Option<WorkerId> {
        let key = Key::try_from(name).ok()?;
        self.workers.aliases.get(&key).copied()
    }

    /// What a user means by a worker: its name, its address, or else a host.
    pub(crate) fn place_named(&self, name: &Value) -> Place {
        if let Some(worker) = self.alias(name) {
            return Place::Address(Arc::clone(&self.workers.at(worker).address));
        }
        let Some(text) = name.as_str() else {
            return Place::Host(name.detached());
        };
        match protocol::Address::parse(text) {
            Ok(_) => Place::Address(Arc::from(protocol::address::normalize(text))),
            Err(_) => Place::Host(name.detached()),
        }
    }

    /// The worker a user means, if it is registered.
    pub fn worker_named(&self, name: &Value) -> Option<WorkerId> {
        match self.place_named(name) {
            Place::Address(address) => self.workers.find(&address),
            Place::Host(_) => None,
        }
    }

    /// Sets or, with empty `places`, lifts where tasks may run. Those that wait for a worker are looked at again.
    pub fn set_restrictions(
        &mut self,
        restrictions: &[(Key, Vec<Value>)],
        now: Time,
        fx: &mut Effects,
    ) {
        self.begin_named(now, "set-restrictions");
        for (key, places) in restrictions {
            let Some(task) = self.tasks.find(key) else {
                continue;
            };
            let addresses = places
                .iter()
                .filter_map(|place| match self.place_named(place) {
                    Place::Address(address) => Some(address),
                    Place::Host(host) => host.as_str().map(Arc::from),
                })
                .collect();
            self.tasks[task].rare_mut().worker_restrictions = addresses;
            match self.tasks[task].phase() {
                Phase::NoWorker => self.recommend(task, Phase::Processing),
                // What is restricted must not wait for just any worker.
                Phase::Queued => self.recommend(task, Phase::Waiting),
                Phase::Released
                | Phase::Waiting
                | Phase::Processing
                | Phase::Memory
                | Phase::Erred
                | Phase::Forgotten => {}
            }
        }
        self.settle(fx);
        self.fill_slots(fx);
        self.end();
    }
}
