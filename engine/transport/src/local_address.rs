//! Which of our own addresses others can reach.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Where a route is looked up for when nobody in particular is to be reached. Nothing is sent there.
const ANYWHERE_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(8, 8, 8, 8));
const ANYWHERE_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0x4860, 0x4860, 0, 0, 0, 0, 0x8888));

/// The address the kernel would use to reach `peer`. Sends nothing.
pub fn local_ip_towards(peer: IpAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match peer {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
    socket.connect(SocketAddr::new(peer, 80))?;
    Ok(socket.local_addr()?.ip())
}

/// A concrete address to advertise for a bound one: itself, or for a wildcard the one a route to the outside (or
/// to `peer`) uses; loopback when there is no route.
pub fn concrete_ip(bound: IpAddr, peer: Option<IpAddr>) -> IpAddr {
    if !bound.is_unspecified() {
        return bound;
    }
    let anywhere = if bound.is_ipv6() {
        ANYWHERE_V6
    } else {
        ANYWHERE_V4
    };
    let routes = [peer, Some(anywhere), Some(ANYWHERE_V4)]
        .into_iter()
        .flatten();
    let loopback = Ipv4Addr::LOCALHOST.into();
    routes
        .filter_map(|target| local_ip_towards(target).ok())
        .find(|ip| !ip.is_unspecified())
        .unwrap_or(loopback)
}

#[derive(Debug, thiserror::Error)]
pub enum InterfaceError {
    #[error("list network interfaces")]
    List(#[source] io::Error),
    #[error("network interface {name} has no address; there are: {known}")]
    Unknown { name: String, known: String },
}

/// The first address of a network interface, IPv4 before IPv6.
pub fn interface_ip(name: &str) -> Result<IpAddr, InterfaceError> {
    let interfaces = if_addrs::get_if_addrs().map_err(InterfaceError::List)?;
    let own = interfaces
        .iter()
        .filter(|interface| interface.name == name)
        .map(|interface| interface.ip());
    own.min_by_key(IpAddr::is_ipv6).ok_or_else(|| {
        let mut known: Vec<&str> = interfaces
            .iter()
            .map(|interface| interface.name.as_str())
            .collect();
        known.dedup();
        InterfaceError::Unknown {
            name: name.into(),
            known: known.join(", "),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn way_to_loopback_is_loopback() {
        assert_eq!(
            local_ip_towards(Ipv4Addr::LOCALHOST.into()).unwrap(),
            Ipv4Addr::LOCALHOST
        );
    }

    #[test]
    fn wildcard_becomes_concrete_and_the_rest_stays() {
        assert!(!concrete_ip(Ipv4Addr::UNSPECIFIED.into(), None).is_unspecified());
        let towards_loopback = concrete_ip(
            Ipv4Addr::UNSPECIFIED.into(),
            Some(Ipv4Addr::LOCALHOST.into()),
        );
        assert_eq!(towards_loopback, Ipv4Addr::LOCALHOST);
        assert_eq!(
            concrete_ip(Ipv4Addr::new(10, 0, 0, 7).into(), None),
            Ipv4Addr::new(10, 0, 0, 7)
        );
    }

    #[test]
    fn loopback_interface_has_an_address() {
        assert!(interface_ip("lo").unwrap().is_loopback());
        let error = interface_ip("nosuch0").unwrap_err().to_string();
        assert!(error.contains("nosuch0") && error.contains("lo"), "{error}");
    }
}
