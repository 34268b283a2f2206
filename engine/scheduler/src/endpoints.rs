//! Configuration as the transport takes it: where to listen, how to connect, with which certificates.

use crate::config::Config;
use crate::config::listen::Binding;
use anyhow::Context as _;
use protocol::messages::Handshake;
use transport::{Connector, ListenOptions, Listener, Pool, Security};

/// Connections that the scheduler itself opens where the limit on descriptors is not known.
const CONNECTIONS_FALLBACK: usize = 512;

/// Listens for clients and workers on every address that was asked for.
pub async fn listen(config: &Config) -> anyhow::Result<Vec<Listener>> {
    let security = config.security.load()?;
    let mut listeners = Vec::new();
    for binding in &config.bindings {
        let options = listen_options(binding, config, &security);
        let listener = Listener::bind(&options)
            .await
            .context("listen for clients and workers (--port 0 takes a free port)")?;
        listeners.push(listener);
    }
    Ok(listeners)
}

fn listen_options(binding: &Binding, config: &Config, security: &Security) -> ListenOptions {
    let comm = &config.dask.comm;
    ListenOptions {
        scheme: binding.scheme,
        host: binding.host.clone(),
        ports: binding.ports.clone(),
        security: security.clone(),
        backlog: i32::try_from(comm.socket_backlog).unwrap_or(i32::MAX),
        handshake_timeout: comm.connect_timeout,
        tcp_timeout: config.tcp_timeout(),
        limits: config.limits(),
        pickle_protocol: Handshake::RELAYED_PICKLES,
        memory: None,
    }
}

/// The pool for requests to workers and nannies.
pub fn pool(config: &Config) -> anyhow::Result<Pool> {
    let comm = &config.dask.comm;
    let connector = Connector {
        connect_timeout: comm.connect_timeout,
        tcp_timeout: config.tcp_timeout(),
        limits: config.limits(),
        ..Connector::new(config.security.load()?)
    };
    Ok(Pool::new(connector, connections()))
}

/// Half of the descriptors this process may open, as stock Dask has it.
fn connections() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit
        .and_then(|limit| usize::try_from(limit / 2).ok())
        .unwrap_or(CONNECTIONS_FALLBACK)
}
