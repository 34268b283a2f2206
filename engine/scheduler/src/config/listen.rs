//! `--host`, `--port`, `--interface`, `--protocol` and `--dashboard-address` as places to bind.
//!
//! Owns the grammar of these flags; binds nothing and resolves no name. Invariant: a binding has at least one port to
//! try, and an empty host means every interface.

use std::fmt;
use std::ops::RangeInclusive;

use protocol::Scheme;
use thiserror::Error;
use transport::{InterfaceError, interface_ip};

use super::dask::CommConfig;
use super::security::Security;
use crate::args::SchedulerArgs;

/// One place to listen: the first of the ports that is free is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    pub scheme: Scheme,
    /// Host name or IP; empty for every interface.
    pub host: String,
    pub ports: RangeInclusive<u16>,
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        match self.ports.end() - self.ports.start() {
            0 => write!(f, ":{}", self.ports.start()),
            _ => write!(f, ":{}-{}", self.ports.start(), self.ports.end()),
        }
    }
}

/// One place to answer HTTP; when the port is busy, a free one is taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DashboardBinding {
    /// Host name or IP; empty for every interface.
    pub host: String,
    pub port: u16,
}

#[derive(Debug, Error)]
pub enum ListenError {
    #[error("listen by protocol {0:?}: tcp and tls are supported")]
    Protocol(String),
    #[error(
        "understand --port {0:?}: it must be a number up to 65535, a range such as 8786:8790, or 0"
    )]
    Port(String),
    #[error(
        "give --protocol and --port as lists of equal length: {protocols} and {ports} were given"
    )]
    UnequalLists { protocols: usize, ports: usize },
    #[error("listen on --host and on --interface at once: give one of them")]
    HostAndInterface,
    #[error("listen on the port in --host {0:?} and on --port at once: give one of them")]
    HostPortAndPort(String),
    #[error("listen on --interface: {0}")]
    Interface(#[from] InterfaceError),
    #[error("understand --dashboard-address {0:?}: it must be host:port, :port or port")]
    DashboardAddress(String),
}

/// Where to listen for clients and workers.
pub fn bindings(
    args: &SchedulerArgs,
    comm: &CommConfig,
    security: &Security,
) -> Result<Vec<Binding>, ListenError> {
    let host = host(args)?;
    let protocols = protocols(args, &host, comm, security)?;
    let ports = ports(args, &host, protocols.len())?;
    if protocols.len() != ports.len() {
        return Err(ListenError::UnequalLists {
            protocols: protocols.len(),
            ports: ports.len(),
        });
    }
    Ok(protocols
        .into_iter()
        .zip(ports)
        .map(|(scheme, ports)| Binding {
            scheme,
            host: host.name.clone(),
            ports,
        })
        .collect())
}

/// `--host` taken apart, or the address of `--interface`.
struct Host {
    given: String,
    scheme: Option<String>,
    name: String,
    port: Option<u16>,
}

fn host(args: &SchedulerArgs) -> Result<Host, ListenError> {
    let mut given = args.host.clone();
    if let Some(name) = args.interface.as_deref().filter(|name| !name.is_empty()) {
        if !given.is_empty() {
            return Err(ListenError::HostAndInterface);
        }
        given = interface_ip(name)?.to_string();
    }
    let (scheme, rest) = match given.split_once("://") {
        Some((scheme, rest)) => (Some(scheme.to_owned()), rest),
        None => (None, given.as_str()),
    };
    let (name, port) = match split_port(rest) {
        Some((name, port)) => {
            let port = port
                .parse()
                .map_err(|_| ListenError::Port(port.to_owned()))?;
            (name, Some(port))
        }
        None => (rest, None),
    };
    let name = name.trim_matches(['[', ']']).to_owned();
    Ok(Host {
        scheme,
        name,
        port,
        given,
    })
}

/// Splits a port off; the colons of a bare IPv6 address are none.
fn split_port(address: &str) -> Option<(&str, &str)> {
    let (name, port) = address.rsplit_once(':')?;
    let bare_ipv6 = name.contains(':') && !name.ends_with(']');
    (!bare_ipv6 && !port.is_empty()).then_some((name, port))
}

fn protocols(
    args: &SchedulerArgs,
    host: &Host,
    comm: &CommConfig,
    security: &Security,
) -> Result<Vec<Scheme>, ListenError> {
    if let Some(given) = args.protocol.as_deref().filter(|given| !given.is_empty()) {
        return given.split(',').map(scheme).collect();
    }
    if security.require_encryption {
        return Ok(vec![Scheme::Tls]);
    }
    let name = host.scheme.as_deref().unwrap_or(&comm.default_scheme);
    Ok(vec![scheme(name)?])
}

fn scheme(text: &str) -> Result<Scheme, ListenError> {
    match text.strip_suffix("://").unwrap_or(text) {
        "tcp" => Ok(Scheme::Tcp),
        "tls" => Ok(Scheme::Tls),
        other => Err(ListenError::Protocol(other.to_owned())),
    }
}

/// The ports to try for each protocol. Without `--port` the first protocol has Dask's port and the others free ones.
fn ports(
    args: &SchedulerArgs,
    host: &Host,
    protocols: usize,
) -> Result<Vec<RangeInclusive<u16>>, ListenError> {
    let given = args.port.as_deref().filter(|port| !port.is_empty());
    match (given, host.port) {
        (Some(_), Some(_)) => Err(ListenError::HostPortAndPort(host.given.clone())),
        (Some(given), None) => given.split(',').map(port_range).collect(),
        (None, in_host) => {
            let first = in_host.unwrap_or(contract::ports::CLIENT);
            let mut ports = vec![0..=0; protocols];
            ports[0] = first..=first;
            Ok(ports)
        }
    }
}

fn port_range(text: &str) -> Result<RangeInclusive<u16>, ListenError> {
    let fail = || ListenError::Port(text.to_owned());
    let number = |text: &str| text.trim().parse::<u16>().map_err(|_| fail());
    let (first, last) = text.split_once(':').unwrap_or((text, text));
    let ports = number(first)?..=number(last)?;
    if ports.is_empty() {
        return Err(fail());
    }
    Ok(ports)
}

/// Where to answer HTTP.
pub fn dashboard_bindings(addresses: &str) -> Result<Vec<DashboardBinding>, ListenError> {
    addresses.split(',').map(dashboard_binding).collect()
}

fn dashboard_binding(address: &str) -> Result<DashboardBinding, ListenError> {
    let fail = || ListenError::DashboardAddress(address.to_owned());
    let (host, port) = match split_port(address) {
        Some((host, port)) => (host, port.parse().map_err(|_| fail())?),
        None => match address.parse() {
            Ok(port) => ("", port),
            Err(_) if address.is_empty() || address.contains(':') => return Err(fail()),
            Err(_) => (address, 0),
        },
    };
    Ok(DashboardBinding {
        host: host.trim_matches(['[', ']']).to_owned(),
        port,
    })
}
