//! What users do, and the faults in the middle of it.

use super::scattering::is_scattered_again;
use super::{Event, STREAM_FROM_CLIENT, World};
use crate::client::Future;
use crate::member::Member;
use protocol::messages::{CancelKeys, ClientKeys, FromClient, UpdateData};
use protocol::{Key, Text, Value};
use scheduler_core::{AfterRetiring, ClientId, WorkerStatus};
use std::sync::Arc;

impl World {
    pub(super) fn submit(&mut self) {
        let client = self.chance.below(self.clients.len());
        let addresses: Vec<Arc<str>> = self
            .slots
            .iter()
            .map(|slot| Arc::clone(&slot.address))
            .collect();
        let graph = self
            .workload
            .graph(&mut self.chance, &self.settings, &self.known, &addresses);
        for key in &graph.keys {
            self.clients[client]
                .futures
                .insert(key.clone(), Future::Pending);
        }
        self.known
            .extend(graph.tasks.iter().map(|task| task.key.clone()));
        self.stream(
            STREAM_FROM_CLIENT + client as u64,
            Event::GraphFrom(self.clients[client].id, Box::new(graph)),
        );
    }

    pub(super) fn client_says(&mut self, id: ClientId, mut message: FromClient) {
        if self.settings.verbose {
            println!(
                "{:>7} from {id} {message:?}",
                self.timeline.ms_since_start()
            );
        }
        let now = self.timeline.now;
        if let FromClient::UpdateData(data) = &mut message {
            self.drop_false_holders(data);
        }
        if let FromClient::UpdateData(data) = &message
            && !self.clients.iter().any(|client| client.id == id)
        {
            // Scattered data is told of by a request too, which may outlive the client.
            self.core
                .update_data(&data.who_has, &data.nbytes, None, now, &mut self.effects);
            return;
        }
        self.core
            .client_message(id, message, now, &mut self.effects);
    }

    /// A worker that came back at the same address has nothing of what was given to the one before; ports are not
    /// reused so soon in real life.
    pub(super) fn drop_false_holders(&self, data: &mut UpdateData) {
        for (key, addresses) in &mut data.who_has {
            addresses.retain(|address| {
                self.slots.iter().any(|slot| {
                    *address == *slot.address
                        && slot.worker.as_ref().is_some_and(|worker| worker.has(key))
                })
            });
        }
    }

    pub(super) fn say(&mut self, client: usize, message: FromClient) {
        self.stream(
            STREAM_FROM_CLIENT + client as u64,
            Event::FromClient(self.clients[client].id, Box::new(message)),
        );
    }

    /// One fault, or one thing a user does in the middle of it all.
    pub(super) fn trouble(&mut self) {
        if self.settings.real > 0 && self.chance.percent(40) {
            return self.order_unasked();
        }
        match self.chance.below(14) {
            0..=3 => {
                let slot = self.chance.below(self.slots.len());
                self.kill(slot, false);
            }
            4 => self.lose_some_data(),
            5 => self.retire_some(),
            6 => self.release_some(),
            7 => self.cancel_some(),
            8 => self.retry_some(),
            9 => self.scatter(),
            10 => self.fire_and_forget(),
            11 => self.change_clients(),
            12 => self.pause_some(),
            _ => self.restart_or_restrict(),
        }
    }

    pub(super) fn lose_some_data(&mut self) {
        let slot = self.chance.below(self.slots.len());
        let mut held = self.slots[slot]
            .worker
            .as_ref()
            .map(Member::held)
            .unwrap_or_default();
        // No order was given for it, so the scheduler cannot wait for the word of it before it scatters anew; nor does a
        // real worker lose single values.
        held.retain(|key| !is_scattered_again(key));
        let life = self.slots[slot].life;
        if let Some(key) = self.chance.pick(&held).cloned() {
            self.with_worker(slot, life, |worker| worker.lose(&key));
        }
    }

    pub(super) fn retire_some(&mut self) {
        let slot = self.chance.below(self.slots.len());
        let Some(id) = self.slots[slot].worker.as_ref().map(Member::id) else {
            return;
        };
        let after = AfterRetiring {
            close: true,
            remove: self.chance.percent(80),
        };
        let stimulus = Text::from_static("retire");
        self.core
            .retire(&[id], after, stimulus, self.timeline.now, &mut self.effects);
    }

