//! Incoming connections.
//!
//! Accepting never waits for a peer: [`Listener::accept`] hands out an [`Incoming`] whose handshake its own task awaits,
//! so that a peer which never introduces itself costs nothing but its socket.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use protocol::messages::Handshake;
use protocol::{Address, FrameMemory, Limits, Scheme};
use rustls::ServerConfig;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsStream};
use tracing::warn;

use crate::connection::{Connection, EstablishError, Terms};
use crate::local_address::concrete_ip;
use crate::resolve::{ResolveError, resolve};
use crate::security::{Security, SecurityError};
use crate::socket;
use crate::stream::{split_encrypted, split_plain};

/// What to listen on and how.
#[derive(Clone, Debug)]
pub struct ListenOptions {
    pub scheme: Scheme,
    /// A name or IP; empty is every address of this machine, of both families where it has both.
    pub host: String,
    /// Tried in order; 0 is any free port.
    pub ports: RangeInclusive<u16>,
    pub security: Security,
    pub backlog: i32,
    /// For TLS and the handshake together.
    pub handshake_timeout: Duration,
    pub tcp_timeout: Duration,
    /// What a peer may send once it has introduced itself.
    pub limits: Limits,
    /// The newest pickles peers are to send.
    pub pickle_protocol: i64,
    /// Where big frames go; else to the heap.
    pub memory: Option<Arc<dyn FrameMemory>>,
}

impl ListenOptions {
    /// Plain TCP on one port.
    pub fn tcp(host: impl Into<String>, port: u16) -> Self {
        Self {
            scheme: Scheme::Tcp,
            host: host.into(),
            ports: port..=port,
            security: Security::none(),
            backlog: 2048,
            handshake_timeout: Duration::from_secs(30),
            tcp_timeout: socket::DEFAULT_TCP_TIMEOUT,
            limits: Limits::default(),
            pickle_protocol: Handshake::RELAYED_PICKLES,
            memory: None,
        }
    }

    /// TLS on one port.
    pub fn tls(host: impl Into<String>, port: u16, security: Security) -> Self {
        Self {
            scheme: Scheme::Tls,
            security,
            ..Self::tcp(host, port)
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error(transparent)]
    Security(#[from] SecurityError),
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    #[error("listen on {address}")]
    Bind { address: String, source: io::Error },
    #[error("listen on {host}: no free port from {first} to {last}")]
    NoFreePort { host: String, first: u16, last: u16 },
}

/// A bound socket.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    scheme: Scheme,
    /// Without IPv6 where every address is listened on: that is what people know it by.
    bound: SocketAddr,
    is_everywhere: bool,
    acceptance: Arc<Acceptance>,
}

/// What every incoming connection needs.
struct Acceptance {
    tls: Option<Arc<ServerConfig>>,
    handshake_timeout: Duration,
    tcp_timeout: Duration,
    limits: Limits,
    pickle_protocol: i64,
    memory: Option<Arc<dyn FrameMemory>>,
}

impl std::fmt::Debug for Acceptance {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Acceptance")
            .field("tls", &self.tls.is_some())
            .finish_non_exhaustive()
    }
}

impl Listener {
    /// Binds the first free port of the range.
    pub async fn bind(options: &ListenOptions) -> Result<Self, ListenError> {
        let is_everywhere = options.host.is_empty();
        let host = if is_everywhere {
            "0.0.0.0"
        } else {
            &options.host
        };
        let address = format!("{}://{host}", options.scheme);
        let tls = match options.scheme {
            Scheme::Tls => Some(options.security.server(&address)?),
            Scheme::Tcp => {
                options.security.allow_plain(&address)?;
                None
            }
        };
        let ip = resolve(host)
            .await?
            .first()
            .copied()
            .unwrap_or(Ipv4Addr::UNSPECIFIED.into());
        let socket = bind_first_free(ip, options)?;
        let bound = socket
            .local_addr()
            .map_err(|source| ListenError::Bind { address, source })?;
        let bound = if is_everywhere {
            SocketAddr::new(ip, bound.port())
        } else {
            bound
        };
        let acceptance = Acceptance {
            tls,
            handshake_timeout: options.handshake_timeout,
            tcp_timeout: options.tcp_timeout,
            limits: options.limits,
            pickle_protocol: options.pickle_protocol,
            memory: options.memory.clone(),
        };
        Ok(Self {
            socket,
            scheme: options.scheme,
            bound,
            is_everywhere,
            acceptance: Arc::new(acceptance),
        })
    }

    pub fn port(&self) -> u16 {
        self.bound.port()
    }

