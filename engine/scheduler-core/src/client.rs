//! Clients, and the pseudo clients that hold wishes on behalf of something else.

use crate::id_set::hash_id;
use crate::ids::{ClientId, Time};
use crate::task::TaskId;
use hashbrown::HashTable;
use protocol::Value;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Wishes that end when the task is done.
pub(crate) const FIRE_AND_FORGET: ClientId = ClientId(0);

pub(crate) struct Client {
    pub name: Arc<str>,
    /// Has a stream; pseudo clients have none.
    pub connected: bool,
    pub wants: Wishes,
    pub last_seen: Time,
    pub versions: Value,
}

/// The tasks a client wants; no order promised.
#[derive(Default)]
pub(crate) struct Wishes(HashTable<TaskId>);

impl Wishes {
    /// True if it was not there.
    pub fn insert(&mut self, task: TaskId) -> bool {
        if self.contains(task) {
            return false;
        }
        self.0
            .insert_unique(hash_id(task.0), task, |own| hash_id(own.0));
        true
    }

    /// True if it was there.
    pub fn remove(&mut self, task: TaskId) -> bool {
        let Ok(entry) = self.0.find_entry(hash_id(task.0), |own| *own == task) else {
            return false;
        };
        entry.remove();
        if self.0.is_empty() {
            self.0 = HashTable::new();
        }
        true
    }

    pub fn contains(&self, task: TaskId) -> bool {
        self.0.find(hash_id(task.0), |own| *own == task).is_some()
    }

    /// In order of task id.
    pub fn sorted(&self) -> Vec<TaskId> {
        let mut tasks: Vec<TaskId> = self.0.iter().copied().collect();
        tasks.sort_unstable();
        tasks
    }

    pub fn heap_bytes(&self) -> usize {
        self.0.allocation_size()
    }
}

#[derive(Default)]
pub(crate) struct Clients {
    slots: Vec<Option<Client>>,
    by_name: BTreeMap<Arc<str>, ClientId>,
}

impl Clients {
    /// Only the pseudo client for fire-and-forget.
    pub fn new(now: Time) -> Self {
        let mut clients = Self::default();
        clients.insert("fire-and-forget", false, Value::Nil, now);
        clients
    }

    pub fn insert(&mut self, name: &str, connected: bool, versions: Value, now: Time) -> ClientId {
        let id = ClientId(self.slots.len() as u32);
        let name: Arc<str> = Arc::from(name);
        self.by_name.insert(Arc::clone(&name), id);
        self.slots.push(Some(Client {
            name,
            connected,
            wants: Wishes::default(),
            last_seen: now,
            versions,
        }));
        id
    }

    pub fn get(&self, id: ClientId) -> Option<&Client> {
        self.slots.get(id.0 as usize)?.as_ref()
    }

    pub fn get_mut(&mut self, id: ClientId) -> Option<&mut Client> {
        self.slots.get_mut(id.0 as usize)?.as_mut()
    }

    pub fn find(&self, name: &str) -> Option<ClientId> {
        self.by_name.get(name).copied()
    }

    /// Must want nothing any more.
    pub fn remove(&mut self, id: ClientId) {
        let Some(client) = self.slots.get_mut(id.0 as usize).and_then(Option::take) else {
            return;
        };
        if self.by_name.get(&client.name) == Some(&id) {
            self.by_name.remove(&client.name);
        }
    }

    pub fn is_connected(&self, id: ClientId) -> bool {
        self.get(id).is_some_and(|client| client.connected)
    }

    /// In order of arrival.
    pub fn iter(&self) -> impl Iterator<Item = (ClientId, &Client)> {
        self.slots
            .iter()
            .enumerate()
            .filter_map(|(at, client)| Some((ClientId(at as u32), client.as_ref()?)))
    }

    /// Pseudo clients included.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }
}
