//! Bytes of strangers: no panic, no memory beyond a multiple of what was sent. Bounded, so that it runs with the tests;
//! `PROPTEST_CASES=1000000 cargo test --release -p protocol --test fuzz` digs deeper.

#![expect(
    clippy::unwrap_used,
    reason = "a failed step is the failure of its test"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use protocol::messages::{
    Handshake, Request, decode_client_batch, decode_scheduler_batch, decode_worker_batch,
};
use protocol::pickle::{self, Make, Mutation, Node, PartWriter, Tree};
use protocol::{FrameDecoder, Frames, Key, Limits, Payload, decode_message};

/// Counts what each thread has allocated.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(change: isize) {
    let _gone_at_thread_exit = HELD.try_with(|held| {
        held.set(held.get() + change);
        let _same = PEAK.try_with(|peak| peak.set(peak.get().max(held.get())));
    });
}

// SAFETY: every call is passed on to the system allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: as for this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: as for this function.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs something and fails if it held more than `fixed` bytes and `per_byte` for every byte of input at any time.
fn within(fixed: usize, per_byte: usize, input_bytes: usize, work: impl FnOnce()) {
    let before = HELD.get();
    PEAK.set(before);
    work();
    let used = (PEAK.get() - before) as usize;
    let allowed = fixed + per_byte * input_bytes;
    assert!(
        used <= allowed,
        "{used} bytes held for {input_bytes} bytes of input, {allowed} allowed"
    );
}

fn recordings() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|it| it == "bin"))
        .map(|path| fs::read(path).unwrap())
        .collect()
}

fn frame_lists() -> Vec<Vec<Vec<u8>>> {
    let cut = |stream: Vec<u8>| {
        let mut decoder = FrameDecoder::new(Limits::default());
        decoder.feed(&stream);
        decoder
            .next_message()
            .unwrap()
            .unwrap()
            .0
            .iter()
            .map(|frame| frame.to_vec())
            .collect()
    };
    recordings().into_iter().map(cut).collect()
}

/// Every pickle inside the recordings.
fn pickles() -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for frames in frame_lists() {
        for frame in frames {
            for start in frame
                .windows(2)
                .enumerate()
                .filter(|(_, it)| **it == [0x80, 4] || **it == [0x80, 5])
            {
                found.push(frame[start.0..].to_vec());
            }
        }
    }
    assert!(found.len() > 10, "only {} pickles", found.len());
    found
}

