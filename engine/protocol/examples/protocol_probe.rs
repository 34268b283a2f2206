//! Answers questions about bytes on stdin, so that Python can compare us with `distributed.protocol`.
//!
//! A question is one byte of kind, a little-endian u64 length and that many bytes; an answer is one byte (0 fine,
//! 1 refused), a length and the bytes. Driven by tests/compat/protocol.

use std::io::{self, BufReader, BufWriter, Read, Write};

use bytes::Bytes;
use protocol::messages::{
    FromClient, FromWorker, UpdateGraph, decode_client_batch, decode_worker_batch,
};
use protocol::pickle::exceptions::{self, LostWorker};
use protocol::pickle::{self, PickleValue, PickleWriter, Tree};
use protocol::{
    Address, FrameDecoder, Frames, Key, Limits, Payload, Text, Value, array, decode_message,
    encode_value, frames, map,
};

type Answer = Result<Vec<u8>, Box<dyn std::error::Error>>;

fn main() -> io::Result<()> {
    let mut input = BufReader::new(io::stdin().lock());
    let mut output = BufWriter::new(io::stdout().lock());
    let mut head = [0; 9];
    while input.read_exact(&mut head).is_ok() {
        let length = u64::from_le_bytes(*head.last_chunk().expect("nine bytes end with eight"));
        let mut question = Vec::new();
        input.by_ref().take(length).read_to_end(&mut question)?;
        let (status, answer) = match answer(head[0], question.into()) {
            Ok(answer) => (0, answer),
            Err(error) => (1, error.to_string().into_bytes()),
        };
        output.write_all(&[status])?;
        output.write_all(&(answer.len() as u64).to_le_bytes())?;
        output.write_all(&answer)?;
        output.flush()?;
    }
    Ok(())
}

fn answer(kind: u8, question: Bytes) -> Answer {
    match kind {
        b'm' => message_again(&question),
        b'w' => worker_batch(&question),
        b'c' => client_batch(&question),
        b'k' => key(&question),
        b'p' => plain_pickle_again(&question),
        b't' => pickle_tree_again(&question),
        b'x' => decompressed(&question),
        b'e' => exception_pickles(),
        b'a' => address(&question),
        _ => Err("unknown kind of question".into()),
    }
}

/// Decodes the one message in a byte stream that arrives in pieces of various sizes.
fn receive(stream: &[u8]) -> Result<Frames, Box<dyn std::error::Error>> {
    let mut decoder = FrameDecoder::new(Limits::default());
    let mut rest = stream;
    let mut step = 1;
    loop {
        if let Some(message) = decoder.next_message()? {
            return if rest.is_empty() && decoder.is_between_messages() {
                Ok(message)
            } else {
                Err("bytes left over".into())
            };
        }
        if rest.is_empty() {
            return Err("message is not complete".into());
        }
        let (piece, later) = rest.split_at(step.min(rest.len()));
        decoder.feed(piece);
        rest = later;
        step = step * 3 + 1;
    }
}

fn send(value: &Value) -> Vec<u8> {
    frames::encode(&encode_value(value).0).concat()
}

fn message_again(stream: &[u8]) -> Answer {
    Ok(send(&decode_message(&receive(stream)?)?))
}

fn worker_batch(stream: &[u8]) -> Answer {
    let batch = decode_worker_batch(&receive(stream)?)?;
    Ok(send(&batch.into_iter().map(from_worker).collect()))
}

