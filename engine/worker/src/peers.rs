//! Values from peers: `get_data`, acknowledged, and what came of it.

use crate::clock;
use crate::errors;
use crate::life::Life;
use crate::machine::Input;
use protocol::messages::Request;
use protocol::{Frames, Key, MessageWriter, Payload, Text, Value, snippet};
use transport::CallError;
use worker_core::{Event, Gather, GatherOutcome, Gathered, Source, TaskError};

/// Values smaller than this are copied out of the message they came in, which would stay as a whole otherwise.
const SMALL_BYTES: usize = 16 * 1024;

/// What a peer answered.
pub enum Answer {
    Values(Vec<(Key, Payload)>),
    Busy,
}

/// Why a peer's values were not to be had.
pub enum Failure {
    Unreachable,
    Malformed(Box<TaskError>),
}

/// Carries out one request of the core.
pub async fn gather(life: &Life, gather: Gather) {
    let start = clock::now();
    let answer = get_data(life, &gather.peer, &gather.keys).await;
    let stop = clock::now();
    let mut values = Vec::new();
    let outcome = match answer {
        Ok(Answer::Values(received)) => {
            values = received;
            let sized = |(key, payload): &(Key, Payload)| (key.clone(), payload.total_len() as u64);
            let sizes: Vec<(Key, u64)> = values.iter().map(sized).collect();
            let bytes = sizes.iter().map(|(_, bytes)| bytes).sum();
            let seconds = stop.seconds_since(start);
            let mut bandwidth = life.bandwidth.borrow_mut();
            bandwidth.measured(&gather.peer, bytes, seconds);
            GatherOutcome::Received(sizes)
        }
        Ok(Answer::Busy) => GatherOutcome::Busy,
        Err(Failure::Unreachable) => GatherOutcome::Unreachable,
        Err(Failure::Malformed(error)) => GatherOutcome::Malformed(*error),
    };
    let delay = life.scheduler_delay_seconds.get();
    life.handle.send(Input::Delivered {
        source: Source::Gather(gather.id),
        values,
        event: Event::Gathered(Box::new(Gathered {
            gather: gather.id,
            outcome,
            start_seconds: start.seconds() + delay,
            stop_seconds: stop.seconds() + delay,
        })),
    });
}

/// Asks a peer for values.
pub async fn get_data(life: &Life, peer: &str, keys: &[Key]) -> Result<Answer, Failure> {
    let reply = life
        .pool
        .call_then_ack(peer, &request(keys, &life.address))
        .await;
    match reply {
        Ok(reply) => read(peer, reply),
        Err(error) if error.is_connection_lost() => Err(Failure::Unreachable),
        Err(error) => Err(malformed(peer, &describe(&error))),
    }
}

fn describe(error: &CallError) -> String {
    transport::with_sources(error)
}

fn request(keys: &[Key], who: &str) -> Frames {
    let mut out = MessageWriter::with_capacity(128 + keys.len() * 64);
    out.write_map_len(4);
    out.write_raw(snippet!("op"));
    out.write_raw(snippet!("get_data"));
    out.write_raw(snippet!("keys"));
    out.write_array_len(keys.len());
    keys.iter().for_each(|key| out.write_key(key));
    out.write_raw(snippet!("who"));
    out.write_str(who);
    out.write_raw(snippet!("reply"));
    out.write_bool(true);
    out.finish()
}

fn read(peer: &str, mut reply: Value) -> Result<Answer, Failure> {
    match reply.get("status").and_then(Value::as_str) {
        Some("OK") => {}
        Some("busy") => return Ok(Answer::Busy),
        Some("uncaught-error") => {
            return Err(Failure::Malformed(Box::new(errors::of_reply(&mut reply))));
        }
        _ => return Err(malformed(peer, "an answer without a status")),
    }
    let data = reply.take("data").and_then(Value::into_map);
    let data = data.ok_or_else(|| malformed(peer, "an answer without values"))?;
    values_of(data)
        .map(Answer::Values)
        .ok_or_else(|| malformed(peer, "a value that is none"))
}

/// Keys and payloads of a `data` map; none if something in it is neither.
pub fn values_of(data: Vec<(Value, Value)>) -> Option<Vec<(Key, Payload)>> {
    let value = |(key, value): (Value, Value)| {
        let payload = value.as_payload()?;
        let payload = match payload.total_len() < SMALL_BYTES {
            true => payload.detached(),
            false => payload.clone(),
        };
        Some((key.as_key()?, payload))
    };
    data.into_iter().map(value).collect()
}

fn malformed(peer: &str, what: &str) -> Failure {
    let text = format!("peer {peer} sent {what} instead of values");
    Failure::Malformed(Box::new(errors::task_error("RuntimeError", &text)))
}

/// A request's keys.
pub fn keys_of(request: &Request) -> Result<Vec<Key>, String> {
    let keys = request.argument("keys").unwrap_or(&Value::Nil);
    keys.as_keys().map_err(|error| format!("keys: {error}"))
}

/// `{key: [address, …]}` of a request.
pub fn who_has(value: &Value) -> Option<Vec<(Key, Vec<Text>)>> {
    let entries = value.as_map()?.iter();
    let entry = |(key, holders): &(Value, Value)| {
        let holders = holders.as_array()?.iter();
        let holders: Option<Vec<Text>> = holders.map(|it| it.as_text().cloned()).collect();
        Some((key.as_key()?, holders?))
    };
    entries.map(entry).collect()
}
