//! Connections that carry Dask messages: connect, accept, introduce, send, receive, call, gather.
//!
//! The only crate of the data plane with sockets in it. Knows frames and handshakes, but no message beyond that.
//! Invariant: a peer that misbehaves (wrong bytes, silence, not reading) costs its own connection and bounded memory.

mod connect;
mod connection;
mod lent;
mod listen;
mod local_address;
mod outbox;
mod parent;
mod pool;
mod reach;
mod resolve;
mod security;
mod socket;
mod spring;
mod stream;

pub use connect::{ConnectError, Connector, with_sources};
pub use connection::{
    Connection, ConnectionInfo, EstablishError, FrameReader, FrameWriter, RecvError,
};
pub use lent::{Frame, LentFrame};
pub use listen::{Incoming, ListenError, ListenOptions, Listener, bind_everywhere};
pub use local_address::{InterfaceError, concrete_ip, interface_ip, local_ip_towards};
pub use outbox::{Outbox, OutboxDriver, OutboxError, PushError, outbox};
pub use parent::end_with as end_with_parent;
pub use pool::{CallError, Pool};
pub use resolve::{ResolveError, resolve};
pub use security::{Security, SecurityError, TlsSettings, TlsVersion, https_acceptor};
pub use socket::configure as configure_socket;
pub use spring::Spring;
pub use stream::PlainStream;
pub use tokio_rustls::TlsAcceptor;
