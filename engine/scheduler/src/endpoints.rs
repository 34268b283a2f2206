//! Configuration as the transport takes it: where to listen, how to connect, with which certificates.

use crate::config::Config;
use crate::config::listen::{Binding, Protocol};
use crate::config::security::{Pem, Security, TlsVersion};
use anyhow::Context as _;
use protocol::{Limits, Scheme};
use std::ops::RangeInclusive;
use std::time::Duration;
use transport::{Connector, ListenOptions, Listener, Pool, TlsSettings};

/// Connections that the scheduler itself opens, at most; stock Dask takes half of the descriptors too.
const DESCRIPTORS_FALLBACK: usize = 512;
/// Where the kernel's own patience is meant.
const TCP_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// Listens for clients and workers on every address that was asked for.
pub async fn listen(config: &Config) -> anyhow::Result<Vec<Listener>> {
    let security = security(&config.security)?;
    let mut listeners = Vec::new();
    for binding in &config.bindings {
        listeners.push(listen_on(binding, config, &security).await?);
    }
    Ok(listeners)
}

async fn listen_on(
    binding: &Binding,
    config: &Config,
    security: &transport::Security,
) -> anyhow::Result<Listener> {
    let comm = &config.dask.comm;
    let mut last = None;
    for ports in ranges(&binding.ports) {
        let options = ListenOptions {
            scheme: match binding.protocol {
                Protocol::Tcp => Scheme::Tcp,
                Protocol::Tls => Scheme::Tls,
            },
            host: binding.host.clone(),
            ports,
            security: security.clone(),
            backlog: i32::try_from(comm.socket_backlog).unwrap_or(i32::MAX),
            handshake_timeout: comm.connect_timeout,
            tcp_timeout: comm.tcp_timeout.unwrap_or(TCP_TIMEOUT_DEFAULT),
            limits: Limits::default(),
        };
        match Listener::bind(&options).await {
            Ok(listener) => return Ok(listener),
            Err(error) => last = Some(error),
        }
    }
    let error = last.context("no port was given to listen on")?;
    Err(error).context("listen for clients and workers; --port 0 takes a free port")
}

/// Consecutive ports as ranges, in their order.
fn ranges(ports: &[u16]) -> Vec<RangeInclusive<u16>> {
    let mut ranges: Vec<RangeInclusive<u16>> = Vec::new();
    for port in ports {
        match ranges.last_mut() {
            Some(range) if range.end().checked_add(1) == Some(*port) => {
                *range = *range.start()..=*port;
            }
            _ => ranges.push(*port..=*port),
        }
    }
    ranges
}

/// The pool for requests to workers and nannies.
pub fn pool(config: &Config) -> anyhow::Result<Pool> {
    let comm = &config.dask.comm;
    let connector = Connector {
        connect_timeout: comm.connect_timeout,
        tcp_timeout: comm.tcp_timeout.unwrap_or(TCP_TIMEOUT_DEFAULT),
        ..Connector::new(security(&config.security)?)
    };
    Ok(Pool::new(connector, descriptors() / 2))
}

fn descriptors() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    limit
        .and_then(|limit| usize::try_from(limit).ok())
        .unwrap_or(DESCRIPTORS_FALLBACK * 2)
}

fn security(settings: &Security) -> anyhow::Result<transport::Security> {
    let (Some(authority), Some(certificate)) = (&settings.authority, &settings.certificate) else {
        return Ok(transport::Security {
            require_encryption: settings.require_encryption,
            ..transport::Security::none()
        });
    };
    let version = |version: TlsVersion| match version {
        TlsVersion::Tls12 => transport::TlsVersion::Tls12,
        TlsVersion::Tls13 => transport::TlsVersion::Tls13,
    };
    let tls = TlsSettings {
        authority: text(authority),
        certificate: text(certificate),
        key: text(settings.key.as_ref().unwrap_or(certificate)),
        min_version: version(settings.oldest_version),
        max_version: version(settings.newest_version),
    };
    let security = transport::Security::tls(&tls).context("read the TLS credentials")?;
    Ok(transport::Security {
        require_encryption: settings.require_encryption,
        ..security
    })
}

fn text(pem: &Pem) -> String {
    match pem {
        Pem::File(path) => path.to_string_lossy().into_owned(),
        Pem::Text(text) => text.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::ranges;

    #[test]
    fn consecutive_ports_are_tried_as_one_range() {
        assert_eq!(ranges(&[8786, 8787, 8788]), [8786..=8788]);
        assert_eq!(ranges(&[0]), [0..=0]);
        assert_eq!(ranges(&[5, 3]), [5..=5, 3..=3]);
    }
}
