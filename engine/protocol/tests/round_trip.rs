//! What is written is read back the same, through the public interface.

use bytes::Bytes;
use proptest::prelude::*;
use protocol::messages::{FromWorker, decode_worker_batch};
use protocol::{
    DecodeError, FrameDecoder, Key, Limits, MessageWriter, Payload, Value, array, decode_message,
    encode_value, frames, map, snippet,
};

#[test]
fn message_survives_the_stream_in_any_pieces() {
    let payload = Payload::serialized_bytes(b"hello");
    let message = map! {
        "op" => "x", "n" => -5, "f" => 1.5, "data" => Value::Serialized(payload.clone()),
        "set" => Value::Set(vec![1.into(), "a".into()]), "list" => array![Value::Nil, true],
        "big" => Value::Serialized(Payload::serialized_pickle(Bytes::from(vec![7; 300_000]))),
        "again" => Value::Pickled(Payload::pickled(b"\x80\x04N.", vec![Bytes::from(vec![1; 10])])),
    };
    let mut writer = MessageWriter::new();
    writer.write_value(&message);
    let frames = writer.finish();
    let wire: Vec<u8> = frames::encode(&frames.0).concat();
    for step in [1, 7, 1000, 65_536, 1 << 20] {
        let mut decoder = FrameDecoder::new(Limits::default());
        let mut received = Vec::new();
        for piece in wire.repeat(2).chunks(step) {
            decoder.feed(piece);
            while let Some(frames) = decoder.next_message().unwrap() {
                received.push(frames);
            }
        }
        assert_eq!(
            received,
            [frames.clone(), frames.clone()],
            "in steps of {step}"
        );
        assert!(decoder.is_between_messages());
    }
    assert_eq!(decode_message(&frames).unwrap(), message);
}

#[test]
fn task_finished_is_read_with_op_anywhere() {
    let mut writer = MessageWriter::new();
    writer.write_array_len(1);
    writer.write_map_len(4);
    writer.write_raw(snippet!("key"));
    writer.write_key(&Key::str("x"));
    writer.write_raw(snippet!("run_id"));
    writer.write_i64(7);
    writer.write_raw(snippet!("nbytes"));
    writer.write_i64(28);
    writer.write_raw(snippet!("op"));
    writer.write_raw(snippet!("task-finished"));
    let batch = decode_worker_batch(&writer.finish()).unwrap();
    let [FromWorker::TaskFinished(finished)] = &batch[..] else {
        panic!("{batch:?}")
    };
    assert_eq!(
        (&finished.key, finished.run_id, finished.nbytes),
        (&Key::str("x"), 7, Some(28))
    );
}

#[test]
fn wrong_type_is_refused_with_op_and_field() {
    let message = array![map! {"op" => "task-finished", "key" => "x", "run_id" => "seven"}];
    let error = decode_worker_batch(&encode_value(&message))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("field run_id of task-finished: expected int, found str"),
        "{error}"
    );
    let message = array![map! {"op" => "task-finished", "run_id" => 7}];
    let error = decode_worker_batch(&encode_value(&message))
        .unwrap_err()
        .to_string();
    assert_eq!(error, "field key of task-finished is missing");
    let error = decode_worker_batch(&encode_value(&array![map! {"key" => 1}]))
        .unwrap_err()
        .to_string();
    assert_eq!(error, "field op of stream message is missing");
}

#[test]
fn text_ok_ends_a_batch_and_one_map_is_a_batch() {
    let keep_alive = || map! {"op" => "keep-alive"};
    let batch = array![keep_alive(), "OK", keep_alive()];
    assert_eq!(
        decode_worker_batch(&encode_value(&batch)).unwrap(),
        [FromWorker::KeepAlive]
    );
    assert_eq!(
        decode_worker_batch(&encode_value(&keep_alive())).unwrap(),
        [FromWorker::KeepAlive]
    );
}

#[test]
fn inline_payload_becomes_a_payload_of_its_own() {
    let header = map! {"serializer" => "pickle", "writeable" => array![]};
    let data = array![header, array![Bytes::from_static(b"\x80\x04N.")]];
    let message = decode_message(&encode_value(
        &map! {"__Serialized__" => true, "data" => data},
    ))
    .unwrap();
    let Value::Serialized(payload) = message else {
        panic!("{message:?}")
    };
    assert_eq!(payload.sub_header().unwrap().frame_count, 1);
    assert_eq!(
        payload.decompressed().unwrap(),
        [Bytes::from_static(b"\x80\x04N.")]
    );
}

#[test]
fn placeholder_beyond_the_frames_is_refused() {
    for placeholder in ["__Serialized__", "__Pickled__"] {
        for index in [1_i64, 7, i64::MAX] {
            let error = decode_message(&encode_value(&map! {placeholder => index})).unwrap_err();
            assert_eq!(
                error,
                DecodeError::FrameIndex {
                    index: index as u64,
                    count: 1
                }
            );
        }
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let payload = proptest::collection::vec(any::<u8>(), 0..50);
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        ((1_u64 << 63)..).prop_map(Value::UInt),
        any::<f64>()
            .prop_filter("NaN equals nothing", |value| !value.is_nan())
            .prop_map(Value::Float),
        ".{0,40}".prop_map(Value::from),
        payload.clone().prop_map(|bytes| Value::Bin(bytes.into())),
        payload
            .clone()
            .prop_map(|bytes| Value::Serialized(Payload::serialized_bytes(&bytes))),
        (payload.clone(), proptest::collection::vec(payload, 0..3)).prop_map(
            |(pickle, buffers)| {
                Value::Pickled(Payload::pickled(
                    &pickle,
                    buffers.into_iter().map(Bytes::from).collect(),
                ))
            }
        ),
    ];
    leaf.prop_recursive(5, 60, 20, |inner| {
        let items = proptest::collection::vec(inner.clone(), 0..20);
        prop_oneof![
            items.clone().prop_map(Value::Array),
            items.prop_map(Value::Set),
            proptest::collection::vec((inner.clone(), inner), 0..20).prop_map(Value::Map),
        ]
    })
}

proptest! {
    #[test]
    fn any_value_comes_back(value in any_value()) {
        prop_assert_eq!(decode_message(&encode_value(&value)).unwrap(), value);
    }

    #[test]
    fn detached_value_is_equal(value in any_value()) {
        prop_assert_eq!(value.detached(), value);
    }
}
