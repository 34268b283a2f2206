//! Questions to the executor that wait for their answers.

use crate::executor::message::Failed;
use protocol::{Frames, Key, Payload};
use std::collections::HashMap;
use tokio::sync::oneshot;
use tracing::warn;

/// What became of a `fetch`.
#[derive(Debug, Default)]
pub struct Fetched {
    pub found: Vec<(Key, Payload)>,
    pub failed: Vec<Failed>,
}

impl Fetched {
    /// The value, where only one was asked for and it can be serialized.
    pub fn into_only(mut self) -> Option<Payload> {
        for failed in &self.failed {
            warn!(task = %failed.key, error = %failed.text, "a value cannot be serialized");
        }
        let (_, payload) = self.found.pop().filter(|_| self.failed.is_empty())?;
        Some(payload)
    }
}

#[derive(Default)]
pub struct Requests {
    number: u64,
    fetches: HashMap<u64, (Fetched, oneshot::Sender<Fetched>)>,
    calls: HashMap<u64, oneshot::Sender<Frames>>,
}

impl Requests {
    pub fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    pub fn fetch(&mut self) -> (u64, oneshot::Receiver<Fetched>) {
        let (sender, receiver) = oneshot::channel();
        let number = self.next_number();
        self.fetches.insert(number, (Fetched::default(), sender));
        (number, receiver)
    }

    pub fn call(&mut self) -> (u64, oneshot::Receiver<Frames>) {
        let (sender, receiver) = oneshot::channel();
        let number = self.next_number();
        self.calls.insert(number, sender);
        (number, receiver)
    }

    pub fn part(
        &mut self,
        request: u64,
        found: Vec<(Key, Payload)>,
        failed: Vec<Failed>,
        more: bool,
    ) {
        let Some((fetched, _)) = self.fetches.get_mut(&request) else {
            return;
        };
        fetched.found.extend(found);
        fetched.failed.extend(failed);
        if !more && let Some((fetched, sender)) = self.fetches.remove(&request) {
            // Whoever asked may be gone.
            let _unwanted = sender.send(fetched);
        }
    }

    pub fn answer(&mut self, request: u64, frames: Frames) {
        if let Some(sender) = self.calls.remove(&request) {
            let _unwanted = sender.send(frames);
        }
    }
}
