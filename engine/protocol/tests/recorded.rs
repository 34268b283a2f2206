//! Real messages of stock peers (tests/recordings/record.py) mean what they meant, and are written again as they were.

#![expect(
    clippy::unwrap_used,
    reason = "a failed step is the failure of its test"
)]

use std::fs;
use std::path::Path;

use protocol::messages::{
    Action, Actors, FromClient, FromScheduler, FromWorker, Handshake, Priority, Request,
    decode_client_batch, decode_scheduler_batch, decode_worker_batch, encode_worker_batch,
};
use protocol::pickle::{self, Node, PickleValue, Tree};
use protocol::{
    FrameDecoder, Frames, Key, Limits, Payload, Value, array, decode_message, encode_value, map,
};

fn recordings() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    let mut found: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "bin"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_string_lossy().into_owned();
            (name, fs::read(path).unwrap())
        })
        .collect();
    found.sort();
    assert!(found.len() > 40, "only {} recordings", found.len());
    found
}

fn frames_in(stream: &[u8]) -> Frames {
    let mut decoder = FrameDecoder::new(Limits::default());
    decoder.feed(stream);
    let message = decoder.next_message().unwrap().unwrap();
    assert!(decoder.is_between_messages());
    message
}

fn recording(name: &str) -> Frames {
    let (_, stream) = recordings()
        .into_iter()
        .find(|(found, _)| found == name)
        .unwrap();
    frames_in(&stream)
}

fn from_client(name: &str) -> Vec<FromClient> {
    decode_client_batch(&recording(name)).unwrap()
}

fn from_scheduler(name: &str) -> Vec<FromScheduler> {
    decode_scheduler_batch(&recording(name)).unwrap()
}

fn from_worker(name: &str) -> Vec<FromWorker> {
    decode_worker_batch(&recording(name)).unwrap()
}

#[test]
fn every_message_is_written_again_frame_by_frame() {
    for (name, stream) in recordings() {
        let frames = frames_in(&stream);
        let value = decode_message(&frames).unwrap();
        assert_eq!(encode_value(&value), frames, "{name}");
    }
}

#[test]
fn every_message_cut_short_is_incomplete_and_never_a_panic() {
    for (name, stream) in recordings() {
        for len in 0..stream.len() {
            let mut decoder = FrameDecoder::new(Limits::default());
            decoder.feed(&stream[..len]);
            assert_eq!(decoder.next_message(), Ok(None), "{name} cut at {len}");
        }
        let frames = frames_in(&stream);
        for len in 0..frames.0[0].len() {
            let mut cut = frames.clone();
            cut.0[0].truncate(len);
            assert!(decode_message(&cut).is_err(), "{name} cut at {len}");
        }
    }
}

#[test]
fn handshake_is_understood() {
    let handshake = Handshake::read(&recording("handshake")).unwrap();
    assert_eq!(
        (handshake.compression, handshake.pickle_protocol),
        (None, 5)
    );
}

#[test]
fn finished_task_has_all_its_fields() {
    let batch = from_worker("task-finished");
    let FromWorker::TaskFinished(task) = &batch[0] else {
        panic!("{batch:?}")
    };
    assert_eq!(
        (&task.key, task.nbytes),
        (&Key::str("increment-1"), Some(28))
    );
    assert_eq!((task.run_id, task.typename.as_str()), (0, Some("int")));
    assert!(task.thread.as_i64().is_some() && task.metadata.is_nil());
    assert!(
        task.stimulus_id
            .as_str()
            .unwrap()
            .starts_with("task-finished-")
    );
    let tree = Tree::read(task.value_type.as_ref().unwrap()).unwrap();
    assert!(tree.is_global(tree.root(), "builtins", "int"));
    let [startstop] = &task.startstops[..] else {
        panic!("{task:?}")
    };
    assert_eq!(startstop.action, Action::Compute);
    assert!(startstop.start <= startstop.stop && startstop.source.is_none());
}

#[test]
fn failed_task_carries_a_pickle_within_bytes() {
    let batch = from_worker("task-erred");
    let FromWorker::TaskErred(task) = &batch[0] else {
        panic!("{batch:?}")
    };
    assert_eq!(task.key, Key::str("fail-7"));
    assert_eq!(task.exception_text, "ValueError('no 7')");
    assert!(task.traceback_text.as_str().unwrap().contains("in fail"));
    let payload = task.exception.as_payload().unwrap();
    assert_eq!(payload.sub_header().unwrap().serializer.unwrap(), "dask");
    let inner = Tree::read(&payload.decompressed().unwrap()[0]).unwrap();
    let (callable, _) = inner.as_call(inner.root()).unwrap();
    assert_eq!(
        inner.as_global(callable).unwrap().1,
        b"unpickle_exception_with_attrs"
    );
}