fn from_worker(message: FromWorker) -> Value {
    let keys = |keys: &[Key]| keys.iter().map(Value::from).collect::<Value>();
    match message {
        FromWorker::TaskFinished(it) => map! {
            "op" => "task-finished", "key" => &it.key, "run_id" => it.run_id, "nbytes" => it.nbytes,
            "type" => it.value_type, "typename" => it.typename, "metadata" => it.metadata, "thread" => it.thread,
            "startstops" => it.startstops.iter().map(startstop).collect::<Value>(), "stimulus_id" => it.stimulus_id,
        },
        FromWorker::TaskErred(it) => map! {
            "op" => "task-erred", "key" => &it.key, "run_id" => it.run_id, "exception" => it.exception,
            "traceback" => it.traceback, "exception_text" => it.exception_text,
            "traceback_text" => it.traceback_text, "thread" => it.thread,
            "startstops" => it.startstops.iter().map(startstop).collect::<Value>(), "stimulus_id" => it.stimulus_id,
        },
        FromWorker::ReleaseWorkerData(it) => {
            map! {"op" => "release-worker-data", "key" => &it.key, "stimulus_id" => it.stimulus_id}
        }
        FromWorker::Reschedule(it) => {
            map! {"op" => "reschedule", "key" => &it.key, "stimulus_id" => it.stimulus_id}
        }
        FromWorker::AddKeys(it) => {
            map! {"op" => "add-keys", "keys" => keys(&it.keys), "stimulus_id" => it.stimulus_id}
        }
        FromWorker::RequestRefreshWhoHas(it) => {
            map! {"op" => "request-refresh-who-has", "keys" => keys(&it.keys), "stimulus_id" => it.stimulus_id}
        }
        FromWorker::LongRunning(it) => map! {
            "op" => "long-running", "key" => &it.key, "run_id" => it.run_id,
            "compute_duration" => it.compute_duration, "stimulus_id" => it.stimulus_id,
        },
        FromWorker::StealResponse(it) => map! {
            "op" => "steal-response", "key" => &it.key, "state" => it.state, "stimulus_id" => it.stimulus_id,
        },
        FromWorker::WorkerStatusChange(it) => map! {
            "op" => "worker-status-change", "status" => it.status, "stimulus_id" => it.stimulus_id,
        },
        FromWorker::LogEvent(it) => {
            map! {"op" => "log-event", "topic" => it.topic, "msg" => it.msg}
        }
        FromWorker::KeepAlive => map! {"op" => "keep-alive"},
        FromWorker::CloseStream => map! {"op" => "close-stream"},
        FromWorker::Other { op, message } => array!["other", op, message],
    }
}

fn startstop(it: &protocol::messages::StartStop) -> Value {
    map! {
        "action" => it.action.as_text(), "start" => it.start, "stop" => it.stop, "source" => it.source.clone(),
    }
}

fn client_batch(stream: &[u8]) -> Answer {
    let batch = decode_client_batch(&receive(stream)?)?;
    Ok(send(&batch.into_iter().map(from_client).collect()))
}

fn from_client(message: FromClient) -> Value {
    let keys = |keys: &[Key]| keys.iter().map(Value::from).collect::<Value>();
    match message {
        FromClient::UpdateGraph(it) => update_graph(*it),
        FromClient::ClientDesiresKeys(it) => {
            map! {"op" => "client-desires-keys", "keys" => keys(&it.keys), "client" => it.client}
        }
        FromClient::ClientReleasesKeys(it) => {
            map! {"op" => "client-releases-keys", "keys" => keys(&it.keys), "client" => it.client}
        }
        FromClient::CancelKeys(it) => map! {
            "op" => "cancel-keys", "keys" => keys(&it.keys), "force" => it.force, "reason" => it.reason,
            "msg" => it.msg,
        },
        FromClient::UpdateData(it) => map! {
            "op" => "update-data",
            "who_has" => it.who_has.iter().map(|(key, workers)| {
                (key.to_value(), workers.iter().cloned().map(Value::from).collect())
            }).collect::<Value>(),
            "nbytes" => it.nbytes.iter().map(|(key, bytes)| (key.to_value(), Value::from(*bytes))).collect::<Value>(),
            "client" => it.client,
        },
        FromClient::ReportKey(it) => {
            map! {"op" => "report-key", "key" => &it.key, "client" => it.client}
        }
        FromClient::SubscribeTopic(it) => {
            map! {"op" => "subscribe-topic", "topic" => it.topic, "client" => it.client}
        }
        FromClient::UnsubscribeTopic(it) => {
            map! {"op" => "unsubscribe-topic", "topic" => it.topic, "client" => it.client}
        }
        FromClient::HeartbeatClient => map! {"op" => "heartbeat-client"},
        FromClient::CloseClient => map! {"op" => "close-client"},
        FromClient::CloseStream => map! {"op" => "close-stream"},
        FromClient::Other { op, message } => array!["other", op, message],
    }
}

