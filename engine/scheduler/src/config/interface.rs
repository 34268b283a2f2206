//! The IPv4 address of a network interface, for `--interface`.

use std::ffi::CStr;
use std::net::Ipv4Addr;
use std::ptr;

/// Why an interface gives no address; says which names exist.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("find an IPv4 address of network interface {name:?}; interfaces with one: {known}")]
pub struct InterfaceError {
    name: String,
    known: String,
}

/// The first IPv4 address of the named interface.
pub fn address(name: &str) -> Result<Ipv4Addr, InterfaceError> {
    let interfaces = interfaces();
    let found = interfaces.iter().find(|(known, _)| known == name);
    found.map(|(_, address)| *address).ok_or_else(|| {
        let mut known: Vec<_> = interfaces.into_iter().map(|(name, _)| name).collect();
        known.dedup();
        InterfaceError {
            name: name.to_owned(),
            known: known.join(", "),
        }
    })
}

fn interfaces() -> Vec<(String, Ipv4Addr)> {
    let mut first: *mut libc::ifaddrs = ptr::null_mut();
    // SAFETY: the call only writes the head of a list it allocates.
    if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
        return Vec::new();
    }
    let mut found = Vec::new();
    let mut next = first;
    while !next.is_null() {
        // SAFETY: `next` is a live element of the list until `freeifaddrs`.
        let entry = unsafe { &*next };
        found.extend(ipv4(entry));
        next = entry.ifa_next;
    }
    // SAFETY: `first` came from getifaddrs and no reference into the list is left.
    unsafe { libc::freeifaddrs(first) };
    found
}

fn ipv4(entry: &libc::ifaddrs) -> Option<(String, Ipv4Addr)> {
    // SAFETY: an address that is not null begins with its family; the family says how long it is.
    let address = unsafe {
        let address = entry.ifa_addr.as_ref()?;
        if i32::from(address.sa_family) != libc::AF_INET {
            return None;
        }
        &*entry.ifa_addr.cast::<libc::sockaddr_in>()
    };
    // SAFETY: the name is a C string that lives as long as the entry.
    let name = unsafe { CStr::from_ptr(entry.ifa_name) };
    let address = Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr));
    Some((name.to_string_lossy().into_owned(), address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_its_address() {
        assert_eq!(address("lo"), Ok(Ipv4Addr::LOCALHOST));
    }

    #[test]
    fn an_unknown_interface_is_refused_with_the_known_ones() {
        let error = address("no-such-0").unwrap_err().to_string();
        assert!(
            error.contains("no-such-0") && error.contains("lo"),
            "{error}"
        );
    }
}
