//! The long-lived connections: one stream of batched messages each way, with a client or with a worker.
//!
//! A stream's own task decodes what arrives and encodes what leaves; the core sees typed messages only. A peer that
//! breaks the protocol loses its connection and nothing else.

pub mod client;
pub mod status;
pub mod worker;

use crate::encode::{self, Encode};
use transport::{OutboxDriver, OutboxError, RecvError};

/// Why a stream ended, for the log.
#[derive(Debug, thiserror::Error)]
pub enum StreamEnd {
    #[error("the peer closed the stream")]
    Closed,
    #[error("the scheduler closed the stream")]
    ByUs,
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    #[error("read")]
    Read(#[from] RecvError),
    #[error("write")]
    Write(#[from] std::io::Error),
    #[error("message not understood")]
    Decode(#[from] protocol::DecodeError),
    #[error(transparent)]
    Stopped(#[from] crate::core_loop::Stopped),
}

/// Runs both directions of a stream until one ends.
async fn run<M: Encode>(
    driver: OutboxDriver<M>,
    read: impl Future<Output = Result<StreamEnd, StreamEnd>>,
) -> StreamEnd {
    tokio::select! {
        outcome = read => match outcome {
            Ok(end) | Err(end) => end,
        },
        outcome = driver.run(|batch| encode::batch(&batch)) => match outcome {
            Ok(_writer) => StreamEnd::ByUs,
            Err(error) => error.into(),
        },
    }
}
