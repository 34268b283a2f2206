//! Joining a scheduler: `register-worker`, tried again until it answers or the time is up.

use crate::clock;
use crate::heartbeat;
use crate::life::Life;
use protocol::{Address, Value, map};
use std::time::Duration;
use tracing::{debug, info, warn};
use transport::{Connection, RecvError};

const PAUSE: Duration = Duration::from_millis(50);

/// How long a try may take: little, because a packet lost on the way to nobody is sent again only after a second; then
/// more, because a busy scheduler may be slow; then little again.
const FIRST_PATIENCE: Duration = Duration::from_millis(250);
const LAST_PATIENCE: Duration = Duration::from_secs(4);

/// When it is first said what is waited for, in seconds; then after three times that, and so on.
const FIRST_LINE_SECONDS: f64 = 2.0;
const RAREST_LINE_SECONDS: f64 = 600.0;

#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    #[error("reach the scheduler at {address} within {} s (--death-timeout)", timeout.as_secs_f64())]
    Timeout { address: String, timeout: Duration },
    #[error("register with the scheduler at {address}: {reason}")]
    Refused { address: String, reason: String },
}

/// What the executor said of itself when it started.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub versions: Value,
    pub startup_information: Value,
}

/// The stream, and what the scheduler answered.
pub struct Registered {
    pub connection: Connection,
    pub heartbeat_interval: Duration,
    pub plugins: Vec<(Value, Value)>,
}

pub async fn register(life: &Life, facts: &Facts) -> Result<Registered, RegistrationError> {
    let attempts = attempts(life, facts);
    match life.config.death_timeout {
        None => attempts.await,
        Some(timeout) => match tokio::time::timeout(timeout, attempts).await {
            Ok(answer) => answer,
            Err(_) => Err(RegistrationError::Timeout {
                address: life.scheduler.clone(),
                timeout,
            }),
        },
    }
}

async fn attempts(life: &Life, facts: &Facts) -> Result<Registered, RegistrationError> {
    let began = clock::now();
    let (mut patience, mut next_line) = (FIRST_PATIENCE, FIRST_LINE_SECONDS);
    loop {
        let problem = match attempt(life, facts, patience).await {
            Ok(answer) => return answer,
            Err(problem) => problem,
        };
        patience = match patience < LAST_PATIENCE {
            true => patience * 2,
            false => FIRST_PATIENCE,
        };
        let waited = clock::now().seconds_since(began);
        if waited >= next_line {
            let elapsed_ms = waited * 1000.0;
            info!(
                scheduler = life.scheduler,
                elapsed_ms,
                error = problem,
                "waiting to connect"
            );
            next_line = (next_line * 3.0).min(next_line + RAREST_LINE_SECONDS);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A text is a reason to try again.
async fn attempt(
    life: &Life,
    facts: &Facts,
    patience: Duration,
) -> Result<Result<Registered, RegistrationError>, String> {
    let refused = |reason: String| RegistrationError::Refused {
        address: life.scheduler.clone(),
        reason,
    };
    let target = match Address::parse(&life.scheduler) {
        Ok(target) => target,
        Err(error) => return Ok(Err(refused(error.to_string()))),
    };
    let connecting = life.pool.connector().connect_once(&target);
    let mut connection = match tokio::time::timeout(patience, connecting).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(error)) if error.is_fatal() => {
            return Ok(Err(refused(transport::with_sources(&error))));
        }
        Ok(Err(error)) => return Err(transport::with_sources(&error)),
        Err(_) => return Err("no answer".to_owned()),
    };
    let start = clock::now();
    let sent = connection.send_value(&request(life, facts)).await;
    sent.map_err(|error| error.to_string())?;
    let reply = connection.recv_value().await;
    let reply = match reply {
        Ok(Some(reply)) => reply,
        Ok(None) => return Err("the scheduler closed the connection".to_owned()),
        Err(error @ (RecvError::Read(_) | RecvError::Closed | RecvError::Truncated)) => {
            return Err(error.to_string());
        }
        Err(error) => {
            return Ok(Err(refused(transport::with_sources(&error))));
        }
    };
    life.clock_seen(start, &reply);
    Ok(accepted(life, connection, reply))
}

fn accepted(
    life: &Life,
    connection: Connection,
    mut reply: Value,
) -> Result<Registered, RegistrationError> {
    if !reply
        .get("status")
        .is_some_and(|status| status.is_str("OK"))
    {
        let message = reply.get("message").and_then(Value::as_str);
        return Err(RegistrationError::Refused {
            address: life.scheduler.clone(),
            reason: message.unwrap_or("no reason given").to_owned(),
        });
    }
    if let Some(warning) = reply.get("warning").and_then(Value::as_str)
        && !warning.is_empty()
    {
        warn!("{warning}");
    }
    let plugins = reply.take("worker-plugins").and_then(Value::into_map);
    debug!(scheduler = life.scheduler, "registered");
    Ok(Registered {
        connection,
        heartbeat_interval: heartbeat::interval(&reply),
        plugins: plugins.unwrap_or_default(),
    })
}

fn request(life: &Life, facts: &Facts) -> Value {
    let resources = life.config.resources.iter();
    let resources = resources.map(|(name, amount)| (Value::from(&**name), Value::from(*amount)));
    let now = clock::now().seconds();
    map! {
        "op" => "register-worker",
        "reply" => false,
        "address" => life.address.as_str(),
        "status" => "init",
        "nthreads" => life.config.nthreads,
        "name" => life.name.clone(),
        "now" => now,
        "resources" => resources.collect::<Value>(),
        "memory_limit" => life.config.memory_limit,
        "local_directory" => life.local_directory.to_string_lossy().into_owned(),
        "services" => map! {"dashboard" => u32::from(life.http_port)},
        "nanny" => life.nanny.clone(),
        "pid" => std::process::id(),
        "versions" => facts.versions.clone(),
        "metrics" => heartbeat::metrics(life, &heartbeat::Counts::default()),
        "extra" => facts.startup_information.clone(),
        "stimulus_id" => format!("worker-connect-{now}"),
        "server_id" => life.id.as_str(),
    }
}

impl Life {
    /// A reply that was asked for at `start` tells the scheduler's time.
    pub fn clock_seen(&self, start: protocol::Time, reply: &Value) {
        if let Some(time) = reply.get("time").and_then(Value::as_f64) {
            let middle = (start.seconds() + clock::now().seconds()) / 2.0;
            self.scheduler_delay_seconds.set(time - middle);
        }
    }
}
