//! Watches, message by message, and how one breaks off where a message is due.

use crate::server::{Asked, Frames, Server};
use crate::storage::refusal;
use bytes::Bytes;
use futures::StreamExt;
use http_body::Frame;
use operator::clock::instant;
use serde_json::{Value, json};
use std::io;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// A real server ends a watch after so long, as it is asked to.
const LONGEST: Duration = Duration::from_secs(290);
const BETWEEN_BOOKMARKS: Duration = Duration::from_secs(60);

/// What comes instead of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// The connection breaks, and with it all watches: they share it.
    Reset,
    /// The same after half of the message.
    HalfALineAndReset,
    /// Half of the message, and then the end, in order: so ends what passes through a proxy.
    HalfALineAndTheEnd,
    /// What comes after what this watch has told is no longer known.
    Gone,
    /// The end, and whoever goes on from there is told the same without a watch being opened.
    GoneWhenOpened,
    /// Word of how far it has come, and the end.
    BookmarkAndTheEnd,
    /// Word of how far it has come, and nothing else until its time is over.
    OnlyBookmarks,
}

/// One watch.
pub struct Follower {
    server: Server,
    asked: Asked,
    versions: watch::Receiver<u64>,
    resets: watch::Receiver<u32>,
    /// Everything up to here was told.
    seen: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Tells,
    OnlyBookmarks { until: Instant },
    Breaks,
    Ended,
}

impl Follower {
    pub fn new(server: &Server, asked: Asked) -> Self {
        server.watches_open(|count| *count += 1);
        Follower {
            server: server.clone(),
            versions: server.versions(),
            resets: server.resets(),
            seen: asked.version,
            asked,
            state: State::Tells,
        }
    }

    pub fn frames(self) -> Frames {
        let lines = futures::stream::unfold(self, Follower::next);
        lines
            .map(|line| line.map(|text| Frame::data(Bytes::from(text))))
            .boxed()
    }

    async fn next(mut self) -> Option<(io::Result<String>, Self)> {
        loop {
            if self.resets.has_changed().unwrap_or(false) {
                self.resets.mark_unchanged();
                self.state = State::Breaks;
            }
            match self.state {
                State::Ended => return None,
                State::Breaks => {
                    self.state = State::Ended;
                    return Some((Err(io::ErrorKind::ConnectionReset.into()), self));
                }
                State::OnlyBookmarks { until } => {
                    if instant() >= until {
                        return None;
                    }
                    tokio::time::sleep(BETWEEN_BOOKMARKS).await;
                    return Some((Ok(self.bookmark()), self));
                }
                State::Tells => {}
            }
            if let Some((version, line)) = self.due() {
                if let Some(told) = self.tell(version, line) {
                    tokio::time::sleep(self.server.lag()).await;
                    return Some((Ok(told), self));
                }
                continue;
            }
            tokio::select! {
                changed = self.versions.changed() => changed.ok()?,
                _ = self.resets.changed() => self.state = State::Breaks,
            }
        }
    }

    /// The next message, with the version it tells of.
    fn due(&mut self) -> Option<(u64, String)> {
        let storage = self.server.storage();
        if self.seen < storage.oldest {
            self.state = State::Ended;
            return Some((self.seen, gone()));
        }
        let from = storage
            .history
            .partition_point(|(version, ..)| *version <= self.seen);
        for (version, plural, event, object) in &storage.history[from..] {
            if *plural == self.asked.plural && self.asked.selects(object) {
                let line = json!({"type": event, "object": object}).to_string() + "\n";
                return Some((*version, line));
            }
            self.seen = *version;
        }
        None
    }

    /// What is sent of a message that is due.
    fn tell(&mut self, version: u64, mut line: String) -> Option<String> {
        let cut = match self.state {
            State::Tells => self.server.cut(),
            _ => None,
        };
        let half = line.len() / 2;
        match cut {
            None => self.seen = version,
            Some(Cut::Reset) => {
                self.server.reset();
                return None;
            }
            Some(Cut::HalfALineAndReset) => {
                line.truncate(half);
                self.server.reset();
            }
            Some(Cut::HalfALineAndTheEnd) => {
                line.truncate(half);
                self.state = State::Ended;
            }
            Some(Cut::Gone) => {
                line = gone();
                self.state = State::Ended;
            }
            Some(Cut::GoneWhenOpened) => {
                self.server.forget_before_now(&self.asked.plural);
                line = self.bookmark();
                self.state = State::Ended;
            }
            Some(Cut::BookmarkAndTheEnd) => {
                line = self.bookmark();
                self.state = State::Ended;
            }
            Some(Cut::OnlyBookmarks) => {
                line = self.bookmark();
                let until = instant() + LONGEST;
                self.state = State::OnlyBookmarks { until };
            }
        }
        Some(line)
    }

    fn bookmark(&self) -> String {
        let object: Value = json!({
            "kind": "Any", "apiVersion": "v1", "metadata": {"resourceVersion": self.seen.to_string()},
        });
        json!({"type": "BOOKMARK", "object": object}).to_string() + "\n"
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.server.watches_open(|count| *count -= 1);
    }
}

fn gone() -> String {
    let (_, status) = refusal(410, "Expired", "too old resource version");
    json!({"type": "ERROR", "object": status}).to_string() + "\n"
}
