//! How callers name workers: by address, by host and port, or by the name a worker gave itself.

use super::RpcError;
use super::fields::Fields;
use crate::context::Context;
use protocol::{Address, Text, Value};
use std::sync::Arc;

/// Addresses for what the caller gave, which need not be registered: names are looked up, host names resolved.
pub async fn coerce(ctx: &Arc<Context>, given: &[Value]) -> Result<Vec<Arc<str>>, RpcError> {
    let asked = given.to_vec();
    let aliased = ctx.core.call(move |core, _, _| {
        let alias = |name: &Value| core.worker_named(name);
        asked.iter().map(alias).collect::<Vec<_>>()
    });
    let aliased = aliased.await?;
    let mut addresses = Vec::with_capacity(given.len());
    for (value, alias) in given.iter().zip(aliased) {
        addresses.push(match alias {
            Some(address) => address,
            None => resolve(value).await?,
        });
    }
    Ok(addresses)
}

/// As [`coerce`], and every one must be registered.
pub async fn registered(ctx: &Arc<Context>, given: &[Value]) -> Result<Vec<Arc<str>>, RpcError> {
    let addresses = coerce(ctx, given).await?;
    let asked = addresses.clone();
    let unknown = ctx.core.call(move |core, _, _| {
        let mut addresses = asked.into_iter();
        addresses.find(|address| core.worker_at(address).is_none())
    });
    match unknown.await? {
        Some(address) => Err(RpcError::key_error(&*address)),
        None => Ok(addresses),
    }
}

/// The registered ones among what the caller gave.
pub async fn known(ctx: &Arc<Context>, given: &[Value]) -> Result<Vec<Arc<str>>, RpcError> {
    let mut addresses = coerce(ctx, given).await?;
    let known = ctx.core.call(move |core, _, _| {
        addresses.retain(|address| core.worker_at(address).is_some());
        addresses
    });
    Ok(known.await?)
}

/// Registered workers by address, or by a part of it when the caller gives no port (as a host name).
pub async fn matching(
    ctx: &Arc<Context>,
    fields: &Fields,
    patterns: &[Value],
) -> Result<Vec<Arc<str>>, RpcError> {
    let mut texts = Vec::with_capacity(patterns.len());
    for pattern in patterns {
        let text = pattern.as_text();
        texts.push(text.ok_or_else(|| fields.wrong("workers", "a list of addresses", pattern))?.to_string());
    }
    let all = ctx.core.call(|core, _, _| core.worker_addresses()).await?;
    if let Some(unknown) = texts.iter().find(|it| it.contains(':') && !all.iter().any(|own| **own == ***it)) {
        return Err(RpcError::key_error(unknown));
    }
    let matches = |worker: &Arc<str>| {
        texts.iter().any(|text| if text.contains(':') { **worker == **text } else { worker.contains(&**text) })
    };
    Ok(all.into_iter().filter(matches).collect())
}

/// Addresses of all workers on these hosts.
pub async fn on_hosts(ctx: &Arc<Context>, hosts: Vec<Text>) -> Result<Vec<Arc<str>>, RpcError> {
    let on_hosts = ctx.core.call(move |core, _, _| {
        let mut workers = core.worker_addresses();
        workers.retain(|worker| {
            let host = protocol::address::host_of(worker);
            hosts.iter().any(|wanted| *wanted == host)
        });
        workers
    });
    Ok(on_hosts.await?)
}

/// A worker's name as Python's `str()` gives it: what names are compared by.
pub fn name_text(name: &Value) -> String {
    match name {
        Value::Str(text) => text.to_string(),
        other => other.as_key().map_or_else(String::new, |key| key.to_string()),
    }
}

/// An array of addresses.
pub fn value(addresses: &[Arc<str>]) -> Value {
    addresses.iter().map(|address| Value::from(&**address)).collect()
}

/// The canonical form of an address: with a scheme, and an IP for a host name.
async fn resolve(value: &Value) -> Result<Arc<str>, RpcError> {
    let text = match value {
        Value::Str(text) => text.to_string(),
        Value::Array(pair) => host_and_port(pair).ok_or_else(|| not_an_address(value))?,
        _ => return Err(not_an_address(value)),
    };
    let normal = protocol::address::normalize(&text);
    // What is no address at all is looked up as it is, and not found.
    let Ok(address) = Address::parse(&normal) else {
        return Ok(Arc::from(normal));
    };
    let ips = transport::resolve(&address.host).await;
    let ips = ips.map_err(|error| RpcError::builtin("OSError", error.to_string()))?;
    let Some(ip) = ips.first() else {
        return Ok(Arc::from(normal));
    };
    Ok(Arc::from(Address::new(address.scheme, ip.to_string(), address.port).to_string()))
}

fn host_and_port(pair: &[Value]) -> Option<String> {
    let [host, port] = pair else { return None };
    let port = u16::try_from(port.as_u64()?).ok()?;
    Some(protocol::address::join_host_port(host.as_str()?, port))
}

fn not_an_address(value: &Value) -> RpcError {
    RpcError::type_error(format!(
        "addresses should be strings or tuples, not {}",
        value.type_name()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::array;

    #[tokio::test]
    async fn an_address_gets_its_scheme() {
        let address = resolve(&Value::from("127.0.0.1:8786")).await.unwrap();
        assert_eq!(&*address, "tcp://127.0.0.1:8786");
        let address = resolve(&Value::from("tls://127.0.0.1:8786")).await.unwrap();
        assert_eq!(&*address, "tls://127.0.0.1:8786");
    }

    #[tokio::test]
    async fn a_host_and_a_port_are_an_address() {
        let address = resolve(&array!["127.0.0.1", 8786]).await.unwrap();
        assert_eq!(&*address, "tcp://127.0.0.1:8786");
    }

    #[tokio::test]
    async fn a_number_that_names_no_worker_is_no_address() {
        let error = resolve(&Value::from(7)).await.unwrap_err();
        assert!(error.to_string().starts_with("TypeError"));
    }

    #[test]
    fn names_are_compared_as_texts() {
        assert_eq!(name_text(&Value::from(3)), "3");
        assert_eq!(name_text(&Value::from("3")), "3");
    }
}
