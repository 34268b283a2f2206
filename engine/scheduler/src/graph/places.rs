//! Where tasks of a graph may run, before the core sees the graph: `host:port` becomes the address a worker registers with.
//!
//! Each name is asked for once a graph. What a worker calls itself is no host name; a host without a port stays one, and the
//! core compares it with the hosts of workers.

use super::GraphError;
use crate::context::Context;
use crate::core_loop::Stopped;
use protocol::{Address, Value};
use scheduler_core::{Annotations, Graph};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// What a user wrote, and the address it stands for.
type Resolved = HashMap<String, Arc<str>>;

/// Resolves the host names that tasks are restricted to. One that cannot be resolved is an error of the graph, as in stock.
pub async fn resolve(ctx: &Context, graph: &mut Graph) -> Result<(), GraphError> {
    let names = unresolved(graph);
    if names.is_empty() {
        return Ok(());
    }
    let stopped = |stopped: Stopped| GraphError::runtime(&stopped.to_string());
    let names = without_aliases(ctx, names).await.map_err(stopped)?;
    let mut resolved = Resolved::new();
    for (name, address) in names {
        let ips = transport::resolve(&address.host).await;
        let ips = ips.map_err(|error| GraphError::builtin("OSError", &error.to_string()))?;
        if let Some(ip) = ips.first() {
            let address = Address::new(address.scheme, ip.to_string(), address.port);
            resolved.insert(name, Arc::from(address.to_string()));
        }
    }
    put(graph, &resolved);
    Ok(())
}

/// Addresses with host names, each once.
fn unresolved(graph: &Graph) -> Vec<(String, Address)> {
    let mut found: Vec<(String, Address)> = Vec::new();
    let annotations = graph
        .tasks
        .iter()
        .filter_map(|task| task.annotations.as_deref());
    for name in annotations
        .flat_map(|own| &own.workers)
        .filter_map(Value::as_str)
    {
        if let Some(address) = address_to_resolve(name)
            && !found.iter().any(|(known, _)| known == name)
        {
            found.push((name.to_owned(), address));
        }
    }
    found
}

fn address_to_resolve(name: &str) -> Option<Address> {
    let address = Address::parse(&protocol::address::normalize(name)).ok()?;
    address.host.parse::<IpAddr>().is_err().then_some(address)
}

/// Workers may call themselves anything.
async fn without_aliases(
    ctx: &Context,
    mut names: Vec<(String, Address)>,
) -> Result<Vec<(String, Address)>, Stopped> {
    ctx.core
        .call(move |core, _, _| {
            names.retain(|(name, _)| core.worker_named(&Value::from(name.as_str())).is_none());
            names
        })
        .await
}

/// Tasks that shared their annotations go on sharing them.
fn put(graph: &mut Graph, resolved: &Resolved) {
    // The old ones are kept until the end, so that none of these addresses is used twice.
    let mut changed: HashMap<*const Annotations, [Arc<Annotations>; 2]> = HashMap::new();
    let new = |value: &Value| value.as_str().and_then(|name| resolved.get(name));
    for own in graph
        .tasks
        .iter_mut()
        .filter_map(|task| task.annotations.as_mut())
    {
        if !own.workers.iter().any(|value| new(value).is_some()) {
            continue;
        }
        let with_addresses = || {
            let mut copy = Annotations::clone(own);
            for value in &mut copy.workers {
                if let Some(address) = new(value) {
                    *value = Value::from(&**address);
                }
            }
            [Arc::clone(own), Arc::new(copy)]
        };
        let [_, new] = changed
            .entry(Arc::as_ptr(own))
            .or_insert_with(with_addresses);
        *own = Arc::clone(new);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_address_with_a_host_name_is_to_be_resolved() {
        for (name, host) in [("node-7:4000", "node-7"), ("tls://node-7:4000", "node-7")] {
            assert_eq!(address_to_resolve(name).unwrap().host, host);
        }
        for name in [
            "alice",
            "node-7",
            "10.0.0.1:4000",
            "tcp://10.0.0.1:4000",
            "[::1]:4000",
            "http://a:1",
        ] {
            assert!(address_to_resolve(name).is_none(), "{name}");
        }
    }
}
