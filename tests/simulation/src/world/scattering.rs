//! Values that a client lets go and scatters again under the same name through the scheduler, as programs do that scatter
//! the same content twice: steps as the scheduler's own request handler takes them.
//!
//! Requests of a worker are answered apart from its stream, before or after what the stream carries.

use super::{Event, Failure, STREAM_FROM_CLIENT, World};
use crate::client::Future;
use protocol::messages::{ClientKeys, FromClient};
use protocol::{Key, Text};
use scheduler_core::{ClientId, WorkerId};

/// So few names that they meet again and again.
const NAMES: usize = 2;
const PREFIX: &str = "again-";

/// How far one value is.
#[derive(Clone)]
pub(super) enum Scattering {
    Asked(Value, Option<Place>),
    /// At the worker.
    Given(Value, Given),
    /// The worker's answer is back.
    Answered(Value, Given),
}

/// A client scatters the same name only once at a time.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Value {
    key: Key,
    client: ClientId,
}

/// The worker it goes to, once that is chosen.
#[derive(Clone, Copy)]
pub(super) struct Place {
    slot: usize,
    life: u64,
}

#[derive(Clone, Copy)]
pub(super) struct Given {
    place: Place,
    dropped_before: u64,
}

pub(super) fn is_scattered_again(key: &Key) -> bool {
    key.as_str().is_some_and(|name| name.starts_with(PREFIX))
}

impl World {
    /// A client lets its value go and asks for it to be scattered again, in this order.
    pub(super) fn scatter_again(&mut self) {
        let client = self.chance.below(self.clients.len());
        let key = Key::str(&format!("{PREFIX}{}", self.chance.below(NAMES)));
        let value = Value {
            key: key.clone(),
            client: self.clients[client].id,
        };
        if self.under_way.contains(&value) {
            return;
        }
        self.under_way.push(value.clone());
        if self.clients[client].futures.remove(&key).is_some() {
            let keys = vec![key];
            self.say(
                client,
                FromClient::ClientReleasesKeys(ClientKeys { keys, client: None }),
            );
        }
        self.stream(
            STREAM_FROM_CLIENT + client as u64,
            Event::Scattering(Scattering::Asked(value, None)),
        );
    }

    pub(super) fn scattering(&mut self, step: Scattering) {
        match step {
            Scattering::Asked(value, place) => self.give(value, place),
            Scattering::Given(value, given) => {
                let latency = self.chance.between(0, self.settings.slowest_message_ms);
                let Place { slot, life } = given.place;
                let key = value.key.clone();
                self.with_worker(slot, life, |worker| worker.put(key, 100));
                self.add(
                    latency,
                    Event::Scattering(Scattering::Answered(value, given)),
                );
            }
            Scattering::Answered(value, given) => self.given(value, given),
        }
    }

    /// To any worker, once it may take the value; again to the same one.
    fn give(&mut self, value: Value, place: Option<Place>) {
        let slot = place.map_or_else(|| self.chance.below(self.slots.len()), |place| place.slot);
        let own = &self.slots[slot];
        if place.is_some_and(|place| place.life != own.life) {
            self.under_way.retain(|other| *other != value);
            return;
        }
        let Some(worker) = own.worker.as_ref() else {
            self.add(1, Event::Scattering(Scattering::Asked(value, None)));
            return;
        };
        let place = Place {
            slot,
            life: own.life,
        };
        let keys = [value.key.clone()];
        let taken = self.core.may_take(&[worker.id()], &keys, self.timeline.now);
        let Some(dropped_before) = taken else {
            self.add(1, Event::Scattering(Scattering::Asked(value, Some(place))));
            return;
        };
        let given = Given {
            place,
            dropped_before,
        };
        let latency = self.chance.between(0, self.settings.slowest_message_ms);
        self.add(latency, Event::Scattering(Scattering::Given(value, given)));
    }

    fn given(&mut self, value: Value, given: Given) {
        let place = given.place;
        let holders = [self.slots[place.slot].address.clone()];
        if self.core.dropped_since(given.dropped_before, &holders) {
            self.give(value, Some(place));
            return;
        }
        self.under_way.retain(|other| *other != value);
        // A worker that died meanwhile has not answered; one that came back at its address has nothing.
        if self.slots[place.slot].life != place.life {
            return;
        }
        let client = self
            .clients
            .iter_mut()
            .find(|client| client.id == value.client);
        let client = client.map(|client| {
            client.futures.insert(value.key.clone(), Future::Pending);
            client.id
        });
        self.core.update_data(
            &[(value.key.clone(), vec![Text::from(&*holders[0])])],
            &[(value.key, 100)],
            client,
            self.timeline.now,
            &mut self.effects,
        );
    }

    /// Where nothing else happens, every value that was scattered again is there, where the scheduler says it is.
    pub(super) fn check_scattered_again(&self) -> Result<(), Failure> {
        if self.settings.faults > 0 || self.summary.deaths > 0 {
            return Ok(());
        }
        for client in &self.clients {
            for (key, future) in &client.futures {
                let again = is_scattered_again(key);
                if again && (*future != Future::Finished || !self.is_really_held(key)) {
                    return Err(Failure(format!(
                        "{key:?} was scattered again, but the client sees {future:?}\n{}",
                        self.describe()
                    )));
                }
            }
        }
        Ok(())
    }

    fn is_really_held(&self, key: &Key) -> bool {
        let holders = self.core.holders(key);
        let has = |id: &WorkerId| {
            self.slots
                .iter()
                .filter_map(|slot| slot.worker.as_ref())
                .any(|worker| worker.id() == *id && worker.has(key))
        };
        !holders.is_empty() && holders.iter().all(has)
    }
}