/// One change of some bytes.
#[derive(Clone, Debug)]
enum Damage {
    Replace(Index, u8),
    Insert(Index, u8),
    Remove(Index, usize),
    Copy(Index, Index, usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    // Bytes that mean much: markers of lengths, opcodes, ends of ranges.
    let byte = prop_oneof![any::<u8>(), Just(0xff), Just(0x00), 0x80_u8..0xe0];
    prop_oneof![
        4 => (any::<Index>(), byte.clone()).prop_map(|(at, byte)| Damage::Replace(at, byte)),
        2 => (any::<Index>(), byte).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        1 => (any::<Index>(), 1..9_usize).prop_map(|(at, len)| Damage::Remove(at, len)),
        1 => (any::<Index>(), any::<Index>(), 1..64_usize).prop_map(|(from, to, len)| Damage::Copy(from, to, len)),
    ]
}

fn damaged(mut bytes: Vec<u8>, damages: &[Damage]) -> Vec<u8> {
    for damage in damages {
        if bytes.is_empty() {
            return bytes;
        }
        let len = bytes.len();
        match damage {
            Damage::Replace(at, byte) => bytes[at.index(len)] = *byte,
            Damage::Insert(at, byte) => bytes.insert(at.index(len), *byte),
            Damage::Remove(at, count) => {
                let at = at.index(len);
                bytes.drain(at..len.min(at + count));
            }
            Damage::Copy(from, to, count) => {
                let from = from.index(len);
                let piece = bytes[from..len.min(from + count)].to_vec();
                let to = to.index(len);
                bytes.splice(to..to, piece);
            }
        }
    }
    bytes
}

/// Random bytes, or real ones with a few changes.
fn hostile(real: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let changed = (proptest::sample::select(real), vec(damage(), 1..6))
        .prop_map(|(bytes, damages)| damaged(bytes, &damages));
    prop_oneof![1 => vec(any::<u8>(), 0..300), 4 => changed]
}

/// Writes the first few objects that are made empty and given a state, each in both ways.
fn write_objects(tree: Tree, check: impl Fn(Vec<u8>, Vec<u8>)) {
    let object = |tree: &Tree, id| match tree.node(id) {
        Node::Object {
            make: Make::New { class, arguments },
            mutations,
        } if tree.as_tuple(*arguments).is_some_and(<[_]>::is_empty)
            && tree.as_global(*class).is_some() =>
        {
            match mutations[..] {
                [Mutation::SetState(state)] => Some((id, *class, state)),
                _ => None,
            }
        }
        _ => None,
    };
    let found = tree.ids().filter_map(|id| object(&tree, id));
    let found = found.take(4).collect::<Vec<_>>();
    let mut writer = PartWriter::new(tree);
    for (id, class, state) in found {
        let (mut whole, mut buffers) = (Vec::new(), Vec::new());
        let is_written = writer.whole(id, &mut whole, &mut buffers).is_ok();
        let shared = [writer.globals_of(state, class), vec![class]].concat();
        let Ok(prefix) = writer.prefix(class, &shared) else {
            continue;
        };
        let mut in_two = prefix.pickle.clone();
        let rest = writer.rest(&prefix, Some(id), state, &mut in_two, &mut buffers);
        if rest.is_ok() {
            assert!(
                is_written,
                "a whole object can always be written where its state can"
            );
            check(in_two, whole);
        }
    }
}

fn cases(count: u32) -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES")
        .ok()
        .and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: asked.unwrap_or(count),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(cases(20_000))]

    #[test]
    fn no_stream_of_bytes_harms_the_frame_decoder(stream in hostile(recordings()), step in 1..2000_usize) {
        within(300_000, 40, stream.len(), || {
            let mut decoder = FrameDecoder::new(Limits::default());
            for piece in stream.chunks(step) {
                decoder.feed(piece);
                while let Ok(Some(message)) = decoder.next_message() {
                    drop(message);
                }
            }
        });
    }

    #[test]
    fn no_frames_harm_the_message_decoders(
        frames in proptest::sample::select(frame_lists()),
        at in any::<Index>(),
        damages in vec(damage(), 0..6),
        random in proptest::option::weighted(0.1, vec(any::<u8>(), 0..300)),
    ) {
        let mut frames = frames;
        let at = at.index(frames.len());
        frames[at] = random.unwrap_or_else(|| damaged(frames[at].clone(), &damages));
        let frames = Frames(frames.into_iter().map(Bytes::from).collect());
        // What a level of nesting reserves, times the levels.
        within(5_000_000, 300, frames.total_len(), || {
            let _typed = (decode_worker_batch(&frames), decode_client_batch(&frames), decode_scheduler_batch(&frames), Handshake::read(&frames));
            if let Ok(value) = decode_message(&frames) {
                let _keys = (Key::try_from(&value), value.as_keys());
                if let Some(payload) = value.as_payload() {
                    let _content = (payload.decompressed().is_ok(), payload.pickle().is_ok());
                }
                let _request = Request::from_value(value);
            }
            let _key = Key::from_msgpack(&frames.0[0]);
        });
    }

    #[test]
    fn no_pickle_harms_its_readers(pickle in hostile(pickles())) {
        let pickle = Bytes::from(pickle);
        within(400_000, 3000, pickle.len(), || {
            let _plain = pickle::parse(&pickle, &[]);
            let _short = Tree::read_within(&pickle, 100);
            if let Ok(tree) = Tree::read(&pickle) {
                let _again = tree.emit(tree.root());
                write_objects(tree, |_, _| ());
            }
        });
    }

    #[test]
    fn an_object_written_behind_a_prefix_is_the_same_object(pickle in hostile(pickles())) {
        if let Ok(tree) = Tree::read(&Bytes::from(pickle)) {
            write_objects(tree, |in_two, whole| {
                let again = Tree::read(&Bytes::from(in_two)).unwrap();
                assert_eq!(again.emit(again.root()).unwrap().pickle, whole);
            });
        }
    }

    #[test]
    fn what_a_tree_emits_is_read_as_the_same_tree(pickle in hostile(pickles())) {
        if let Ok(tree) = Tree::read(&Bytes::from(pickle)) && let Ok(once) = tree.emit(tree.root()) {
            let again = Tree::read(&Bytes::from(once.pickle.clone())).unwrap();
            prop_assert_eq!(again.emit(again.root()).unwrap().pickle, once.pickle);
        }
    }

    #[test]
    fn no_compressed_frame_harms_its_reader(
        name in proptest::sample::select(vec!["lz4", "zstd", "snappy"]),
        frame in vec(any::<u8>(), 0..200),
    ) {
        let frame = Bytes::from(frame);
        let compression = protocol::Compression::named(name.into());
        within(200_000, 300, frame.len(), || drop(compression.decompress(&frame)));
    }
}

#[test]
fn payload_referred_to_again_and_again_is_refused() {
    let payload = Payload::pickled(b"\x80\x04N.", vec![Bytes::from_static(b"x"); 1000]);
    let mut frames = protocol::encode_value(&protocol::Value::Pickled(payload));
    let one = frames.0[0].clone();
    let mut many = vec![0xdd];
    many.extend_from_slice(&10_000_u32.to_be_bytes());
    many.extend_from_slice(&one.repeat(10_000));
    frames.0[0] = many.into();
    within(2_000_000, 10, frames.total_len(), || {
        let error = decode_message(&frames).unwrap_err();
        assert_eq!(error, protocol::DecodeError::FramesReused);
    });
}

#[test]
fn bomb_of_nested_arrays_is_refused() {
    for marker in [0x91, 0xdd] {
        let bomb = Bytes::from(vec![marker; 1 << 20]);
        within(5_000_000, 10, bomb.len(), || {
            assert!(decode_message(&Frames(vec![bomb.clone()])).is_err());
            assert!(Key::from_msgpack(&bomb).is_err());
        });
    }
}
