//! What runs and what is fetched first.

use crate::task::TaskId;

/// Smaller first. Floats are kept as integers of the same order, so that comparing is cheap and total.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Priority {
    parts: [i64; 3],
    /// Later orders come first among equals: they are likelier to finish what was begun.
    arrival: i64,
}

impl Priority {
    /// Data that is acquired rather than needed: after all tasks of ordinary user priority, before those of low one.
    pub const ACQUIRE: protocol::messages::Priority =
        protocol::messages::Priority([1.0, f64::NEG_INFINITY, f64::NEG_INFINITY]);

    pub fn new(announced: protocol::messages::Priority, arrival: i64) -> Self {
        Self {
            parts: announced.0.map(sortable),
            arrival,
        }
    }
}

/// An integer that orders as the float does; zero and minus zero are the same.
fn sortable(number: f64) -> i64 {
    let bits = (number + 0.0).to_bits() as i64;
    bits ^ (((bits >> 63) as u64) >> 1) as i64
}

/// A task in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub priority: Priority,
    pub task: TaskId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_order_and_what_is_missing_comes_first() {
        let numbers = [
            f64::NEG_INFINITY,
            -2.5,
            -1.0,
            0.0,
            0.01,
            1.0,
            7e9,
            f64::INFINITY,
        ];
        for pair in numbers.windows(2) {
            assert!(sortable(pair[0]) < sortable(pair[1]), "{pair:?}");
        }
        assert_eq!(sortable(0.0), sortable(-0.0));
        let acquired = Priority::new(Priority::ACQUIRE, 0);
        let low = Priority::new(protocol::messages::Priority([1.0, 0.0, 0.0]), 0);
        let usual = Priority::new(protocol::messages::Priority([0.0, 9.0, 9.0]), 0);
        assert!(usual < acquired && acquired < low);
    }
}
