//! Questions to the executor that wait for their answers.

use crate::executor::lent::{Loan, Piece};
use crate::executor::message::{Failed, Served, ServedFrame};
use bytes::Bytes;
use protocol::{Frames, Key, Payload};
use std::collections::HashMap;
use std::rc::Rc;
use tokio::sync::oneshot;
use tracing::warn;

/// A value in serialized form, here or where it was made.
#[derive(Clone, Debug)]
pub struct Serialized {
    pub header: Bytes,
    pub frames: Vec<Piece>,
}

impl Serialized {
    fn of_executor(served: Served, process: i32) -> Self {
        let frames = served.frames.into_iter().map(|frame| match frame {
            ServedFrame::Here(bytes) => Piece::Here(bytes),
            ServedFrame::Lent(place) => Piece::Lent { process, place },
        });
        Self {
            header: served.header,
            frames: frames.collect(),
        }
    }
}

impl From<&Payload> for Serialized {
    fn from(payload: &Payload) -> Self {
        Self {
            header: payload.header().clone(),
            frames: payload.frames().iter().cloned().map(Piece::Here).collect(),
        }
    }
}

/// What became of a `fetch`.
#[derive(Default)]
pub struct Fetched {
    pub found: Vec<(Key, Serialized)>,
    pub failed: Vec<Failed>,
    /// To be kept for as long as anything is read.
    pub loan: Option<Rc<Loan>>,
}

impl Fetched {
    /// The value, where only one was asked for and it can be serialized.
    pub fn into_only(mut self) -> Option<(Serialized, Option<Rc<Loan>>)> {
        for failed in &self.failed {
            warn!(task = %failed.key, error = %failed.text, "a value cannot be serialized");
        }
        let (_, value) = self.found.pop().filter(|_| self.failed.is_empty())?;
        Some((value, self.loan))
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

    /// A part of an answer, by this process.
    pub fn part(
        &mut self,
        request: u64,
        found: Vec<(Key, Served)>,
        failed: Vec<Failed>,
        (process, more): (i32, bool),
    ) {
        let Some((fetched, _)) = self.fetches.get_mut(&request) else {
            return;
        };
        let found = found.into_iter();
        let found = found.map(|(key, served)| (key, Serialized::of_executor(served, process)));
        fetched.found.extend(found);
        fetched.failed.extend(failed);
        if !more && let Some((fetched, sender)) = self.fetches.remove(&request) {
            // Whoever asked may be gone.
            let _unwanted = sender.send(fetched);
        }
    }

    /// Something was lent for this request; `over` is called when nobody reads it any more.
    pub fn lent(&mut self, request: u64, over: impl FnOnce() + 'static) {
        match self.fetches.get_mut(&request) {
            Some((fetched, _)) => {
                fetched.loan.get_or_insert_with(|| Loan::new(over));
            }
            None => over(),
        }
    }

    pub fn answer(&mut self, request: u64, frames: Frames) {
        if let Some(sender) = self.calls.remove(&request) {
            let _unwanted = sender.send(frames);
        }
    }
}
