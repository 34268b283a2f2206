//! Fetch, flight, missing: values that others have.
//!
//! Invariant: a task in state fetch is in `needed` of each of its holders, and of nobody else.

use crate::peers::PeerId;
use crate::priority::Priority;
use crate::task::{BIGGEST_BYTES, Phase, State, TaskId};
use crate::worker::Worker;
use protocol::Text;
use protocol::messages::Replica;
use smallvec::SmallVec;

impl Worker {
    /// The scheduler has said where an input is. `cancelled`: nobody wanted it until now.
    pub(crate) fn input_announced(
        &mut self,
        input: TaskId,
        replica: &Replica,
        priority: Priority,
        cancelled: bool,
    ) {
        let phase = self.tasks[input].phase();
        let has_none = matches!(phase, Phase::Released | Phase::Error);
        if !has_none && !phase.is_coming() {
            return; // computed here, and coming from there
        }
        if let Some(nbytes) = replica.nbytes {
            self.tasks[input].nbytes = nbytes.min(BIGGEST_BYTES);
        }
        self.tasks[input].priority.get_or_insert(priority);
        self.set_holders(input, &replica.holders);
        if cancelled && !self.comes_from_a_holder(input) {
            // Nobody wanted it any more, and whoever sends it does not have it: it may be an older value of that name.
            self.set_state(input, State::Released);
        }
        self.want(input);
        self.hurry(input, priority);
    }

    fn comes_from_a_holder(&self, task: TaskId) -> bool {
        let own = &self.tasks[task];
        let State::Flight { gather } = own.state else {
            return true;
        };
        let request = self.gathers.get(gather);
        request.is_some_and(|request| own.who_has.contains(&request.peer))
    }

    /// Sees to it that the value of a task comes, if it does not yet.
    pub(crate) fn want(&mut self, task: TaskId) {
        let holders = !self.tasks[task].who_has.is_empty();
        match (self.tasks[task].phase(), holders) {
            (Phase::Released | Phase::Error, _) | (Phase::Missing, true) => self.fetch(task),
            (Phase::Fetch, false) => self.leave_fetch_for_missing(task),
            _ => {}
        }
    }

    /// From anywhere but fetch itself.
    pub(crate) fn fetch(&mut self, task: TaskId) {
        self.missing.remove(&task);
        if self.tasks[task].who_has.is_empty() {
            self.miss(task);
            return;
        }
        self.set_state(task, State::Fetch);
        let place = self.place(task);
        for at in 0..self.tasks[task].who_has.len() {
            let peer = self.tasks[task].who_has[at];
            self.peers.need(peer, place);
        }
    }

    fn leave_fetch_for_missing(&mut self, task: TaskId) {
        self.leave_peers(task);
        self.miss(task);
    }

    /// Nobody is known to have it. The scheduler is asked at once the first time, and from then on once in a while.
    fn miss(&mut self, task: TaskId) {
        self.set_state(task, State::Missing);
        self.missing.insert(task);
        let own = &mut self.tasks[task];
        if !own.asked {
            own.asked = true;
            self.questions.push(own.key.clone());
        }
    }

    /// Takes a task in state fetch off the lists of its holders.
    pub(crate) fn leave_peers(&mut self, task: TaskId) {
        let place = self.place(task);
        for at in 0..self.tasks[task].who_has.len() {
            let peer = self.tasks[task].who_has[at];
            self.peers.need_no_more(peer, place);
        }
    }

    /// A request for it goes on; what it brings is then dropped.
    pub(super) fn leave_coming(&mut self, task: TaskId) {
        match self.tasks[task].phase() {
            Phase::Fetch => self.leave_peers(task),
            Phase::Missing => {
                self.missing.remove(&task);
            }
            _ => {}
        }
        self.forget_holders(task);
        let own = &mut self.tasks[task];
        own.priority = None;
        own.failures = 0;
        self.set_state(task, State::Released);
    }

    pub(crate) fn forget_holders(&mut self, task: TaskId) {
        for peer in std::mem::take(&mut self.tasks[task].who_has) {
            self.peers.unname(peer);
        }
    }

    /// Who has it, by the scheduler's word. Does not move the task between states.
    pub(crate) fn set_holders(&mut self, task: TaskId, addresses: &[Text]) {
        let mut holders = SmallVec::<[PeerId; 2]>::new();
        for address in addresses {
            let address = address.to_string_lossy();
            if *address == *self.config.address {
                continue;
            }
            let peer = self.peers.find_or_add(&address, &self.own_host);
            if !holders.contains(&peer) {
                self.peers[peer].references += 1;
                holders.push(peer);
            }
        }
        let before = std::mem::replace(&mut self.tasks[task].who_has, holders);
        if self.tasks[task].phase() == Phase::Fetch {
            self.move_between_holders(task, &before);
        }
        for peer in before {
            self.peers.unname(peer);
        }
    }

    fn move_between_holders(&mut self, task: TaskId, before: &[PeerId]) {
        let place = self.place(task);
        for peer in before {
            if !self.tasks[task].who_has.contains(peer) {
                self.peers.need_no_more(*peer, place);
            }
        }
        for at in 0..self.tasks[task].who_has.len() {
            let peer = self.tasks[task].who_has[at];
            if !before.contains(&peer) {
                self.peers.need(peer, place);
            }
        }
    }

    /// The peer does not have it. Does not move the task between states.
    pub(crate) fn drop_holder(&mut self, task: TaskId, peer: PeerId) {
        let place = self.place(task);
        let own = &mut self.tasks[task];
        let Some(at) = own.who_has.iter().position(|holder| *holder == peer) else {
            return;
        };
        own.who_has.swap_remove(at);
        if own.phase() == Phase::Fetch {
            self.peers.need_no_more(peer, place);
        }
        self.peers.unname(peer);
    }

    /// What a more urgent task needs is fetched with its urgency.
    fn hurry(&mut self, task: TaskId, priority: Priority) {
        if self.tasks[task].priority.is_some_and(|own| own <= priority) {
            return;
        }
        let phase = self.tasks[task].phase();
        if !phase.is_coming() {
            return;
        }
        if phase == Phase::Fetch {
            self.leave_peers(task);
        }
        self.tasks[task].priority = Some(priority);
        if phase == Phase::Fetch {
            self.fetch(task);
        }
    }

    /// A task that is to be fetched and that nobody needs is let go. What is in flight is dropped when it comes, so that it
    /// need not be asked for twice if somebody needs it after all.
    pub(crate) fn drop_unneeded(&mut self, task: TaskId) {
        let Some(own) = self.tasks.get(task) else {
            return; // it was an input twice over
        };
        if own.is_wanted() {
            return;
        }
        match own.phase() {
            Phase::Fetch | Phase::Missing => {
                self.leave_coming(task);
                self.forget_if_idle(task);
            }
            Phase::Released => self.forget_if_idle(task),
            _ => {}
        }
    }
}
