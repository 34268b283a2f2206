//! Scattered values that a worker was told to drop and has not yet said it has.
//!
//! A worker hears of scattered data by requests, which the order of its stream says nothing about. What is scattered again
//! under the same name, as the same value is, must not overtake the order to drop the last one: it would be dropped in its
//! place. Nor may a late word about the last one be taken for the new one. So scattering waits for that word.
//! Only scattered values are noted, so that results of tasks, whose orders and answers share one stream, cost nothing; and
//! what a worker asks for that nobody knows any more, since nobody knows either whether it was scattered.

use crate::ids::Time;
use hashbrown::HashMap;
use protocol::{Key, KeyBuildHasher, Text};

/// A worker that had dropped the value by itself has nothing to answer; that must not hold data up for long.
const ANSWERED_WITHIN_SECONDS: f64 = 5.0;

/// So many orders are noted before it is looked which of them are too old.
const FIRST_LOOK: usize = 64;

#[derive(Default)]
pub(crate) struct Freeing {
    orders: HashMap<Key, Order, KeyBuildHasher>,
    /// Number of the latest order, among all of all workers.
    latest: u64,
    look_at: usize,
}

struct Order {
    /// What the answer will name.
    stimulus: Text,
    until: Time,
}

impl Freeing {
    /// The worker is being told to drop this value.
    pub fn ordered(&mut self, key: Key, stimulus: Text, number: u64, now: Time) {
        if self.orders.len() >= self.look_at {
            self.orders.retain(|_, order| now < order.until);
            self.look_at = FIRST_LOOK.max(2 * self.orders.len());
        }
        let until = now.plus_seconds(ANSWERED_WITHIN_SECONDS);
        self.orders.insert(key, Order { stimulus, until });
        self.latest = number;
    }

    /// The worker has dropped this value. True if it was the answer to an order.
    pub fn answered(&mut self, key: &Key, stimulus: &Text) -> bool {
        let answers = self
            .orders
            .get(key)
            .is_some_and(|order| order.stimulus == *stimulus);
        if answers {
            self.orders.remove(key);
        }
        answers
    }

    pub fn waits_for(&self, key: &Key, now: Time) -> bool {
        !self.orders.is_empty() && self.orders.get(key).is_some_and(|order| now < order.until)
    }

    /// Whether it was told to drop anything after that many orders.
    pub fn ordered_since(&self, number: u64) -> bool {
        self.latest > number
    }
}
