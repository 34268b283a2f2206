//! Heartbeats: what this worker does and holds, told to the scheduler as often as it wants.

use crate::clock;
use crate::life::{End, Life};
use crate::machine::Machine;
use crate::measure;
use protocol::{Frames, Value, decode_message, encode_value, map};
use std::time::Duration;
use tracing::warn;
use worker_core::{IncomingTransfers, ManagedMemory};

const DEFAULT_INTERVAL_SECONDS: f64 = 1.0;

/// How long until the next one, as a reply says.
pub fn interval(reply: &Value) -> Duration {
    let seconds = reply.get("heartbeat-interval").and_then(Value::as_f64);
    let seconds = seconds
        .unwrap_or(DEFAULT_INTERVAL_SECONDS)
        .clamp(0.05, 300.0);
    Duration::from_secs_f64(seconds)
}

/// What the machine counts.
pub struct Counts {
    tasks: Vec<(Value, Value)>,
    executing: Vec<(Value, Value)>,
    managed: ManagedMemory,
    incoming: IncomingTransfers,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            tasks: Vec::new(),
            executing: Vec::new(),
            managed: ManagedMemory {
                in_memory: 0,
                spilled: 0,
                on_disk: 0,
            },
            incoming: IncomingTransfers {
                bytes: 0,
                count: 0,
                count_total: 0,
            },
        }
    }
}

fn count(machine: &mut Machine) -> Counts {
    let core = &machine.core;
    let tasks = core.counts();
    let executing = core.executing(clock::now());
    Counts {
        tasks: tasks
            .map(|(state, count)| (Value::text(state), count.into()))
            .collect(),
        executing: executing
            .map(|(key, seconds)| (key.to_value(), seconds.into()))
            .collect(),
        managed: core.managed_memory(),
        incoming: core.incoming(),
    }
}

/// What a stock worker at rest tells. Ours measures neither the turns of its loop nor the host's traffic; dashboards of stock
/// schedulers cannot do without these fields.
const UNMEASURED_LOOP_INTERVAL_SECONDS: f64 = 0.02;

/// See [`UNMEASURED_LOOP_INTERVAL_SECONDS`].
fn unmeasured_io() -> Value {
    map! {"read_bps" => 0.0, "write_bps" => 0.0}
}

/// The `metrics` of a heartbeat.
pub fn metrics(life: &Life, counts: &Counts) -> Value {
    let bandwidth = life.bandwidth.borrow();
    let workers = bandwidth.workers.iter().map(|(peer, (sum, count))| {
        let mean = sum / (*count as f64).max(1.0);
        let both = Value::Array(vec![mean.into(), (*count).into()]);
        (Value::from(peer.as_str()), both)
    });
    let incoming = &counts.incoming;
    let outgoing = &life.outgoing;
    map! {
        "task_counts" => counts.tasks.clone(),
        "bandwidth" => map! {
            "total" => bandwidth.total,
            "workers" => workers.collect::<Value>(),
            "types" => Value::Map(Vec::new()),
        },
        "digests_total_since_heartbeat" => Value::Map(Vec::new()),
        "managed_bytes" => counts.managed.in_memory,
        "spilled_bytes" => map! {
            "memory" => counts.managed.spilled,
            "disk" => counts.managed.on_disk,
        },
        "transfer" => map! {
            "incoming_bytes" => incoming.bytes,
            "incoming_count" => incoming.count,
            "incoming_count_total" => incoming.count_total,
            "outgoing_bytes" => outgoing.bytes.get(),
            "outgoing_count" => outgoing.count.get(),
            "outgoing_count_total" => outgoing.count_total.get(),
        },
        "event_loop_interval" => UNMEASURED_LOOP_INTERVAL_SECONDS,
        "cpu" => life.cpu_percent.get(),
        "memory" => life.memory_bytes.get(),
        "time" => clock::now().seconds(),
        "host_net_io" => unmeasured_io(),
        "host_disk_io" => unmeasured_io(),
        "num_fds" => measure::open_files(std::process::id()),
    }
}

/// Sends heartbeats until it is dropped.
pub async fn run(life: &Life, first: Duration) {
    let mut pause = first;
    loop {
        tokio::time::sleep(pause).await;
        match beat(life).await {
            Ok(Some(next)) => pause = next,
            Ok(None) => {}
            Err(Missing) => {
                warn!("the scheduler does not know this worker any more");
                let reason = "worker-heartbeat-missing".to_owned();
                return life.end(End::Close { reason });
            }
        }
    }
}

/// The scheduler has removed this worker.
struct Missing;

async fn beat(life: &Life) -> Result<Option<Duration>, Missing> {
    let Ok(mut counts) = life.handle.call(count).await else {
        return Ok(None);
    };
    let executing = std::mem::take(&mut counts.executing);
    let start = clock::now();
    let (more_metrics, extensions) = of_python(life).await;
    let mut metrics = metrics(life, &counts);
    if let Value::Map(entries) = &mut metrics {
        let known: Vec<Value> = entries.iter().map(|(name, _)| name.clone()).collect();
        entries.extend(
            more_metrics
                .into_iter()
                .filter(|(name, _)| !known.contains(name)),
        );
    }
    life.bandwidth.borrow_mut().workers.clear();
    let request = map! {
        "op" => "heartbeat_worker",
        "reply" => true,
        "address" => life.address.as_str(),
        "now" => start.seconds(),
        "metrics" => metrics,
        "executing" => executing,
        "extensions" => extensions,
    };
    let sent = clock::now();
    let reply = life
        .pool
        .call(&life.scheduler, &encode_value(&request))
        .await;
    let reply = match reply {
        Ok(reply) => reply,
        Err(error) => {
            warn!(error = %transport::with_sources(&error), "a heartbeat did not reach the scheduler");
            return Ok(None);
        }
    };
    if reply.get("status").is_some_and(|it| it.is_str("missing")) {
        return Err(Missing);
    }
    life.clock_seen(sent, &reply);
    Ok(Some(interval(&reply)))
}

/// How long a heartbeat waits for Python, which may be busy.
const PATIENCE: Duration = Duration::from_millis(50);

/// What plugins and preloads add; nothing when Python does not answer at once.
async fn of_python(life: &Life) -> (Vec<(Value, Value)>, Value) {
    let nothing = (Vec::new(), Value::Map(Vec::new()));
    let asked = life.ask_executor("heartbeat".to_owned(), Frames(Vec::new()));
    let Ok(Ok(answer)) = tokio::time::timeout(PATIENCE, asked).await else {
        return nothing;
    };
    let Ok(mut answer) = decode_message(&answer) else {
        return nothing;
    };
    let metrics = answer.take("metrics").and_then(Value::into_map);
    let extensions = answer.take("extensions");
    (metrics.unwrap_or_default(), extensions.unwrap_or(nothing.1))
}
