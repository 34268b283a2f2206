//! The network namespace a cluster lives in. No packet for a pod or a service leaves the machine: the default route
//! leads to an address nobody has.

use anyhow::{Context, Result, bail};

use super::Unavailable;
use super::layout::{Layout, NODE_ADDRESS, NOWHERE};
use crate::command::Run;

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

fn ip(arguments: &[&str]) -> Result<()> {
    Run::new("ip").args(arguments).run_quietly()
}
