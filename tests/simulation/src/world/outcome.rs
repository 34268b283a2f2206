//! Whether a run ended well.

use super::{Event, Failure, STREAM_FROM_CLIENT, Summary, World};
use crate::client::Future;
use crate::member::Member;
use protocol::Key;

impl World {
    /// A wanted key that is neither there nor failed, nor was its client told that it is gone.
    pub(super) fn ungranted(&self) -> Option<String> {
        for client in &self.clients {
            for (key, future) in &client.futures {
                let status = self.core.task_status(key);
                let granted = match status {
                    Some("memory") => *future == Future::Finished,
                    Some("erred") => *future == Future::Erred,
                    Some(_) => *future == Future::Cancelled,
                    None => matches!(future, Future::Cancelled | Future::Lost),
                };
                // What is cancelled or lost may live on for others.
                let given_up = matches!(future, Future::Cancelled | Future::Lost)
                    && !self.core.wants(client.id, key);
                if !granted && !given_up && *future != Future::Cancelled {
                    return Some(format!(
                        "{key:?} is {status:?} but the client sees {future:?}"
                    ));
                }
            }
        }
        None
    }

    pub(super) fn check_wishes_granted(&self) -> Result<(), Failure> {
        match self.ungranted() {
            None => Ok(()),
            Some(what) => Err(Failure(format!("hang: {what}\n{}", self.describe()))),
        }
    }

    /// Values that were put under a name past the scheduler: it may take a worker's word about the last value for one about the
    /// new.
    fn may_be_mistaken(&self, key: &Key) -> bool {
        self.put_over.contains(key)
    }

    /// At rest the scheduler knows exactly what real workers hold.
    pub(super) fn check_books_agree(&self) -> Result<(), Failure> {
        for slot in &self.slots {
            let Some(Member::Real(worker)) = &slot.worker else {
                continue;
            };
            let said = self.core.who_has(None).into_iter().map(|(key, _)| key);
            for key in worker.held().into_iter().chain(said) {
                let known = self.core.holders(&key).contains(&worker.id);
                let held = worker.has(&key);
                if known != held && !self.may_be_mistaken(&key) {
                    let place = &slot.address;
                    let text = format!("{key:?} at {place}: said to be {known}, is {held}");
                    return Err(Failure(format!("{text}\n{}", self.describe())));
                }
            }
        }
        Ok(())
    }

    /// What the scheduler does not know of is dropped without it.
    pub(super) fn drop_what_is_held_in_secret(&mut self) {
        for slot in 0..self.slots.len() {
            let Some(Member::Real(worker)) = &self.slots[slot].worker else {
                continue;
            };
            let secret = |key: &Key| !self.core.holders(key).contains(&worker.id);
            let secrets: Vec<Key> = worker.held().into_iter().filter(secret).collect();
            let life = self.slots[slot].life;
            for key in secrets {
                self.with_worker(slot, life, |worker| worker.lose(&key));
            }
        }
    }

    pub(super) fn remember(&mut self, worker: &Member) {
        let seen = worker.seen().cloned().unwrap_or_default();
        self.summary.add(&Summary {
            seen,
            ..Summary::default()
        });
    }

    pub(super) fn summed_up(mut self) -> Summary {
        for slot in std::mem::take(&mut self.slots) {
            if let Some(worker) = &slot.worker {
                self.remember(worker);
            }
        }
        self.summary
    }

    pub(super) fn everybody_leaves(&mut self) {
        for at in 0..self.clients.len() {
            let id = self.clients[at].id;
            self.clients[at].futures.clear();
            self.stream(STREAM_FROM_CLIENT + at as u64, Event::ClientGone(id));
        }
    }

    pub(super) fn check_nothing_left(&self) -> Result<(), Failure> {
        if self.core.task_count() > 0 {
            return Err(Failure(format!(
                "{} tasks left\n{}",
                self.core.task_count(),
                self.describe()
            )));
        }
        for slot in &self.slots {
            if let Some(worker) = slot
                .worker
                .as_ref()
                .filter(|worker| !worker.holds_nothing())
            {
                return Err(Failure(format!("left on a worker: {}", worker.describe())));
            }
        }
        Ok(())
    }

    pub(super) fn describe(&self) -> String {
        let mut lines = Vec::new();
        for (key, _) in self.core.who_has(None) {
            lines.extend(self.core.describe_task(&key));
        }
        for slot in &self.slots {
            let worker = slot
                .worker
                .as_ref()
                .map(|worker| (worker.status(), worker.describe()));
            lines.push(format!("{} {worker:?}", slot.address));
        }
        lines.join("\n")
    }
}