    pub fn ip(&self) -> IpAddr {
        self.bound.ip()
    }

    /// What is bound, such as `tcp://0.0.0.0:8786`.
    pub fn listen_address(&self) -> String {
        Address::new(self.scheme, self.bound.ip().to_string(), self.bound.port()).to_string()
    }

    /// What others can connect to; towards `peer` if it is known who they are.
    pub fn contact_address(&self, peer: Option<IpAddr>) -> String {
        let ip = match concrete_ip(self.bound.ip(), peer) {
            // There is no way out over IPv4; over the other family there may be one.
            ip if ip.is_loopback() && self.is_everywhere && peer.is_none() => {
                concrete_ip(Ipv6Addr::UNSPECIFIED.into(), None)
            }
            ip => ip,
        };
        Address::new(self.scheme, ip.to_string(), self.bound.port()).to_string()
    }

    /// The next connection, not yet introduced. Waits out a lack of descriptors or memory.
    pub async fn accept(&self) -> Incoming {
        loop {
            match self.socket.accept().await {
                Ok((stream, peer)) => {
                    return Incoming {
                        stream,
                        peer: canonical(peer),
                        scheme: self.scheme,
                        acceptance: Arc::clone(&self.acceptance),
                    };
                }
                Err(error) if is_about_one_peer(&error) => {}
                Err(error) => {
                    warn!(%error, "accept failed, pausing");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

fn is_about_one_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, PermissionDenied};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted | PermissionDenied
    )
}

/// An IPv4 address as such, also where it came over a socket for both families.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn bind_first_free(ip: IpAddr, options: &ListenOptions) -> Result<TcpListener, ListenError> {
    for port in options.ports.clone() {
        let bound = match options.host.is_empty() {
            true => bind_everywhere(port, options.backlog),
            false => bind_one(SocketAddr::new(ip, port), Families::Own, options.backlog),
        };
        match bound {
            Ok(socket) => return Ok(socket),
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && options.ports.start() < options.ports.end() => {}
            Err(source) => {
                let address = Address::new(options.scheme, ip.to_string(), port).to_string();
                return Err(ListenError::Bind { address, source });
            }
        }
    }
    Err(ListenError::NoFreePort {
        host: options.host.clone(),
        first: *options.ports.start(),
        last: *options.ports.end(),
    })
}

/// One socket for every address of both families; for those of IPv4 where there is nothing else.
pub fn bind_everywhere(port: u16, backlog: i32) -> io::Result<TcpListener> {
    let both = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port);
    match bind_one(both, Families::Both, backlog) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            let one = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
            bind_one(one, Families::Own, backlog)
        }
        bound => bound,
    }
}

/// Whose connections a socket takes.
enum Families {
    /// Of its own address.
    Own,
    Both,
}

fn bind_one(address: SocketAddr, families: Families, backlog: i32) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if let Families::Both = families {
        socket.set_only_v6(false)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    TcpListener::from_std(socket.into())
}

/// A connection that has been accepted but has not introduced itself.
#[derive(Debug)]
pub struct Incoming {
    stream: TcpStream,
    peer: SocketAddr,
    scheme: Scheme,
    acceptance: Arc<Acceptance>,
}

impl Incoming {
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Completes TLS and the handshake, or gives up in time.
    pub async fn establish(self) -> Result<Connection, EstablishError> {
        let timeout = self.acceptance.handshake_timeout;
        tokio::time::timeout(timeout, self.establish_in_time())
            .await
            .map_err(|_| EstablishError::Timeout)?
    }

    async fn establish_in_time(self) -> Result<Connection, EstablishError> {
        let Self {
            stream,
            peer,
            scheme,
            acceptance,
        } = self;
        socket::configure(&stream, acceptance.tcp_timeout).map_err(EstablishError::Write)?;
        let local = canonical(stream.local_addr().map_err(EstablishError::Write)?);
        let name =
            |at: SocketAddr| Address::new(scheme, at.ip().to_string(), at.port()).to_string();
        let halves = match &acceptance.tls {
            None => split_plain(stream),
            Some(config) => {
                let acceptor = TlsAcceptor::from(Arc::clone(config));
                let stream = acceptor.accept(stream).await.map_err(EstablishError::Tls)?;
                split_encrypted(TlsStream::Server(stream))
            }
        };
        let names = (name(local), name(peer));
        let terms = Terms {
            limits: acceptance.limits,
            pickle_protocol: acceptance.pickle_protocol,
            memory: acceptance.memory.clone(),
        };
        Connection::establish(halves, names, terms, acceptance.handshake_timeout).await
    }
}
