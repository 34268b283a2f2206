//! Sockets of the HTTP server: binding, accepting, and the bounds on what one visitor and all together may cost.
//!
//! Invariant: no more connections are open than [`Bounds`] allows; one that sends no request in time, or stays for too long, is
//! closed.

use crate::config::HttpConfig;
use crate::config::listen::DashboardBinding;
use anyhow::Context as _;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tracing::{debug, warn};
use transport::TlsAcceptor;

/// What visitors may cost.
#[derive(Clone, Copy)]
pub struct Bounds {
    /// Connections open at a time; more have to wait until one closes.
    visitors: usize,
    /// How long a visitor may take to send a request's head, and a TLS handshake before it.
    head_timeout: Duration,
    /// How long one connection is kept, however busy it is.
    longest_visit: Duration,
    /// How long an answer under way may take to leave after that.
    goodbye: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            visitors: 256,
            head_timeout: Duration::from_secs(15),
            longest_visit: Duration::from_secs(600),
            goodbye: Duration::from_secs(10),
        }
    }
}

/// How long to wait before accepting again when that failed, for instance for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 1024;

/// A bound HTTP socket.
pub struct BoundListener {
    socket: TcpListener,
    tls: Option<TlsAcceptor>,
}

impl BoundListener {
    pub fn port(&self) -> u16 {
        self.socket.local_addr().map_or(0, |address| address.port())
    }
}

/// Binds every address that was asked for; a busy port is replaced by a free one.
pub async fn bind(config: &HttpConfig) -> anyhow::Result<Vec<BoundListener>> {
    let tls = &config.tls;
    let acceptor = match &tls.certificate {
        Some(certificate) => {
            let key = tls.key.as_ref().unwrap_or(certificate);
            let acceptor = transport::https_acceptor(certificate, key);
            Some(acceptor.context("read the certificate in distributed.scheduler.dashboard.tls")?)
        }
        None => None,
    };
    let mut listeners = Vec::new();
    for binding in &config.bindings {
        listeners.push(BoundListener {
            socket: bind_one(binding).await?,
            tls: acceptor.clone(),
        });
    }
    Ok(listeners)
}

async fn bind_one(binding: &DashboardBinding) -> anyhow::Result<TcpListener> {
    let host = binding.host.as_str();
    let ip = match host {
        "" => None,
        host => {
            let addresses: Vec<IpAddr> = transport::resolve(host).await?;
            let first = addresses.first().copied();
            Some(first.with_context(|| format!("find an address of {host}"))?)
        }
    };
    let wanted = format!("{host}:{}", binding.port);
    match bind_at(ip, binding.port).await {
        Ok(listener) => Ok(listener),
        Err(error) => {
            let free = bind_at(ip, 0).await;
            let listener =
                free.with_context(|| format!("answer HTTP on {wanted} (--dashboard-address)"))?;
            let port = listener.local_addr()?.port();
            warn!(wanted = %wanted, port, error = %error, "the HTTP port is not free, another cluster may run; taking a free one");
            Ok(listener)
        }
    }
}

/// At one IP, or everywhere.
async fn bind_at(ip: Option<IpAddr>, port: u16) -> std::io::Result<TcpListener> {
    match ip {
        Some(ip) => TcpListener::bind(SocketAddr::new(ip, port)).await,
        None => transport::bind_everywhere(port, BACKLOG),
    }
}

/// Accepts and answers until it is dropped; open connections then end by themselves.
pub async fn serve(listener: BoundListener, router: Router, bounds: Bounds) {
    let visitors = Arc::new(Semaphore::new(bounds.visitors));
    loop {
        let Ok(visitor) = Arc::clone(&visitors).acquire_owned().await else {
            return;
        };
        match listener.socket.accept().await {
            Ok((stream, _)) => {
                let (tls, router) = (listener.tls.clone(), router.clone());
                tokio::spawn(async move {
                    let _visitor = visitor;
                    visit(stream, tls, router, bounds).await;
                });
            }
            Err(error) => {
                warn!(error = %error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn visit(stream: TcpStream, tls: Option<TlsAcceptor>, router: Router, bounds: Bounds) {
    // Answers are small and complete; waiting for more to send only delays them.
    let _unsupported = stream.set_nodelay(true);
    let Some(acceptor) = tls else {
        return answer(stream, router, bounds).await;
    };
    match tokio::time::timeout(bounds.head_timeout, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => answer(stream, router, bounds).await,
        Ok(Err(error)) => debug!(error = %error, "TLS handshake of an HTTP visitor failed"),
        Err(_) => debug!("TLS handshake of an HTTP visitor took too long"),
    }
}

async fn answer(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    router: Router,
    bounds: Bounds,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head_timeout)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    let ended = match tokio::time::timeout(bounds.longest_visit, connection.as_mut()).await {
        Ok(ended) => ended,
        Err(_) => {
            connection.as_mut().graceful_shutdown();
            tokio::time::timeout(bounds.goodbye, connection)
                .await
                .unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        debug!(error = %error, "HTTP connection dropped");
    }
}

#[cfg(test)]
mod tests;
