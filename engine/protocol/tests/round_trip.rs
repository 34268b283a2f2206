//! What is written is read back the same, through the public interface.

use bytes::Bytes;
use protocol::messages::{FromWorker, decode_worker_batch};
use protocol::{
    FrameDecoder, Key, Limits, MessageWriter, Payload, Value, array, decode_message, frames, map,
    snippet,
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
fn keys_equal_in_python_are_equal() {
    let one = Key::int(1);
    for same in [Value::Bool(true), Value::Float(1.0), Value::Int(1)] {
        assert_eq!(Key::try_from(&same).unwrap(), one);
        assert_eq!(Key::try_from(&same).unwrap().hash64(), one.hash64());
    }
    let tuple = Key::try_from(&array!["x", array![1.0, "y"]]).unwrap();
    assert_eq!(
        tuple,
        Key::tuple(&[Key::str("x"), Key::tuple(&[Key::int(1), Key::str("y")])])
    );
    assert_eq!(tuple.to_string(), "('x', (1, 'y'))");
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
