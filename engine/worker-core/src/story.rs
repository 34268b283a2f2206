//! The last transitions, for `get_story` and for whoever looks for a bug.

use crate::ids::Time;
use protocol::{Key, Text};
use std::collections::VecDeque;

/// One change of one task's state.
#[derive(Clone, Debug)]
pub struct Transition {
    pub key: Key,
    pub start: &'static str,
    pub finish: &'static str,
    pub stimulus_id: Text,
    pub at: Time,
}

/// A ring.
pub(crate) struct Story {
    limit: usize,
    transitions: VecDeque<Transition>,
    /// The last name, copied out of the message it came in, which must not be kept.
    name: Text,
}

impl Story {
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            transitions: VecDeque::new(),
            name: Text::default(),
        }
    }

    pub fn keeps_anything(&self) -> bool {
        self.limit > 0
    }

    pub fn push(
        &mut self,
        key: Key,
        start: &'static str,
        finish: &'static str,
        stimulus: &Text,
        at: Time,
    ) {
        if self.name != *stimulus {
            self.name = stimulus.detached();
        }
        if self.transitions.len() == self.limit {
            self.transitions.pop_front();
        }
        self.transitions.push_back(Transition {
            key,
            start,
            finish,
            stimulus_id: self.name.clone(),
            at,
        });
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Transition> {
        self.transitions.iter()
    }
}
