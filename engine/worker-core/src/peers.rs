//! The other workers, as far as something is wanted of them.
//!
//! A peer is known while a task that is coming names it, while it is asked, or while it is busy; then it is dropped, so
//! that workers may come and go for ever. Invariant: `eligible` are those that have something wanted and may be asked.

use crate::ids::GatherId;
use crate::priority::Place;
use protocol::address::host_of;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Index, IndexMut};
use std::sync::Arc;

/// Where a peer lies in the slab; reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PeerId(pub u32);

pub(crate) struct Peer {
    pub address: Arc<str>,
    pub same_host: bool,
    /// Tasks in state fetch that it has, the most urgent first.
    pub needed: BTreeSet<Place>,
    /// One request at a time.
    pub gather: Option<GatherId>,
    /// It said so, and may not be asked until its time is over.
    pub busy: bool,
    /// How many tasks name it as a holder.
    pub references: u32,
}

#[derive(Default)]
pub(crate) struct Peers {
    slab: Vec<Option<Peer>>,
    free: Vec<PeerId>,
    by_address: BTreeMap<Arc<str>, PeerId>,
    pub eligible: BTreeSet<PeerId>,
}

const EXISTS: &str = "a peer that is named is in the slab";

impl Index<PeerId> for Peers {
    type Output = Peer;

    fn index(&self, id: PeerId) -> &Peer {
        self.slab[id.0 as usize].as_ref().expect(EXISTS)
    }
}

impl IndexMut<PeerId> for Peers {
    fn index_mut(&mut self, id: PeerId) -> &mut Peer {
        self.slab[id.0 as usize].as_mut().expect(EXISTS)
    }
}

impl Peers {
    pub fn find(&self, address: &str) -> Option<PeerId> {
        self.by_address.get(address).copied()
    }

    pub fn find_or_add(&mut self, address: &str, own_host: &str) -> PeerId {
        if let Some(known) = self.find(address) {
            return known;
        }
        let address: Arc<str> = Arc::from(address);
        let peer = Peer {
            same_host: host_of(&address) == own_host,
            address: Arc::clone(&address),
            needed: BTreeSet::new(),
            gather: None,
            busy: false,
            references: 0,
        };
        let id = match self.free.pop() {
            Some(id) => {
                self.slab[id.0 as usize] = Some(peer);
                id
            }
            None => {
                self.slab.push(Some(peer));
                PeerId(self.slab.len() as u32 - 1)
            }
        };
        self.by_address.insert(address, id);
        id
    }

    pub fn iter(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        let numbered = self.slab.iter().enumerate();
        numbered.filter_map(|(at, peer)| Some((PeerId(at as u32), peer.as_ref()?)))
    }

    pub fn need(&mut self, id: PeerId, place: Place) {
        self[id].needed.insert(place);
        self.review(id);
    }

    pub fn need_no_more(&mut self, id: PeerId, place: Place) {
        self[id].needed.remove(&place);
        self.review(id);
    }

    /// After anything that `eligible` depends on has changed.
    pub fn review(&mut self, id: PeerId) {
        let peer = &self[id];
        if peer.gather.is_none() && !peer.busy && !peer.needed.is_empty() {
            self.eligible.insert(id);
        } else {
            self.eligible.remove(&id);
        }
    }

    pub fn unname(&mut self, id: PeerId) {
        self[id].references -= 1;
        self.drop_if_idle(id);
    }

    pub fn drop_if_idle(&mut self, id: PeerId) {
        let peer = &self[id];
        if peer.references == 0 && peer.gather.is_none() && !peer.busy {
            let address = Arc::clone(&peer.address);
            self.by_address.remove(&address);
            self.eligible.remove(&id);
            self.slab[id.0 as usize] = None;
            self.free.push(id);
        }
    }
}
