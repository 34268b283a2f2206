//! The long-lived connections: one stream of batched messages each way, with a client or with a worker.
//!
//! A stream's own task decodes what arrives and encodes what leaves; the core sees typed messages only. A peer that
//! breaks the protocol loses its connection and nothing else.

pub mod client;
pub mod status;
pub mod worker;

use crate::encode::{self, Encode};
use crate::outbox::{Inbox, Weight};
use transport::{FrameWriter, RecvError};

/// Why a stream ended, for the log.
#[derive(Debug, thiserror::Error)]
pub enum StreamEnd {
    #[error("the peer closed the stream")]
    Closed,
    #[error("the scheduler closed the stream")]
    ByUs,
    #[error("the peer did not read what was sent to it")]
    SlowConsumer,
    #[error("read")]
    Read(#[from] RecvError),
    #[error("write")]
    Write(#[from] std::io::Error),
    #[error("message not understood")]
    Decode(#[from] protocol::DecodeError),
    #[error(transparent)]
    Stopped(#[from] crate::core_loop::Stopped),
}

/// Writes what the core says, one message per batch, until the core lets go of its end.
async fn write_batches<M: Encode + Weight>(
    mut inbox: Inbox<M>,
    writer: &mut FrameWriter,
) -> Result<StreamEnd, StreamEnd> {
    while let Some(batch) = inbox.recv().await {
        writer.send(&encode::batch(&batch)).await?;
        inbox.written(batch.iter().map(Weight::weight).sum());
    }
    Ok(StreamEnd::ByUs)
}

/// Runs both directions of a stream until one ends.
async fn run<M: Encode + Weight>(
    inbox: Inbox<M>,
    writer: &mut FrameWriter,
    read: impl Future<Output = Result<StreamEnd, StreamEnd>>,
) -> StreamEnd {
    let hangup = inbox.hangup();
    let outcome = tokio::select! {
        outcome = read => outcome,
        outcome = write_batches(inbox, writer) => outcome,
        () = hangup.rung() => Err(StreamEnd::SlowConsumer),
    };
    match outcome {
        Ok(end) | Err(end) => end,
    }
}
