//! Answers of peers.

use crate::effects::{Action, Effects, Location, LogLevel, Source};
use crate::events::{GatherOutcome, Gathered, TaskError};
use crate::gathers::Request;
use crate::ids::GatherId;
use crate::peers::PeerId;
use crate::task::{State, TaskId, UNKNOWN_SIZE};
use crate::transitions::Arrival;
use crate::worker::Worker;
use protocol::messages::{Action as Doing, StartStop};
use protocol::{Key, Text};
use smallvec::SmallVec;
use std::collections::BTreeSet;
use std::sync::Arc;

/// As stock has it: long enough for some transfers to end.
const BUSY_NS: u64 = 150_000_000;
/// Nonsense for one value so many times in a row is the fault of those who need it.
const MOST_FAILURES: u8 = 3;

impl Worker {
    pub(crate) fn gathered(&mut self, gathered: Gathered, fx: &mut Effects) {
        let id = gathered.gather;
        let Some(request) = self.gathers.end(id) else {
            self.log(LogLevel::Error, "answer to no request", id.0, fx);
            return;
        };
        let peer = request.peer;
        // Named once more, so that it is not dropped in the middle.
        self.peers[peer].references += 1;
        self.peers[peer].gather = None;
        match gathered.outcome {
            GatherOutcome::Received(received) => {
                self.begin_named("gather-dep-success");
                let times = (gathered.start_seconds, gathered.stop_seconds);
                self.received(id, peer, received, times, fx);
                self.try_elsewhere(id, &request);
            }
            GatherOutcome::Busy => {
                self.begin_named("gather-dep-busy");
                self.peer_is_busy(id, &request, fx);
            }
            GatherOutcome::Unreachable => {
                self.begin_named("gather-dep-network-failure");
                self.try_elsewhere(id, &request);
                self.give_up_on(peer);
            }
            GatherOutcome::Malformed(error) => {
                self.begin_named("gather-dep-failed");
                self.received_nonsense(id, &request, &error, fx);
            }
        }
        self.peers.review(peer);
        self.peers.unname(peer);
    }

    fn is_in_flight(&self, task: TaskId, id: GatherId) -> bool {
        let own = self.tasks.get(task);
        own.is_some_and(|own| matches!(own.state, State::Flight { gather } if gather == id))
    }

    fn received(
        &mut self,
        id: GatherId,
        peer: PeerId,
        received: Vec<(Key, u64)>,
        times: (f64, f64),
        fx: &mut Effects,
    ) {
        let mut added = Vec::with_capacity(received.len());
        for (key, bytes) in received {
            let found = self.tasks.find(&key);
            let Some(task) = found.filter(|task| self.is_in_flight(*task, id)) else {
                continue; // not asked for, or not any more
            };
            if self.tasks[task].is_wanted() {
                self.note_transfer(task, peer, times);
                self.keep(task, bytes, Source::Gather(id), fx);
                added.push(key);
            } else {
                self.leave(task, fx);
                self.forget_if_idle(task);
            }
        }
        self.say_added(added, fx);
    }

    /// Stores what came; what is here is told of by the caller.
    pub(crate) fn keep(&mut self, task: TaskId, bytes: u64, source: Source, fx: &mut Effects) {
        self.forget_holders(task);
        let value = self.next_value();
        let nbytes = match self.tasks[task].nbytes {
            UNKNOWN_SIZE => bytes,
            announced => announced,
        };
        fx.act(Action::Store {
            key: self.tasks[task].key.clone(),
            value,
            source,
        });
        let arrival = Arrival {
            value,
            location: Location::Serialized,
            nbytes,
            actor: false,
            kind: None,
            thread: None,
        };
        self.enter_memory(task, arrival);
    }

    /// The first task that waits for a transfer tells the scheduler how long it took.
    fn note_transfer(&mut self, task: TaskId, peer: PeerId, (start, stop): (f64, f64)) {
        let Some((cause, _)) = self.tasks[task].dependents.first().copied() else {
            return;
        };
        let source = Text::from(&*self.peers[peer].address);
        let known = &mut self.tasks[cause].startstops;
        let same = |own: &StartStop| own.start == start && own.source.as_ref() == Some(&source);
        // Values of one answer come one after another.
        if !known.last().is_some_and(same) {
            known.push(StartStop {
                action: Doing::Transfer,
                start,
                stop,
                source: Some(source),
            });
        }
    }

    /// What a request did not bring is asked of others.
    fn try_elsewhere(&mut self, id: GatherId, request: &Request) {
        for task in &request.tasks {
            if self.is_in_flight(*task, id) {
                self.drop_holder(*task, request.peer);
                self.fetch_again(*task);
            }
        }
    }

    fn fetch_again(&mut self, task: TaskId) {
        if self.tasks[task].is_wanted() {
            self.fetch(task);
        } else {
            self.leave_flight_unneeded(task);
        }
    }

    fn leave_flight_unneeded(&mut self, task: TaskId) {
        self.forget_holders(task);
        self.tasks[task].priority = None;
        self.set_state(task, State::Released);
        self.forget_if_idle(task);
    }

    fn peer_is_busy(&mut self, id: GatherId, request: &Request, fx: &mut Effects) {
        self.peers[request.peer].busy = true;
        fx.act(Action::RetryBusyPeerLater {
            peer: Arc::clone(&self.peers[request.peer].address),
            after_ns: BUSY_NS,
        });
        for task in &request.tasks {
            if !self.is_in_flight(*task, id) {
                continue;
            }
            let own = &self.tasks[*task];
            if own.is_wanted() && own.who_has.iter().all(|holder| self.peers[*holder].busy) {
                // Perhaps there is another by now.
                self.questions.push(own.key.clone());
            }
            self.fetch_again(*task);
        }
    }

    pub(crate) fn retry_busy_peer(&mut self, address: &str) {
        if let Some(peer) = self.peers.find(address) {
            self.peers[peer].busy = false;
            self.peers.review(peer);
            self.peers.drop_if_idle(peer);
        }
    }

    fn received_nonsense(
        &mut self,
        id: GatherId,
        request: &Request,
        error: &TaskError,
        fx: &mut Effects,
    ) {
        let address = Arc::clone(&self.peers[request.peer].address);
        self.log(LogLevel::Warning, "a peer answered nonsense", address, fx);
        for task in &request.tasks {
            if !self.is_in_flight(*task, id) {
                continue;
            }
            let own = &mut self.tasks[*task];
            own.failures += 1;
            if own.failures >= MOST_FAILURES {
                self.fail_dependents(*task, error, fx);
            }
            self.drop_holder(*task, request.peer);
            self.fetch_again(*task);
        }
    }

    /// A value that cannot be had: who waits for it fails, so that the user sees why.
    fn fail_dependents(&mut self, task: TaskId, error: &TaskError, fx: &mut Effects) {
        self.tasks[task].failures = 0;
        self.tasks[task].acquired = false;
        let dependents = self.tasks[task].dependents.iter();
        let failing: BTreeSet<TaskId> = dependents.map(|(own, _)| *own).collect();
        for dependent in failing {
            self.leave(dependent, fx);
            self.fail(dependent, error.clone(), None, SmallVec::new(), fx);
        }
    }

    /// Asks again for everything nobody seems to have.
    pub(crate) fn find_missing(&mut self) {
        if self.missing.is_empty() {
            return;
        }
        self.begin_named("find-missing");
        let keys = self
            .missing
            .iter()
            .map(|task| self.tasks[*task].key.clone());
        self.questions.extend(keys);
    }
}