#[test]
fn messages_of_workers_have_their_types() {
    let keyed = |name: &str| from_worker(name).remove(0);
    assert!(matches!(keyed("long-running"), FromWorker::LongRunning(it)
        if it.key == Key::str("slow-1") && it.compute_duration.is_some() && it.run_id.is_some()));
    assert!(matches!(
        keyed("release-worker-data"),
        FromWorker::ReleaseWorkerData(_)
    ));
    assert!(matches!(keyed("add-keys"), FromWorker::AddKeys(it) if !it.keys.is_empty()));
    assert!(
        matches!(keyed("worker-status-change"), FromWorker::WorkerStatusChange(it) if it.status == "running")
    );
    assert!(matches!(keyed("log-event"), FromWorker::LogEvent(it) if it.topic.is_str("topic")));
    assert_eq!(keyed("close-stream"), FromWorker::CloseStream);
}

#[test]
fn graph_has_all_its_fields() {
    let batch = from_client("update-graph");
    let FromClient::UpdateGraph(graph) = &batch[0] else {
        panic!("{batch:?}")
    };
    assert_eq!(graph.keys, [Key::str("increment-1")]);
    assert_eq!(
        graph.internal_priority,
        Some(vec![(Key::str("increment-1"), 0)])
    );
    assert_eq!(
        (&graph.submitting_task, &graph.actors),
        (&None, &Actors::None)
    );
    assert!(graph.fifo_timeout.is_str("100 ms"));
    let plain = |value: &Value| {
        let (pickle, buffers) = value.as_payload().unwrap().pickle().unwrap();
        pickle::parse(&pickle, &buffers).unwrap()
    };
    let annotations = plain(&graph.annotations);
    assert_eq!(annotations.get("priority"), Some(&PickleValue::Int(3)));
    assert_eq!(annotations.get("retries"), Some(&PickleValue::Int(1)));
    assert_eq!(plain(&graph.code), PickleValue::Tuple(vec![]));
    let expected = map! {"collections" => array![map! {"type" => "Future"}]};
    assert_eq!(plain(&graph.span_metadata).into_value(), expected);
}

#[test]
fn task_inside_a_submitted_graph_is_found_and_taken_out() {
    let batch = from_client("update-graph");
    let FromClient::UpdateGraph(graph) = &batch[0] else {
        panic!("{batch:?}")
    };
    let pickle = &graph.expr.decompressed().unwrap()[0];
    let tree = Tree::read(pickle).unwrap();
    let (reconstruct, arguments) = tree.as_call(tree.root()).unwrap();
    assert!(tree.is_global(reconstruct, "dask._expr", "Expr._reconstruct"));
    assert!(tree.is_global(arguments[0], "dask._expr", "LLGExpr"));
    let operands = tree
        .as_tuple(arguments[1])
        .map_or(arguments[1], |operands| operands[0]);
    let Node::Dict(tasks) = tree.node(operands) else {
        panic!("{:?}", tree.node(operands))
    };
    let [(key, task)] = tasks[..] else {
        panic!("{tasks:?}")
    };
    assert_eq!(tree.as_str(key).unwrap(), &"increment-1");
    let own = tree.emit(task).unwrap();
    let again = Tree::read(&own.pickle.into()).unwrap();
    assert_eq!(again.emit(again.root()).unwrap(), tree.emit(task).unwrap());
}

#[test]
fn messages_of_clients_have_their_types() {
    let keyed = |name: &str| from_client(name).remove(0);
    assert!(
        matches!(keyed("client-releases-keys"), FromClient::ClientReleasesKeys(it)
        if it.keys.len() == 1 && it.client.is_some())
    );
    assert!(
        matches!(keyed("subscribe-topic"), FromClient::SubscribeTopic(it) if it.client.is_some())
    );
    assert!(
        matches!(keyed("publish_flush_batched_send"), FromClient::Other { op, message }
        if op == "publish_flush_batched_send" && message.get("uid").is_some())
    );
    for message in from_client("mixed-batch") {
        assert!(!matches!(message, FromClient::Other { .. }) || !format!("{message:?}").is_empty());
    }
}

#[test]
fn compute_task_is_what_the_notes_say() {
    let message = decode_message(&recording("compute-task")).unwrap();
    let task = &message.as_array().unwrap()[0];
    assert!(task.get("op").unwrap().is_str("compute-task"));
    assert_eq!(task.get("priority").unwrap().as_array().unwrap().len(), 3);
    let Some(Value::Pickled(spec)) = task.get("run_spec") else {
        panic!("{task:?}")
    };
    let (pickle, buffers) = spec.pickle().unwrap();
    assert!(buffers.is_empty() && Tree::read(&pickle).is_ok());
    assert_eq!(
        Payload::pickled(&pickle, buffers).pickle().unwrap().0,
        pickle
    );
}