    pub(super) fn some_future(&mut self) -> Option<(usize, Key)> {
        let client = self.chance.below(self.clients.len());
        let keys: Vec<Key> = self.clients[client].futures.keys().cloned().collect();
        let key = self.chance.pick(&keys).cloned()?;
        Some((client, key))
    }

    pub(super) fn release_some(&mut self) {
        let Some((client, key)) = self.some_future() else {
            return;
        };
        self.clients[client].futures.remove(&key);
        let keys = vec![key];
        self.say(
            client,
            FromClient::ClientReleasesKeys(ClientKeys { keys, client: None }),
        );
    }

    pub(super) fn cancel_some(&mut self) {
        let Some((client, key)) = self.some_future() else {
            return;
        };
        let force = self.chance.percent(30);
        let cancel = CancelKeys {
            keys: vec![key],
            force,
            reason: Value::Nil,
            msg: Value::Nil,
        };
        self.say(client, FromClient::CancelKeys(cancel));
    }

    pub(super) fn retry_some(&mut self) {
        let Some((_, key)) = self.some_future() else {
            return;
        };
        self.core
            .retry(&[key], None, self.timeline.now, &mut self.effects);
    }

    pub(super) fn scatter(&mut self) {
        let slot = self.chance.below(self.slots.len());
        if self.slots[slot].worker.is_none() {
            return;
        }
        let reuse = self
            .chance
            .percent(20)
            .then(|| self.known.first().cloned())
            .flatten();
        self.put_over.extend(reuse.clone());
        self.scattered += 1;
        let key = reuse.unwrap_or_else(|| Key::str(&format!("data-{}", self.scattered)));
        let (life, value) = (self.slots[slot].life, key.clone());
        self.with_worker(slot, life, |worker| worker.put(value, 100));
        let client = self.chance.below(self.clients.len());
        let address = Text::from(&*self.slots[slot].address);
        self.clients[client]
            .futures
            .insert(key.clone(), Future::Pending);
        self.known.push(key.clone());
        let wants = self.clients_name(client);
        let data = UpdateData {
            who_has: vec![(key.clone(), vec![address])],
            nbytes: vec![(key, 100)],
            client: Some(wants),
        };
        self.say(client, FromClient::UpdateData(data));
    }

    pub(super) fn clients_name(&self, client: usize) -> Text {
        Text::from(format!("Client-{}", self.clients[client].id.0 - 1))
    }

    pub(super) fn fire_and_forget(&mut self) {
        let Some((client, key)) = self.some_future() else {
            return;
        };
        let wish = ClientKeys {
            keys: vec![key],
            client: Some(Text::from_static("fire-and-forget")),
        };
        self.say(client, FromClient::ClientDesiresKeys(wish));
    }

    /// A client goes away without a word and another comes.
    pub(super) fn change_clients(&mut self) {
        let client = self.chance.below(self.clients.len());
        let id = self.clients[client].id;
        self.core
            .remove_client(id, self.timeline.now, &mut self.effects);
        self.deliver();
        self.connect_client();
        if let Some(fresh) = self.clients.pop() {
            self.clients[client] = fresh;
        }
    }

    pub(super) fn pause_some(&mut self) {
        let slot = self.chance.below(self.slots.len());
        let life = self.slots[slot].life;
        self.with_worker(slot, life, |worker| match worker.status() {
            WorkerStatus::Running => worker.announce(WorkerStatus::Paused),
            WorkerStatus::Paused => worker.announce(WorkerStatus::Running),
            WorkerStatus::Init
            | WorkerStatus::ClosingGracefully
            | WorkerStatus::Closing
            | WorkerStatus::Closed
            | WorkerStatus::Failed => {}
        });
    }

    pub(super) fn recover(&mut self) {
        for slot in 0..self.slots.len() {
            let life = self.slots[slot].life;
            self.with_worker(slot, life, |worker| {
                if worker.status() == WorkerStatus::Paused {
                    worker.announce(WorkerStatus::Running);
                }
            });
        }
    }

    pub(super) fn restart_or_restrict(&mut self) {
        if self.chance.percent(30) {
            self.core.restart(self.timeline.now, &mut self.effects);
            return;
        }
        let Some((_, key)) = self.some_future() else {
            return;
        };
        // The one worker that has every resource, so that the task can run somewhere.
        let place = vec![Value::Int(0)];
        self.core
            .set_restrictions(&[(key, place)], self.timeline.now, &mut self.effects);
    }
}
