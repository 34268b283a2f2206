//! What a worker says when it registers: from a request's fields to the core's type, with the address resolved.

use crate::mismatch;
use contract::distributed;
use protocol::{Address, Text, Value};
use scheduler_core::{Registration, WorkerStatus};
use std::sync::Arc;

/// Reads the fields of `register-worker`. The error is what the worker is told.
pub async fn parse(request: &Value) -> Result<Registration, String> {
    let versions = field(request, "versions");
    if let Some(refusal) = mismatch::refusal(&versions, distributed::SUPPORTED) {
        return Err(refusal);
    }
    let address = resolve(&text(request, "address")?).await?;
    let status = text(request, "status")?;
    Ok(Registration {
        host: Arc::from(protocol::address::host_of(&address)),
        address: Arc::from(address),
        name: field(request, "name").detached(),
        nthreads: whole(request, "nthreads")?,
        memory_limit: field(request, "memory_limit")
            .as_u64()
            .filter(|limit| *limit > 0),
        resources: resources(&field(request, "resources"))?,
        local_directory: Arc::from(text(request, "local_directory")?),
        services: field(request, "services").detached(),
        nanny: optional_text(request, "nanny").map(Arc::from),
        pid: field(request, "pid").as_i64().unwrap_or(0),
        versions: versions.detached(),
        metrics: field(request, "metrics").detached(),
        extra: field(request, "extra").detached(),
        server_id: Arc::from(optional_text(request, "server_id").unwrap_or_default()),
        status: WorkerStatus::from_name(&status)
            .ok_or_else(|| format!("register-worker: unknown status {status:?}"))?,
        now_seconds: field(request, "now").as_f64().unwrap_or(0.0),
        stimulus_id: Text::from(optional_text(request, "stimulus_id").unwrap_or_default()),
    })
}

/// The address with scheme and with an IP for a host name, as every other message will name this worker.
async fn resolve(address: &str) -> Result<String, String> {
    let normal = protocol::address::normalize(address);
    let parsed = Address::parse(&normal).map_err(|error| format!("register-worker: {error}"))?;
    let addresses = transport::resolve(&parsed.host)
        .await
        .map_err(|error| format!("register-worker: {error}"))?;
    let ip = addresses
        .first()
        .ok_or_else(|| format!("register-worker: {} has no address", parsed.host))?;
    Ok(Address::new(parsed.scheme, ip.to_string(), parsed.port).to_string())
}

/// Abstract resources as a worker names them.
pub fn resources(value: &Value) -> Result<Vec<(Arc<str>, f64)>, String> {
    let wrong = || "resources: a map from names to numbers is expected".to_owned();
    if value.is_nil() {
        return Ok(Vec::new());
    }
    let entries = value.as_map().ok_or_else(wrong)?;
    entries
        .iter()
        .map(|(name, amount)| {
            let name = name.as_str().ok_or_else(wrong)?;
            Ok((Arc::from(name), amount.as_f64().ok_or_else(wrong)?))
        })
        .collect()
}

fn field(request: &Value, name: &str) -> Value {
    request.get(name).cloned().unwrap_or_default()
}

fn optional_text(request: &Value, name: &str) -> Option<String> {
    request.get(name)?.as_str().map(str::to_owned)
}

fn text(request: &Value, name: &str) -> Result<String, String> {
    optional_text(request, name)
        .ok_or_else(|| format!("register-worker: {name}: a string is expected"))
}

fn whole(request: &Value, name: &str) -> Result<u32, String> {
    let number = request.get(name).and_then(Value::as_u64);
    number
        .and_then(|number| u32::try_from(number).ok())
        .filter(|number| *number > 0)
        .ok_or_else(|| format!("register-worker: {name}: a whole number above 0 is expected"))
}
