//! Calls to peers over connections that are kept for the next call.
//!
//! One call at a time per connection; replies are matched by order alone, so a call that failed or was cancelled closes
//! its connection. At most a given number of connections is open; idle ones make room.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use protocol::{Frames, Value, encode_value};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::connect::{ConnectError, Connector};
use crate::connection::{Connection, RecvError};

/// Open connections to any number of peers; cheap to clone.
#[derive(Clone, Debug)]
pub struct Pool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    connector: Connector,
    peers: Mutex<HashMap<String, Peer>>,
    slots: Arc<Semaphore>,
    /// Calls that wait for a slot.
    waiting: AtomicUsize,
}

#[derive(Debug)]
struct Peer {
    idle: Vec<Pooled>,
    /// Calls under way listen here for the removal of their peer.
    removed: watch::Sender<bool>,
}

#[derive(Debug)]
struct Pooled {
    connection: Connection,
    _slot: OwnedSemaphorePermit,
}

#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("send the call to {address}")]
    Send { address: String, source: io::Error },
    #[error("receive the reply of {address}")]
    Receive { address: String, source: RecvError },
    #[error("peer {0} was removed during the call")]
    PeerRemoved(String),
}

impl CallError {
    /// Whether the peer could not be reached or went away, as opposed to having sent nonsense.
    pub fn is_connection_lost(&self) -> bool {
        match self {
            Self::Connect(_) | Self::Send { .. } | Self::PeerRemoved(_) => true,
            Self::Receive { source, .. } => {
                matches!(
                    source,
                    RecvError::Read(_) | RecvError::Closed | RecvError::Truncated
                )
            }
        }
    }
}

impl Pool {
    /// At most `limit` connections at a time.
    pub fn new(connector: Connector, limit: usize) -> Self {
        let slots = Arc::new(Semaphore::new(limit.clamp(1, Semaphore::MAX_PERMITS)));
        let shared = Shared {
            connector,
            peers: Mutex::default(),
            slots,
            waiting: AtomicUsize::new(0),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    pub fn connector(&self) -> &Connector {
        &self.shared.connector
    }

    /// Sends a request and waits for its reply.
    pub async fn call(&self, address: &str, request: &Frames) -> Result<Value, CallError> {
        self.exchange(address, request, |_| false).await
    }

    pub async fn call_value(&self, address: &str, request: &Value) -> Result<Value, CallError> {
        self.call(address, &encode_value(request)).await
    }

    /// The same for `get_data`: a reply with status "OK" is acknowledged with the message "OK".
    pub async fn call_then_ack(&self, address: &str, request: &Frames) -> Result<Value, CallError> {
        self.exchange(address, request, |reply| {
            reply
                .get("status")
                .is_some_and(|status| status.is_str("OK"))
        })
        .await
    }

    async fn exchange(
        &self,
        address: &str,
        request: &Frames,
        wants_ack: impl Fn(&Value) -> bool,
    ) -> Result<Value, CallError> {
        let mut removed = self.shared.removal_of(address);
        let exchange = async {
            let mut pooled = self.shared.checkout(address).await?;
            let reply = talk(&mut pooled.connection, address, request, wants_ack).await?;
            self.shared.give_back(address, pooled);
            Ok(reply)
        };
        tokio::select! {
            biased;
            result = exchange => result,
            _ = removed.wait_for(|removed| *removed) => Err(CallError::PeerRemoved(address.into())),
        }
    }

    /// Closes all connections to a peer that is gone; calls under way fail.
    pub fn remove(&self, address: &str) {
        if let Some(peer) = self.shared.lock().remove(address) {
            peer.removed.send_replace(true);
        }
    }

    /// Closes the connections that are not in use.
    pub fn close_idle(&self) {
        self.shared
            .lock()
            .values_mut()
            .for_each(|peer| peer.idle.clear());
    }

    /// Connections that wait for a call.
    pub fn idle(&self) -> usize {
        self.shared
            .lock()
            .values()
            .map(|peer| peer.idle.len())
            .sum()
    }
}

async fn talk(
    connection: &mut Connection,
    address: &str,
    request: &Frames,
    wants_ack: impl Fn(&Value) -> bool,
) -> Result<Value, CallError> {
    let sending = |source| CallError::Send {
        address: address.into(),
        source,
    };
    let receiving = |source| CallError::Receive {
        address: address.into(),
        source,
    };
    connection.send(request).await.map_err(sending)?;
    let reply = connection
        .recv_value()
        .await
        .map_err(receiving)?
        .ok_or_else(|| receiving(RecvError::Closed))?;
    if wants_ack(&reply) {
        connection
            .send_value(&Value::text("OK"))
            .await
            .map_err(sending)?;
    }
    Ok(reply)
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Peer>> {
        self.peers
            .lock()
            .expect("nothing panics while it holds this lock")
    }

    fn removal_of(&self, address: &str) -> watch::Receiver<bool> {
        let mut peers = self.lock();
        if let Some(peer) = peers.get(address) {
            return peer.removed.subscribe();
        }
        let peer = Peer {
            idle: Vec::new(),
            removed: watch::Sender::new(false),
        };
        peers
            .entry(address.to_owned())
            .or_insert(peer)
            .removed
            .subscribe()
    }

    /// An idle connection to the peer, or a new one when there is room.
    async fn checkout(&self, address: &str) -> Result<Pooled, ConnectError> {
        while let Some(pooled) = self.take_idle(address) {
            if let Some(pooled) = still_quiet(pooled).await {
                return Ok(pooled);
            }
        }
        let slot = self.slot().await;
        let connection = self.connector.connect(address).await?;
        Ok(Pooled {
            connection,
            _slot: slot,
        })
    }

    fn take_idle(&self, address: &str) -> Option<Pooled> {
        self.lock().get_mut(address)?.idle.pop()
    }

    /// Room for one more connection; an idle one is closed for it.
    async fn slot(&self) -> OwnedSemaphorePermit {
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return slot;
        }
        // First: from here on nobody keeps a connection, so that none becomes idle behind the back of this call.
        let _waiting = Waiting::new(&self.waiting);
        let evicted = self.lock().values_mut().find_map(|peer| peer.idle.pop());
        drop(evicted);
        Arc::clone(&self.slots)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed")
    }

    /// Keeps the connection for the next call, unless another peer's call waits for its slot.
    fn give_back(&self, address: &str, pooled: Pooled) {
        let mut peers = self.lock();
        // With the lock: whoever waits counts before it looks for idle ones.
        if self.waiting.load(Ordering::Relaxed) > 0 {
            return;
        }
        if let Some(peer) = peers.get_mut(address) {
            peer.idle.push(pooled);
        }
    }
}

/// Counts a call that waits, also when it is cancelled.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The connection, unless the peer has closed it or broken the rule that it only speaks when asked.
async fn still_quiet(mut pooled: Pooled) -> Option<Pooled> {
    tokio::select! {
        biased;
        () = pooled.connection.reader.stirs() => None,
        () = std::future::ready(()) => Some(pooled),
    }
}
