//! The network namespace a cluster lives in. No packet for a pod or a service leaves the machine: the default route
//! leads to an address nobody has.

use std::fs;

use anyhow::{Context, Result, bail};

use super::Unavailable;
use super::layout::{Layout, NODE_ADDRESS, NOWHERE};
use super::prerequisites::tool_named;

/// Makes the namespace, unless it is there.
pub fn make(layout: &Layout) -> Result<()> {
    if layout.network_namespace().exists() {
        return Ok(());
    }
    if let Err(error) = ip(&["netns", "add", &layout.name]) {
        bail!(Unavailable(format!(
            "this machine does not let root make a network namespace ({error}): in a container, start it privileged"
        )));
    }
    furnish(layout).context("set up the network namespace")
}

fn furnish(layout: &Layout) -> Result<()> {
    let inside = |arguments: &[&str]| {
        let mut all = vec!["-n", layout.name.as_str()];
        all.extend(arguments);
        ip(&all)
    };
    let address = format!("{NODE_ADDRESS}/24");
    inside(&["link", "set", "lo", "up"])?;
    inside(&["link", "add", "node0", "type", "bridge"])?;
    inside(&["addr", "add", &address, "dev", "node0"])?;
    inside(&["link", "set", "node0", "up"])?;
    inside(&["route", "add", "default", "via", NOWHERE, "dev", "node0"])
}

/// Takes it away, if it is there.
pub fn remove(layout: &Layout) -> Result<()> {
    if layout.network_namespace().exists() {
        ip(&["netns", "delete", &layout.name])?;
    }
    Ok(())
}

/// Does somebody take datagrams on a port, in the network namespace of a process?
pub fn listens(pid: i32, port: u16) -> bool {
    ["udp", "udp6"].iter().any(|table| {
        let text = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        is_bound(&text, port)
    })
}

fn is_bound(table: &str, port: u16) -> bool {
    let port = format!("{port:04X}");
    table
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1)?.split_once(':'))
        .any(|(_, bound)| bound == port)
}

fn ip(arguments: &[&str]) -> Result<()> {
    tool_named("ip").args(arguments).run_quietly()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_port_is_found() {
        let table = "  sl  local_address rem_address\n 1: 0100580A:0035 00000000:0000 07\n";
        assert!(is_bound(table, 53));
        assert!(!is_bound(table, 54));
    }
}
