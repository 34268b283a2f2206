//! The last transitions, for `get_story`.

use crate::ids::Time;
use crate::task::Phase;
use protocol::{Key, Text};
use smallvec::SmallVec;
use std::collections::VecDeque;

pub(crate) struct Transition {
    pub key: Key,
    pub start: Phase,
    pub finish: Phase,
    pub recommendations: SmallVec<[(Key, Phase); 2]>,
    pub stimulus_id: Text,
    pub at: Time,
}

impl Transition {
    pub fn describe(&self) -> String {
        let (key, start, finish) = (&self.key, self.start.name(), self.finish.name());
        format!(
            "{key:?} {start} -> {finish}, recommends {:?}",
            self.recommendations
        )
    }
}

/// A ring.
pub(crate) struct Story {
    limit: usize,
    transitions: VecDeque<Transition>,
}

impl Story {
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            transitions: VecDeque::new(),
        }
    }

    pub fn keeps_anything(&self) -> bool {
        self.limit > 0
    }

    pub fn push(&mut self, transition: Transition) {
        if self.transitions.len() == self.limit {
            self.transitions.pop_front();
        }
        self.transitions.push_back(transition);
    }

    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Transition> {
        self.transitions.iter()
    }
}