fn update_graph(it: UpdateGraph) -> Value {
    let priority = it.internal_priority.map(|entries| {
        entries
            .iter()
            .map(|(key, priority)| (key.to_value(), Value::from(*priority)))
            .collect::<Value>()
    });
    map! {
        "op" => "update-graph", "expr_ser" => Value::Serialized(it.expr),
        "keys" => it.keys.iter().map(Value::from).collect::<Value>(), "internal_priority" => priority,
        "submitting_task" => it.submitting_task, "fifo_timeout" => it.fifo_timeout,
        "actors" => format!("{:?}", it.actors), "code" => it.code, "annotations" => it.annotations,
        "span_metadata" => it.span_metadata,
    }
}

/// Canonical encoding, `str(key)` and `repr(key)`.
fn key(encoded: &[u8]) -> Answer {
    let key = Key::from_msgpack(encoded)?;
    assert_eq!(Key::try_from(&key.to_value())?, key);
    Ok(send(&array![
        Bytes::copy_from_slice(key.as_msgpack()),
        key.to_string(),
        format!("{key:?}"),
        &key,
    ]))
}

fn plain_pickle_again(question: &Bytes) -> Answer {
    let value = pickle::parse(question, &[])?;
    let mut writer = PickleWriter::new();
    writer.value(&value);
    Ok(writer.finish().to_vec())
}

/// The order of buffers, then the pickle.
fn pickle_tree_again(question: &Bytes) -> Answer {
    let tree = Tree::read(question)?;
    let emitted = tree.emit(tree.root())?;
    let buffers: Value = emitted.buffers.into_iter().map(Value::from).collect();
    Ok(send(&array![buffers, Bytes::from(emitted.pickle)]))
}

fn decompressed(stream: &[u8]) -> Answer {
    let message = decode_message(&receive(stream)?)?;
    let payload: &Payload = message.as_payload().ok_or("no payload")?;
    Ok(send(
        &payload
            .decompressed()?
            .into_iter()
            .map(Value::from)
            .collect(),
    ))
}

/// One exception of every kind a scheduler raises, as `exception` fields.
fn exception_pickles() -> Answer {
    let worker = LostWorker {
        address: Text::from_static("tcp://10.0.0.1:40331"),
        name: PickleValue::Int(3),
        status: "running",
        pid: 77,
        nthreads: 2,
        memory_limit: 1 << 40,
        local_directory: Text::from_static("/tmp/x"),
        nanny: None,
        server_id: Text::from_static("Worker-1"),
    };
    let key = Key::tuple(&[Key::str("x-é"), Key::int(-1), Key::int(1 << 40)]);
    let host = [Text::from_static("h1")];
    let resources = [(Text::from_static("GPU"), 1.5)];
    let pickles = [
        exceptions::killed_worker(&key, &worker, 3),
        exceptions::no_valid_worker(&key, &host, &[], &resources, 5.0),
        exceptions::no_worker(&key, 0.25),
        exceptions::key_error(PickleValue::from("missing")),
        exceptions::builtin("RuntimeError", "Worker holding Actor was lost"),
        exceptions::builtin("TimeoutError", &"long ".repeat(100)),
    ];
    Ok(send(
        &pickles
            .iter()
            .map(|it| Value::Serialized(exceptions::as_field(it)))
            .collect(),
    ))
}

fn address(text: &[u8]) -> Answer {
    let address = Address::parse_with(std::str::from_utf8(text)?, Some(0))?;
    Ok(send(&array![
        address.to_string(),
        address.host.as_str(),
        u32::from(address.port)
    ]))
}