#[test]
fn calls_have_an_envelope_and_arguments() {
    for (name, stream) in recordings() {
        let Some(op) = name.strip_prefix("call-") else {
            continue;
        };
        let message = decode_message(&frames_in(&stream)).unwrap();
        let request = Request::from_value(message).unwrap();
        assert_eq!(request.op, op);
        assert!(request.argument("op").is_none() && request.argument("reply").is_none());
        assert_eq!(
            request.reply,
            !["register-worker", "register-client"].contains(&op),
            "{op}"
        );
    }
}

#[test]
fn a_worker_reads_orders_of_a_stock_scheduler() {
    let [FromScheduler::ComputeTask(order)] = &from_scheduler("compute-task")[..] else {
        panic!("not an order");
    };
    assert_eq!((&order.key, order.run_id), (&Key::str("increment-1"), 0));
    assert_eq!(order.priority, Priority([-3.0, 1.0, 0.0]));
    assert!(order.dependencies.is_empty() && order.resource_restrictions.is_empty());
    assert!(!order.actor && order.span_id.is_some());
    assert_eq!(order.annotations, map! {"priority" => 3, "retries" => 1});
    let (pickle, _) = order.run_spec.as_ref().unwrap().pickle().unwrap();
    assert!(Tree::read(&pickle).is_ok());

    let [FromScheduler::FreeKeys(order)] = &from_scheduler("free-keys")[..] else {
        panic!("not an order");
    };
    assert_eq!(order.keys, [Key::str("slow-1")]);
    let [FromScheduler::AcquireReplicas(order)] = &from_scheduler("acquire-replicas")[..] else {
        panic!("not an order");
    };
    let [replica] = &order.replicas[..] else {
        panic!("{order:?}")
    };
    assert_eq!(
        (&replica.key, replica.nbytes),
        (&Key::str("scattered"), Some(300))
    );
    assert!(
        replica.holders[0]
            .as_str()
            .unwrap()
            .starts_with("tcp://127.0.0.1:")
    );
    assert!(matches!(
        &from_scheduler("remove-worker")[..],
        [FromScheduler::RemoveWorker(_)]
    ));
    assert!(matches!(
        &from_scheduler("close")[..],
        [FromScheduler::Close { .. }]
    ));
}

#[test]
fn what_a_worker_says_is_written_as_stock_workers_write_it() {
    for name in [
        "task-finished",
        "task-erred",
        "long-running",
        "add-keys",
        "release-worker-data",
        "worker-status-change",
        "log-event",
    ] {
        let recorded = recording(name);
        let messages = decode_worker_batch(&recorded).unwrap();
        let own = [FromWorker::KeepAlive, FromWorker::CloseStream];
        assert_eq!(encode_worker_batch(&messages), recorded, "{name}");
        let written = encode_worker_batch(&own);
        assert_eq!(decode_worker_batch(&written).unwrap(), own);
    }
}

/// `who_has` and `nbytes` need not agree, nor need a size be known, nor a priority have three parts.
#[test]
fn orders_with_gaps_are_read() {
    let replica = |key: &str, nbytes: i64| (Value::from(key), Value::Int(nbytes));
    let order = map! {
        "op" => "compute-task",
        "key" => "x",
        "run_id" => 7,
        "priority" => array![1],
        "who_has" => map! {"a" => array!["tcp://10.0.0.1:1"], "b" => array![]},
        "nbytes" => Value::Map(vec![replica("b", -1), replica("a", 5), replica("c", 6)]),
        "resource_restrictions" => map! {"Z" => 1, "A" => 0.5},
        "annotations" => Value::Map(Vec::new()),
    };
    let batch = Value::Array(vec![order]);
    let read = decode_scheduler_batch(&encode_value(&batch)).unwrap();
    let [FromScheduler::ComputeTask(order)] = &read[..] else {
        panic!("{read:?}")
    };
    let sizes: Vec<_> = order.dependencies.iter().map(|own| own.nbytes).collect();
    assert_eq!(sizes, [Some(5), None, Some(6)]);
    let below = f64::NEG_INFINITY;
    assert_eq!(order.priority, Priority([1.0, below, below]));
    let amounts: Vec<_> = order
        .resource_restrictions
        .iter()
        .map(|own| own.1)
        .collect();
    assert_eq!(amounts, [0.5, 1.0]);
    assert!(order.annotations.is_nil() && order.run_spec.is_none());
}
