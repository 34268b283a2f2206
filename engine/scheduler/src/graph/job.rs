//! One request to a helper, kept whole until it is answered so that it can be sent again to another one.

use super::channel::Kind;
use super::error::GraphError;
use super::reply::Opened;
use bytes::Bytes;
use std::sync::Arc;
use tokio::sync::oneshot;

/// What a helper is asked, and who waits for the answer.
pub struct Job {
    pub kind: Kind,
    pub header: Bytes,
    pub blobs: Vec<Bytes>,
    /// Requests of one client are served in order.
    pub client: Option<Arc<str>>,
    pub answer: Answer,
    /// How many helpers died with it before they had begun with it.
    pub lost_unread: u8,
}

/// Who waits.
pub enum Answer {
    Graph(oneshot::Sender<Result<Opened, GraphError>>),
    Frames(oneshot::Sender<Result<Vec<Bytes>, GraphError>>),
    /// Something every new helper is told; nobody waits.
    Nobody,
}

impl Job {
    /// A waiter that has gone away wants no answer.
    pub fn fail(self, error: GraphError) {
        match self.answer {
            Answer::Graph(sender) => drop(sender.send(Err(error))),
            Answer::Frames(sender) => drop(sender.send(Err(error))),
            Answer::Nobody => {
                tracing::warn!(%error, "graph helper refused what every helper is told")
            }
        }
    }

    /// Whether nobody waits any more. A job that must happen is always wanted.
    pub fn is_abandoned(&self) -> bool {
        match &self.answer {
            Answer::Graph(sender) => sender.is_closed(),
            Answer::Frames(sender) => sender.is_closed(),
            Answer::Nobody => false,
        }
    }
}
