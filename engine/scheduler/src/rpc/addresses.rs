//! How callers name workers: by address, by host and port, or by the name a worker gave itself.

use super::RpcError;
use super::fields::Fields;
use crate::context::Context;
use protocol::address::AddressError;
use protocol::{Address, Value};
use scheduler_core::{Effects, Scheduler, Time, WorkerContact, WorkerId};
use std::sync::Arc;

/// Addresses for what the caller gave, which need not be registered: names are looked up, host names resolved.
pub async fn coerce(ctx: &Arc<Context>, given: &[Value]) -> Result<Vec<Arc<str>>, RpcError> {
    let asked = given.to_vec();
    let found = move |core: &mut Scheduler, _: Time, _: &mut Effects| {
        let address = |name: &Value| Some(core.worker(core.worker_named(name)?)?.address);
        asked.iter().map(address).collect::<Vec<_>>()
    };
    let found = ctx.core.call(found).await?;
    let mut addresses = Vec::with_capacity(given.len());
    for (value, found) in given.iter().zip(found) {
        addresses.push(match found {
            Some(address) => address,
            None => resolve(value).await?,
        });
    }
    Ok(addresses)
}

/// A worker as the caller gave it, and which one that is.
pub type Found = (Arc<str>, WorkerId);

/// The registered ones among what the caller gave; what is no address at all is not registered.
pub async fn known(ctx: &Arc<Context>, given: &[Value]) -> Result<Vec<Found>, RpcError> {
    let mut known = Vec::with_capacity(given.len());
    for one in given {
        match find(ctx, std::slice::from_ref(one)).await {
            Ok(found) => known.extend(
                found
                    .into_iter()
                    .filter_map(|(address, id)| Some((address, id?))),
            ),
            Err(stopped @ RpcError::Stopped(_)) => return Err(stopped),
            Err(_not_an_address) => {}
        }
    }
    Ok(known)
}

/// What the caller gave, all of which must be registered.
pub async fn registered(ctx: &Arc<Context>, given: &[Value]) -> Result<Vec<Found>, RpcError> {
    let found = find(ctx, given).await?.into_iter();
    let registered = |(address, id): (Arc<str>, Option<WorkerId>)| match id {
        Some(id) => Ok((address, id)),
        None => Err(RpcError::key_error(&*address)),
    };
    found.map(registered).collect()
}

async fn find(
    ctx: &Arc<Context>,
    given: &[Value],
) -> Result<Vec<(Arc<str>, Option<WorkerId>)>, RpcError> {
    let addresses = coerce(ctx, given).await?;
    let question = move |core: &mut Scheduler, _: Time, _: &mut Effects| {
        let find = |address: Arc<str>| {
            let id = core.worker_at(&address);
            (address, id)
        };
        addresses.into_iter().map(find).collect()
    };
    Ok(ctx.core.call(question).await?)
}

/// Registered workers by address, or by a part of it when the caller gives no port (as a host name).
pub async fn matching(
    ctx: &Arc<Context>,
    fields: &Fields,
    patterns: &[Value],
) -> Result<Vec<WorkerId>, RpcError> {
    let mut texts = Vec::with_capacity(patterns.len());
    for pattern in patterns {
        let text = pattern.as_text();
        texts.push(
            text.ok_or_else(|| fields.wrong("workers", "a list of addresses", pattern))?
                .to_string(),
        );
    }
    let all = ctx.core.call(|core, _, _| core.workers()).await?;
    let unknown =
        |text: &&String| text.contains(':') && !all.iter().any(|own| *own.address == ***text);
    if let Some(unknown) = texts.iter().find(unknown) {
        return Err(RpcError::key_error(unknown));
    }
    let matches = |worker: &&WorkerContact| {
        let address = &*worker.address;
        texts.iter().any(|text| {
            if text.contains(':') {
                address == text
            } else {
                address.contains(&**text)
            }
        })
    };
    Ok(all.iter().filter(matches).map(|worker| worker.id).collect())
}

/// An array of addresses.
pub fn value(addresses: &[Arc<str>]) -> Value {
    addresses
        .iter()
        .map(|address| Value::from(&**address))
        .collect()
}

/// The canonical form of an address: with a scheme, and an IP for a host name.
async fn resolve(value: &Value) -> Result<Arc<str>, RpcError> {
    let text = match value {
        Value::Str(text) => text.to_string(),
        Value::Array(pair) => host_and_port(pair).ok_or_else(|| not_an_address(value))?,
        _ => return Err(not_an_address(value)),
    };
    let normal = protocol::address::normalize(&text);
    let address = match Address::parse(&normal) {
        Ok(address) => address,
        // Nobody can be registered by such an address; it is looked up and not found.
        Err(AddressError::Scheme { .. }) => return Ok(Arc::from(normal)),
        Err(error) => return Err(RpcError::value_error(error.to_string())),
    };
    let ips = transport::resolve(&address.host).await;
    let ips = ips.map_err(|error| RpcError::builtin("OSError", error.to_string()))?;
    let Some(ip) = ips.first() else {
        return Ok(Arc::from(normal));
    };
    Ok(Arc::from(
        Address::new(address.scheme, ip.to_string(), address.port).to_string(),
    ))
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
    async fn a_text_without_a_port_is_no_address() {
        let error = resolve(&Value::from("nope")).await.unwrap_err();
        assert!(error.to_string().starts_with("ValueError"), "{error}");
    }

    #[tokio::test]
    async fn a_number_that_names_no_worker_is_no_address() {
        let error = resolve(&Value::from(7)).await.unwrap_err();
        assert!(error.to_string().starts_with("TypeError"));
    }
}
