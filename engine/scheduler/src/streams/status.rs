//! Observers of workers: cluster managers subscribe and are told who joins and who leaves.

use protocol::{Value, array};
use std::sync::{Mutex, PoisonError};
use tokio::sync::mpsc;
use transport::{FrameReader, FrameWriter};

/// Everybody who subscribed to worker status.
#[derive(Default)]
pub struct StatusFeed {
    observers: Mutex<Vec<mpsc::UnboundedSender<Value>>>,
}

impl StatusFeed {
    /// Tells all observers; those that are gone are forgotten.
    pub fn publish(&self, event: &Value) {
        let mut observers = self
            .observers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        observers.retain(|observer| observer.send(event.clone()).is_ok());
    }

    pub fn subscribe(&self) -> mpsc::UnboundedReceiver<Value> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut observers = self
            .observers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        observers.push(sender);
        receiver
    }
}

/// Sends the identity as the reply, then events as they come, until the observer goes.
pub async fn serve(
    identity: Value,
    mut events: mpsc::UnboundedReceiver<Value>,
    reader: &mut FrameReader,
    writer: &mut FrameWriter,
) {
    if writer.send_value(&identity).await.is_err() {
        return;
    }
    loop {
        tokio::select! {
            event = events.recv() => {
                let Some(event) = event else { return };
                if writer.send_value(&array![event]).await.is_err() {
                    return;
                }
            }
            // Observers say nothing on this connection; anything or its end closes it.
            _message = reader.recv() => return,
        }
    }
}
