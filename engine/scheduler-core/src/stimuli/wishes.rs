//! What clients want, and what becomes of tasks nobody wants any more.

use crate::client::FIRE_AND_FORGET;
use crate::effects::{Effects, ToClient};
use crate::ids::{ClientId, Time};
use crate::scheduler::Scheduler;
use crate::task::{Phase, TaskId};
use protocol::{Key, Value};

impl Scheduler {
    /// A client, or somebody on behalf of a pseudo client, wants these keys.
    pub fn client_desires_keys(
        &mut self,
        client: ClientId,
        keys: &[Key],
        now: Time,
        fx: &mut Effects,
    ) {
        self.begin_named(now, "client-desires-keys");
        for key in keys {
            if let Some(task) = self.tasks.find(key) {
                self.add_wish(client, task);
                self.report_state(client, task, fx);
                if self.tasks[task].phase() == Phase::Released {
                    // Nobody needed it until now.
                    self.recommend(task, Phase::Waiting);
                }
            }
        }
        self.settle(fx);
        self.end();
    }

    /// The client of that name; one that nobody has connected as is a pseudo client.
    pub fn client_named(&mut self, name: &str) -> ClientId {
        match self.clients.find(name) {
            Some(client) => client,
            None => self.clients.insert(name, false, Value::Nil, self.now),
        }
    }

    pub(crate) fn add_wish(&mut self, client: ClientId, task: TaskId) {
        let Some(own) = self.clients.get_mut(client) else {
            return;
        };
        own.wants.insert(task);
        self.tasks[task].who_wants.insert(client);
        // Whoever fires and forgets something that is done already needs nothing kept.
        let done = matches!(self.tasks[task].phase(), Phase::Memory | Phase::Erred);
        if client == FIRE_AND_FORGET && done {
            self.release_wish(client, task);
        }
    }

    /// Takes back one wish and recommends what follows from it.
    pub(crate) fn release_wish(&mut self, client: ClientId, task: TaskId) {
        let Some(own) = self.clients.get_mut(client) else {
            return;
        };
        if !own.wants.remove(task) {
            return;
        }
        let wanted = &mut self.tasks[task];
        wanted.who_wants.remove(client);
        if !wanted.who_wants.is_empty() {
            return;
        }
        if wanted.dependents.is_empty() {
            self.recommend(task, Phase::Forgotten);
        } else if wanted.waiters == 0 && wanted.phase() != Phase::Erred {
            self.recommend(task, Phase::Released);
        }
    }

    pub fn client_releases_keys(
        &mut self,
        client: ClientId,
        keys: &[Key],
        now: Time,
        fx: &mut Effects,
    ) {
        self.begin_named(now, "client-releases-keys");
        for key in keys {
            if let Some(task) = self.tasks.find(key) {
                self.release_wish(client, task);
            }
        }
        self.settle(fx);
        self.fill_slots(fx);
        self.end();
    }

    pub(crate) fn release_all_wishes(&mut self, client: ClientId, fx: &mut Effects) {
        let Some(own) = self.clients.get(client) else {
            return;
        };
        for task in own.wants.sorted() {
            self.release_wish(client, task);
        }
        self.settle(fx);
        self.fill_slots(fx);
    }

    /// Tells a client where a task is, if there is anything to tell.
    pub(crate) fn report_state(&self, client: ClientId, task: TaskId, fx: &mut Effects) {
        if let Some(message) = self.state_message(task) {
            self.tell_client(client, fx, message);
        }
    }

    fn state_message(&self, task: TaskId) -> Option<ToClient> {
        let own = &self.tasks[task];
        match own.phase() {
            Phase::Memory => Some(ToClient::KeyInMemory {
                key: own.key.clone(),
                type_pickle: None,
                workers: None,
            }),
            Phase::Erred => own.blame().map(|blame| ToClient::TaskErred {
                key: own.key.clone(),
                exception: blame.error.exception.clone(),
                traceback: blame.error.traceback.clone(),
            }),
            Phase::Released
            | Phase::Waiting
            | Phase::NoWorker
            | Phase::Queued
            | Phase::Processing
            | Phase::Forgotten => None,
        }
    }

    /// Tells a client, and everybody else who wants it, where a key is.
    pub(crate) fn report_on_key(&mut self, client: ClientId, key: &Key, fx: &mut Effects) {
        let Some(task) = self.tasks.find(key) else {
            let message = ToClient::CancelledKeys {
                keys: vec![key.clone()],
                reason: Value::Nil,
                message: Value::Nil,
            };
            self.tell_client(client, fx, message);
            return;
        };
        for other in self.tasks[task]
            .who_wants
            .iter()
            .filter(|other| *other != client)
        {
            self.report_state(other, task, fx);
        }
        self.report_state(client, task, fx);
    }
}
