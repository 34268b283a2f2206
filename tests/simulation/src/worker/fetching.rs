//! How a simulated worker gets inputs from others.

use super::{Fetch, Phase, SimWorker};
use protocol::messages::{AddKeys, FromWorker};
use protocol::{Key, Text};
use std::sync::Arc;

impl SimWorker {
    pub(super) fn want(&mut self, key: Key, holders: Vec<Arc<str>>, acquired: bool) {
        let own = Arc::clone(&self.address);
        let holders: Vec<Arc<str>> = holders
            .into_iter()
            .filter(|holder| *holder != own)
            .collect();
        match self.fetches.get_mut(&key) {
            Some(fetch) => {
                fetch.holders = holders;
                fetch.acquired |= acquired;
            }
            None => {
                let fetch = Fetch {
                    holders,
                    in_flight: false,
                    acquired,
                };
                self.fetches.insert(key, fetch);
            }
        }
    }

    pub(super) fn drop_unneeded_fetches(&mut self) {
        let unneeded: Vec<Key> = self
            .fetches
            .iter()
            .filter(|(key, fetch)| !fetch.acquired && !self.is_input(key))
            .map(|(key, _)| key.clone())
            .collect();
        for key in unneeded {
            self.fetches.remove(&key);
        }
    }

    /// An input that was there and is not any more must be fetched again.
    pub(super) fn want_lost_inputs(&mut self) {
        let lost: Vec<Key> = self
            .runs
            .values()
            .filter(|run| run.phase == Phase::Waiting)
            .flat_map(|run| run.inputs.iter())
            .filter(|input| !self.data.contains_key(*input) && !self.fetches.contains_key(*input))
            .cloned()
            .collect();
        for key in lost {
            self.want(key, Vec::new(), false);
        }
    }

    /// The answer to a fetch: what the other had. `None`: it could not be reached.
    pub fn fetched(&mut self, from: &Arc<str>, asked: &[Key], answer: Option<&[(Key, u64)]>) {
        let mut added = Vec::new();
        for key in asked {
            let Some(fetch) = self.fetches.get_mut(key) else {
                continue;
            };
            fetch.in_flight = false;
            let found = answer.and_then(|found| found.iter().find(|(own, _)| own == key));
            match found {
                Some((_, nbytes)) if !self.runs.contains_key(key) => {
                    self.fetches.remove(key);
                    self.data.insert(key.clone(), *nbytes);
                    added.push(key.clone());
                }
                _ => fetch.holders.retain(|holder| holder != from),
            }
        }
        self.say_added(added);
        self.proceed();
    }

    /// The other is busy; later perhaps.
    pub fn fetch_later(&mut self, asked: &[Key]) {
        for key in asked {
            if let Some(fetch) = self.fetches.get_mut(key) {
                fetch.in_flight = false;
            }
        }
        self.proceed();
    }

    /// Asks who has what it cannot find; true if there is anything like that.
    pub fn look_for_missing(&mut self) -> bool {
        let missing = |fetch: &Fetch| fetch.holders.is_empty() && !fetch.in_flight;
        let keys: Vec<Key> = self
            .fetches
            .iter()
            .filter(|(_, fetch)| missing(fetch))
            .map(|(key, _)| key.clone())
            .collect();
        let any = !keys.is_empty();
        if any {
            self.say(FromWorker::RequestRefreshWhoHas(AddKeys {
                keys,
                stimulus_id: Text::from_static("find-missing"),
            }));
        }
        any
    }
}
