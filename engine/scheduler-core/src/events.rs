//! Topics: a bounded history of each, and who is told of what is new.

use crate::effects::{Effects, ToClient};
use crate::ids::{ClientId, Time};
use crate::scheduler::Scheduler;
use protocol::Value;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

#[derive(Default)]
struct Topic {
    events: VecDeque<(Time, Value)>,
    /// All there ever were.
    count: u64,
    subscribers: Vec<ClientId>,
}

pub(crate) struct Topics {
    limit: usize,
    topics: BTreeMap<Arc<str>, Topic>,
    /// Topics of peers that left, and when their history may go.
    expiries: VecDeque<(Time, Arc<str>)>,
}

impl Topics {
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            topics: BTreeMap::new(),
            expiries: VecDeque::new(),
        }
    }

    fn topic(&mut self, name: &str) -> &mut Topic {
        if !self.topics.contains_key(name) {
            self.topics.insert(Arc::from(name), Topic::default());
        }
        self.topics.get_mut(name).expect("inserted above")
    }

    /// Keeps the event and returns who must be told.
    fn publish(&mut self, name: &str, at: Time, message: &Value) -> Vec<ClientId> {
        let limit = self.limit;
        let topic = self.topic(name);
        if topic.events.len() >= limit {
            topic.events.pop_front();
        }
        if limit > 0 {
            topic.events.push_back((at, message.clone()));
        }
        topic.count += 1;
        topic.subscribers.clone()
    }

    pub fn subscribe(&mut self, name: &str, client: ClientId) {
        let topic = self.topic(name);
        if !topic.subscribers.contains(&client) {
            topic.subscribers.push(client);
        }
    }

    pub fn unsubscribe(&mut self, name: &str, client: ClientId) {
        if let Some(topic) = self.topics.get_mut(name) {
            topic.subscribers.retain(|own| *own != client);
        }
    }

    pub fn unsubscribe_everywhere(&mut self, client: ClientId) {
        for topic in self.topics.values_mut() {
            topic.subscribers.retain(|own| *own != client);
        }
    }

    /// The peer of that name has left; its history goes at `when` unless it is back by then.
    pub fn expire(&mut self, name: &Arc<str>, when: Time) {
        self.expiries.push_back((when, Arc::clone(name)));
    }

    pub fn next_expiry(&self) -> Option<Time> {
        self.expiries.front().map(|(when, _)| *when)
    }

    pub fn drop_expired(&mut self, now: Time, is_back: impl Fn(&str) -> bool) {
        while self.expiries.front().is_some_and(|(when, _)| *when <= now) {
            let Some((_, name)) = self.expiries.pop_front() else {
                return;
            };
            if is_back(&name) {
                continue;
            }
            let unheard = self.topics.get_mut(&name).is_some_and(|topic| {
                topic.events.clear();
                topic.subscribers.is_empty()
            });
            if unheard {
                self.topics.remove(&name);
            }
        }
    }

    pub fn events(&self, name: &str) -> Option<impl Iterator<Item = &(Time, Value)>> {
        Some(self.topics.get(name)?.events.iter())
    }

    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.topics.keys()
    }
}

impl Scheduler {
    /// Publishes an event under a topic.
    pub(crate) fn publish_event(&mut self, topic: &str, message: &Value, fx: &mut Effects) {
        let now = self.now;
        let subscribers = self.topics.publish(topic, now, message);
        if subscribers.is_empty() {
            return;
        }
        let topic: Arc<str> = Arc::from(topic);
        for client in subscribers {
            let event = ToClient::Event {
                topic: Arc::clone(&topic),
                at: now,
                message: message.clone(),
            };
            self.tell_client(client, fx, event);
        }
    }

    /// What the RPC and the stream op `log-event` do: one topic or several.
    pub fn log_event(&mut self, topics: &Value, message: &Value, now: Time, fx: &mut Effects) {
        self.begin_named(now, "log-event");
        // A stored event must not keep a whole received frame alive.
        let message = message.detached();
        match topics {
            Value::Array(names) | Value::Set(names) => {
                for name in names {
                    self.publish_event(&topic_name(name), &message, fx);
                }
            }
            name => self.publish_event(&topic_name(name), &message, fx),
        }
        self.end();
    }

    pub fn subscribe_topic(&mut self, client: ClientId, topic: &str) {
        self.topics.subscribe(topic, client);
    }

    pub fn unsubscribe_topic(&mut self, client: ClientId, topic: &str) {
        self.topics.unsubscribe(topic, client);
    }

    /// `[[time, message], …]` of one topic.
    pub fn events_of(&self, topic: &str) -> Value {
        let events = self.topics.events(topic).into_iter().flatten();
        events
            .map(|(at, message)| Value::Array(vec![Value::Float(at.seconds()), message.clone()]))
            .collect()
    }

    /// All topics with their events.
    pub fn events(&self) -> Value {
        let names = self.topics.names();
        Value::Map(
            names
                .map(|name| (Value::from(&**name), self.events_of(name)))
                .collect(),
        )
    }
}

fn topic_name(name: &Value) -> String {
    match name {
        Value::Str(text) => text.to_string_lossy().into_owned(),
        other => other
            .as_key()
            .map_or_else(String::new, |key| key.to_string()),
    }
}
