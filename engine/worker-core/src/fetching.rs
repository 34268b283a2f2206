//! Whom to ask for what: from fetch to flight.
//!
//! Peers are taken in the order of the most urgent thing each has, then those of the same host, then those that have most,
//! then by chance. Of each, one request: what it has, by urgency, up to the limits.

use crate::effects::{Action, Effects, Gather};
use crate::gathers::Request;
use crate::peers::PeerId;
use crate::policies::transfers::Incoming;
use crate::priority::Priority;
use crate::task::{State, TaskId, UNKNOWN_SIZE};
use crate::worker::Worker;
use rand_pcg::rand_core::Rng;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

/// How a peer compares with others; the first in this order is asked first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    top: Priority,
    other_host: bool,
    fewer: Reverse<usize>,
    chance: u64,
    peer: PeerId,
}

impl Worker {
    pub(crate) fn start_gathers(&mut self, fx: &mut Effects) {
        if !self.is_running() || self.peers.eligible.is_empty() {
            return;
        }
        let limits = Incoming::new(&self.config);
        if limits.is_full(self.gathers.count(), self.gathers.incoming_bytes) {
            return;
        }
        let mut ranks = self.rank_peers();
        while let Some(Reverse(rank)) = ranks.pop() {
            let Some(now) = self.rank(rank.peer, rank.chance) else {
                continue; // all it had is asked of others
            };
            if now != rank {
                ranks.push(Reverse(now));
                continue;
            }
            if !self.start_gather(rank.peer, &limits, fx)
                || limits.is_full(self.gathers.count(), self.gathers.incoming_bytes)
            {
                return;
            }
        }
    }

    fn rank_peers(&mut self) -> BinaryHeap<Reverse<Rank>> {
        let eligible: Vec<PeerId> = self.peers.eligible.iter().copied().collect();
        let drawn = eligible.len() > 1;
        eligible
            .into_iter()
            .filter_map(|peer| {
                let chance = if drawn { self.chance.next_u64() } else { 0 };
                self.rank(peer, chance).map(Reverse)
            })
            .collect()
    }

    fn rank(&self, peer: PeerId, chance: u64) -> Option<Rank> {
        if !self.peers.eligible.contains(&peer) {
            return None;
        }
        let own = &self.peers[peer];
        Some(Rank {
            top: own.needed.first()?.priority,
            other_host: !own.same_host,
            fewer: Reverse(own.needed.len()),
            chance,
            peer,
        })
    }

    /// One request; false if not even its first value may be asked for now.
    fn start_gather(&mut self, peer: PeerId, limits: &Incoming, fx: &mut Effects) -> bool {
        let (tasks, total_nbytes) = self.choose_for_gather(peer, limits);
        if tasks.is_empty() {
            return false;
        }
        let id = self.next_gather();
        let mut keys = Vec::with_capacity(tasks.len());
        for task in &tasks {
            keys.push(self.tasks[*task].key.clone());
            self.set_state(*task, State::Flight { gather: id });
        }
        self.peers[peer].gather = Some(id);
        self.peers.review(peer);
        let request = Request {
            peer,
            tasks,
            total_nbytes,
        };
        self.gathers.start(id, request);
        fx.act(Action::Gather(Box::new(Gather {
            id,
            peer: Arc::clone(&self.peers[peer].address),
            keys,
            total_nbytes,
        })));
        true
    }

    fn choose_for_gather(&mut self, peer: PeerId, limits: &Incoming) -> (Vec<TaskId>, u64) {
        let (mut tasks, mut total) = (Vec::new(), 0);
        while let Some(place) = self.peers[peer].needed.first().copied() {
            let nbytes = match self.tasks[place.task].nbytes {
                UNKNOWN_SIZE => self.config.default_data_size,
                known => known,
            };
            if !limits.admits(nbytes, total, self.gathers.incoming_bytes) {
                break;
            }
            self.leave_peers(place.task);
            tasks.push(place.task);
            total = total.saturating_add(nbytes);
        }
        (tasks, total)
    }
}
