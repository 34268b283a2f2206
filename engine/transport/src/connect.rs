//! Outgoing connections: resolve, connect, encrypt, introduce; again and again until the time is up.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use protocol::messages::Handshake;
use protocol::{Address, AddressError, FrameMemory, Limits, Scheme};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};
use tracing::debug;

use crate::connection::{Connection, EstablishError, Terms};
use crate::reach::reach;
use crate::resolve::{ResolveError, resolve};
use crate::security::{Security, SecurityError};
use crate::socket;
use crate::stream::{split_encrypted, split_plain};

/// How connections are made.
#[derive(Clone, Debug)]
pub struct Connector {
    pub security: Security,
    /// For all attempts together.
    pub connect_timeout: Duration,
    /// A peer that stops answering on TCP level is dropped after this.
    pub tcp_timeout: Duration,
    /// What a peer may send once it has introduced itself.
    pub limits: Limits,
    /// The newest pickles peers are to send.
    pub pickle_protocol: i64,
    /// Where big frames go; else to the heap.
    pub memory: Option<Arc<dyn FrameMemory>>,
}

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error(transparent)]
    Address(#[from] AddressError),
    #[error(transparent)]
    Security(#[from] SecurityError),
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error("connect to {address}")]
    Connect { address: String, source: io::Error },
    #[error("establish the connection to {address}")]
    Establish {
        address: String,
        source: EstablishError,
    },
    #[error("timed out trying to connect to {address} after {} s: {last}", timeout.as_secs_f64())]
    Timeout {
        address: String,
        timeout: Duration,
        last: String,
    },
}

impl ConnectError {
    /// Whether trying again is pointless.
    pub fn is_fatal(&self) -> bool {
        match self {
            Self::Address(_) | Self::Security(_) | Self::Timeout { .. } => true,
            Self::Establish {
                source: EstablishError::Tls(error),
                ..
            } => error.kind() == io::ErrorKind::InvalidData,
            Self::Resolve(_) | Self::Connect { .. } | Self::Establish { .. } => false,
        }
    }
}

impl Default for Connector {
    fn default() -> Self {
        Self {
            security: Security::none(),
            connect_timeout: Duration::from_secs(30),
            tcp_timeout: socket::DEFAULT_TCP_TIMEOUT,
            limits: Limits::default(),
            pickle_protocol: Handshake::RELAYED_PICKLES,
            memory: None,
        }
    }
}

impl Connector {
    pub fn new(security: Security) -> Self {
        Self {
            security,
            ..Self::default()
        }
    }

    /// Connects to an address such as `tcp://host:port`, retrying with growing pauses until the time is up.
    pub async fn connect(&self, address: &str) -> Result<Connection, ConnectError> {
        let target = Address::parse(address)?;
        let mut last = String::from("no answer");
        let attempts = self.retry(&target, &mut last);
        match tokio::time::timeout(self.connect_timeout, attempts).await {
            Ok(result) => result,
            Err(_) => Err(ConnectError::Timeout {
                address: address.into(),
                timeout: self.connect_timeout,
                last,
            }),
        }
    }

    async fn retry(&self, target: &Address, last: &mut String) -> Result<Connection, ConnectError> {
        let mut attempt = 0;
        loop {
            // A first short attempt spreads out peers that all connect to a busy listener at once.
            let cap = if attempt == 0 {
                self.connect_timeout / 5
            } else {
                self.connect_timeout
            };
            match tokio::time::timeout(cap, self.connect_once(target)).await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) if error.is_fatal() => return Err(error),
                Ok(Err(error)) => *last = with_sources(&error),
                Err(_) => *last = "no answer".into(),
            }
            let pause = backoff(attempt);
            debug!(address = %target, elapsed_ms = pause.as_millis() as u64, error = %last, "connect failed, pausing");
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    /// One attempt, without a limit of time for the connection itself.
    pub async fn connect_once(&self, target: &Address) -> Result<Connection, ConnectError> {
        let address = target.to_string();
        let tls = match target.scheme {
            Scheme::Tcp => {
                self.security.allow_plain(&address)?;
                None
            }
            Scheme::Tls => Some(TlsConnector::from(self.security.client(&address)?)),
        };
        let stream = self.connect_any(target, &address).await?;
        let here = |source| ConnectError::Connect {
            address: address.clone(),
            source,
        };
        socket::configure(&stream, self.tcp_timeout).map_err(here)?;
        let local = stream.local_addr().map_err(here)?;
        let local = Address::new(target.scheme, local.ip().to_string(), local.port()).to_string();
        let establish = |source| ConnectError::Establish {
            address: address.clone(),
            source,
        };
        let halves = match tls {
            None => split_plain(stream),
            Some(tls) => {
                let encrypted = tls.connect(self.server_name(target), stream).await;
                let encrypted = encrypted.map_err(|error| establish(EstablishError::Tls(error)))?;
                split_encrypted(TlsStream::Client(encrypted))
            }
        };
        let terms = Terms {
            limits: self.limits,
            pickle_protocol: self.pickle_protocol,
            memory: self.memory.clone(),
        };
        let ends = (local, address.clone());
        Connection::establish(halves, ends, terms, self.connect_timeout)
            .await
            .map_err(establish)
    }

    /// The first of the host's IPs that answers; waits as long as one is silent.
    async fn connect_any(
        &self,
        target: &Address,
        address: &str,
    ) -> Result<TcpStream, ConnectError> {
        let ips = resolve(&target.host).await?;
        let addresses = ips.iter().map(|ip| SocketAddr::new(*ip, target.port));
        let addresses: Vec<SocketAddr> = addresses.collect();
        let reached = reach(&addresses).await;
        reached.map_err(|source| ConnectError::Connect {
            address: address.into(),
            source,
        })
    }

    fn server_name(&self, target: &Address) -> ServerName<'static> {
        let name = self
            .security
            .server_name
            .clone()
            .unwrap_or_else(|| target.host.clone());
        let fallback = || ServerName::IpAddress(std::net::IpAddr::from([0, 0, 0, 0]).into());
        ServerName::try_from(name).unwrap_or_else(|_| fallback())
    }
}

/// Full jitter: between nothing and 10 ms doubled per attempt, at most a second.
fn backoff(attempt: u32) -> Duration {
    let cap_ms = (10_u64 << attempt.min(7)).min(1000);
    let chance = RandomState::new().hash_one(attempt);
    Duration::from_micros(chance % (cap_ms * 1000))
}

/// The error and what caused it, in one line.
pub fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
