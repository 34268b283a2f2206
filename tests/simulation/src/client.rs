//! A client: what it holds futures for, and what it has been told about them.

use protocol::Key;
use scheduler_core::{ClientId, ToClient};
use std::collections::BTreeMap;

/// A future as the user sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Future {
    Pending,
    Finished,
    Erred,
    Cancelled,
    Lost,
}

pub struct SimClient {
    pub id: ClientId,
    pub futures: BTreeMap<Key, Future>,
}

impl SimClient {
    pub fn new(id: ClientId) -> Self {
        Self {
            id,
            futures: BTreeMap::new(),
        }
    }

    pub fn hear(&mut self, message: &ToClient) {
        match message {
            ToClient::KeyInMemory { key, .. } => self.set(key, Future::Finished),
            ToClient::TaskErred { key, .. } => self.set(key, Future::Erred),
            ToClient::LostData { key } => self.set(key, Future::Lost),
            ToClient::TaskRetried { key } => self.set(key, Future::Pending),
            ToClient::CancelledKeys { keys, .. } => {
                for key in keys {
                    self.set(key, Future::Cancelled);
                }
            }
            ToClient::Restart => {
                for future in self.futures.values_mut() {
                    *future = Future::Cancelled;
                }
            }
            ToClient::Event { .. } | ToClient::AdjustHeartbeatInterval { .. } => {}
        }
    }

    fn set(&mut self, key: &Key, state: Future) {
        if let Some(future) = self.futures.get_mut(key) {
            *future = state;
        }
    }
}
