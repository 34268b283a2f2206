//! Requests to peers that are under way, and what they may bring.

use crate::ids::GatherId;
use crate::peers::PeerId;
use crate::task::TaskId;
use std::collections::BTreeMap;

pub(crate) struct Request {
    pub peer: PeerId,
    /// What was asked for; some may have been freed meanwhile, and their places used again.
    pub tasks: Vec<TaskId>,
    pub total_nbytes: u64,
}

#[derive(Default)]
pub(crate) struct Gathers {
    requests: BTreeMap<GatherId, Request>,
    /// Bytes asked for and not there yet.
    pub incoming_bytes: u64,
    /// Requests since the start.
    pub total: u64,
}

impl Gathers {
    pub fn start(&mut self, id: GatherId, request: Request) {
        self.incoming_bytes += request.total_nbytes;
        self.total += 1;
        self.requests.insert(id, request);
    }

    pub fn end(&mut self, id: GatherId) -> Option<Request> {
        let request = self.requests.remove(&id)?;
        self.incoming_bytes -= request.total_nbytes;
        Some(request)
    }

    pub fn get(&self, id: GatherId) -> Option<&Request> {
        self.requests.get(&id)
    }

    pub fn count(&self) -> usize {
        self.requests.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = (GatherId, &Request)> {
        self.requests.iter().map(|(id, request)| (*id, request))
    }
}
