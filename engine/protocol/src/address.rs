//! Addresses as Dask writes them: `tcp://host:port`, with brackets around IPv6.
//!
//! Pure text: nothing is resolved here. The default scheme is `tcp`, as in Dask's default configuration.

use std::fmt;

/// The scheme of an address without one.
pub const DEFAULT_SCHEME: &str = "tcp";

/// How the bytes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    Tcp,
    Tls,
}

impl Scheme {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Tls => "tls",
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// Where a peer listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    pub scheme: Scheme,
    /// A name or an IP, without brackets.
    pub host: String,
    pub port: u16,
}

/// Text that is no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("scheme {scheme} of {address} is not supported; use tcp or tls")]
    Scheme { address: String, scheme: String },
    #[error("missing port number in address {0}")]
    NoPort(String),
    #[error("port of {0} is not a number below 65536")]
    Port(String),
    #[error("invalid address {0}; maybe: ipv6 needs brackets like [::1]")]
    Brackets(String),
}

impl Address {
    pub fn new(scheme: Scheme, host: impl Into<String>, port: u16) -> Self {
        Self {
            scheme,
            host: host.into(),
            port,
        }
    }

    /// Parses an address that must have a port.
    pub fn parse(address: &str) -> Result<Self, AddressError> {
        Self::parse_with(address, None)
    }

    /// Parses an address; `default_port` stands in where it has none.
    pub fn parse_with(address: &str, default_port: Option<u16>) -> Result<Self, AddressError> {
        let (scheme, location) = split_scheme(address);
        let scheme = match scheme {
            "tcp" => Scheme::Tcp,
            "tls" => Scheme::Tls,
            other => {
                return Err(AddressError::Scheme {
                    address: address.into(),
                    scheme: other.into(),
                });
            }
        };
        let (host, port) = split_host_port(location)?;
        let port = match (port, default_port) {
            (Some(port), _) => port
                .parse()
                .map_err(|_| AddressError::Port(address.into()))?,
            (None, Some(port)) => port,
            (None, None) => return Err(AddressError::NoPort(address.into())),
        };
        Ok(Self {
            scheme,
            host: host.into(),
            port,
        })
    }

    /// `host:port`, with brackets around IPv6.
    pub fn host_port(&self) -> String {
        join_host_port(&self.host, self.port)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}://{}", self.scheme, self.host_port())
    }
}

impl std::str::FromStr for Address {
    type Err = AddressError;

    fn from_str(address: &str) -> Result<Self, AddressError> {
        Self::parse(address)
    }
}

/// The scheme (or the default) and the rest.
pub fn split_scheme(address: &str) -> (&str, &str) {
    address
        .rsplit_once("://")
        .unwrap_or((DEFAULT_SCHEME, address))
}

/// Adds the default scheme where there is none.
pub fn normalize(address: &str) -> String {
    let (scheme, location) = split_scheme(address);
    format!("{scheme}://{location}")
}

/// The host part of an address, without brackets; the key of what a scheduler knows per host.
pub fn host_of(address: &str) -> &str {
    let (_, location) = split_scheme(address);
    split_host_port(location).map_or(location, |(host, _)| host)
}

/// `host:port`, with brackets around IPv6.
pub fn join_host_port(host: &str, port: u16) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// Splits `host`, `host:port`, `[v6]` or `[v6]:port`.
pub fn split_host_port(location: &str) -> Result<(&str, Option<&str>), AddressError> {
    let wrong = || AddressError::Brackets(location.into());
    if let Some(rest) = location.strip_prefix('[') {
        let (host, tail) = rest.split_once(']').ok_or_else(wrong)?;
        return match tail {
            "" => Ok((host, None)),
            _ => Ok((host, Some(tail.strip_prefix(':').ok_or_else(wrong)?))),
        };
    }
    match location.rsplit_once(':') {
        None => Ok((location, None)),
        Some((host, _)) if host.contains(':') => Err(wrong()),
        Some((host, port)) => Ok((host, Some(port))),
    }
}
