//! The frame layer: any first read, any pieces, any lengths; and what it refuses.

#![expect(
    clippy::unwrap_used,
    reason = "a failed step is the failure of its test"
)]

use bytes::Bytes;
use proptest::prelude::*;
use protocol::frames::{ALIGNMENT, BIG_FRAME_BYTES, encode};
use protocol::{FrameDecoder, FrameError, FrameMemory, FrameRegion, Frames, Limits};
use std::ops::Range;
use std::sync::{Arc, Mutex};

/// A message whose first read covers `joined` frames.
fn stream(frames: &[Vec<u8>], joined: usize) -> Vec<u8> {
    let first_read = 8 * (1 + frames.len()) + frames[..joined].iter().map(Vec::len).sum::<usize>();
    let lengths = frames.iter().map(Vec::len);
    let words = [first_read, frames.len()].into_iter().chain(lengths);
    let mut stream: Vec<u8> = words.flat_map(|word| (word as u64).to_le_bytes()).collect();
    stream.extend(frames.iter().flatten());
    stream
}

fn decode_in_steps(stream: &[u8], step: usize) -> Result<Vec<Frames>, FrameError> {
    decode_with(FrameDecoder::new(Limits::default()), stream, step)
}

fn decode_with(
    mut decoder: FrameDecoder,
    stream: &[u8],
    step: usize,
) -> Result<Vec<Frames>, FrameError> {
    let mut messages = Vec::new();
    for piece in stream.chunks(step) {
        decoder.feed(piece);
        while let Some(message) = decoder.next_message()? {
            messages.push(message);
        }
    }
    assert!(decoder.is_between_messages());
    Ok(messages)
}

/// Gives memory up to a size and writes down what was asked for.
#[derive(Debug, Default)]
struct Memory {
    at_most: usize,
    asked: Mutex<Vec<usize>>,
}

#[derive(Debug)]
struct Region(Vec<u8>);

impl FrameMemory for Memory {
    fn allocate(&self, bytes: usize) -> Option<Box<dyn FrameRegion>> {
        self.asked.lock().unwrap().push(bytes);
        (bytes <= self.at_most).then(|| Box::new(Region(vec![0; bytes])) as Box<dyn FrameRegion>)
    }
}

impl FrameRegion for Region {
    fn part(&mut self, part: Range<usize>) -> &mut [u8] {
        &mut self.0[part]
    }

    fn freeze(self: Box<Self>) -> Bytes {
        self.0.into()
    }
}

fn with_memory(at_most: usize) -> (Arc<Memory>, FrameDecoder) {
    let memory = Arc::new(Memory {
        at_most,
        ..Memory::default()
    });
    let mut decoder = FrameDecoder::new(Limits::default());
    decoder.set_memory(Some(Arc::clone(&memory) as Arc<dyn FrameMemory>));
    (memory, decoder)
}

fn words(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn refusal(limits: Limits, stream: &[u8]) -> FrameError {
    let mut decoder = FrameDecoder::new(limits);
    decoder.feed(stream);
    decoder.next_message().unwrap_err()
}

#[test]
fn first_read_may_end_behind_any_frame() {
    let frames = [
        vec![1; 10],
        vec![],
        vec![],
        vec![2; 100_000],
        vec![],
        vec![3; 5],
        vec![],
    ];
    let expected = Frames(frames.iter().cloned().map(Bytes::from).collect());
    for joined in 0..=frames.len() {
        for step in [1, 13, 4096, 1 << 20] {
            let messages = decode_in_steps(&stream(&frames, joined).repeat(2), step).unwrap();
            assert_eq!(
                messages,
                [expected.clone(), expected.clone()],
                "{joined} joined, steps of {step}"
            );
        }
    }
}

#[test]
fn first_read_inside_a_frame_or_behind_the_last_is_refused() {
    for first_read in [0, 8, 16 + 1, 16 + 9, 16 + 11, u64::MAX] {
        let error = refusal(Limits::default(), &words(&[first_read, 1, 10]));
        assert_eq!(
            error,
            FrameError::Boundary {
                declared: first_read
            }
        );
    }
}

#[test]
fn message_without_frames_is_refused() {
    assert_eq!(
        refusal(Limits::default(), &words(&[8, 0])),
        FrameError::NoFrame
    );
}

#[test]
fn limits_take_effect_before_the_body_arrives() {
    let many = refusal(
        Limits {
            max_frames: 3,
            ..Limits::default()
        },
        &words(&[40, 4]),
    );
    assert_eq!(
        many,
        FrameError::TooManyFrames {
            frames: 4,
            limit: 3
        }
    );
    let long = refusal(Limits::HANDSHAKE, &words(&[16, 1, 70_000]));
    assert_eq!(
        long,
        FrameError::TooLong {
            bytes: 70_000,
            limit: 65_536
        }
    );
    let overflowing = refusal(Limits::HANDSHAKE, &words(&[24, 2, u64::MAX, u64::MAX]));
    assert!(matches!(overflowing, FrameError::TooLong { .. }));
}

#[test]
fn limits_change_between_messages() {
    let mut decoder = FrameDecoder::new(Limits::HANDSHAKE);
    decoder.feed(&stream(&[vec![1; 100]], 1));
    assert!(decoder.next_message().unwrap().is_some());
    decoder.set_limits(Limits::default());
    decoder.feed(&stream(&[vec![1; 100_000]], 1));
    assert!(decoder.next_message().unwrap().is_some());
}

#[test]
fn big_frames_are_handed_on_without_a_copy() {
    let big = Bytes::from(vec![1; BIG_FRAME_BYTES]);
    let pieces = encode(&[
        Bytes::from_static(b"head"),
        big.clone(),
        Bytes::from_static(b"tail"),
    ]);
    assert_eq!(pieces[1].as_ptr(), big.as_ptr());
    assert_eq!(pieces.len(), 3);
}

#[test]
fn frames_of_one_value_lie_together_in_the_memory_that_is_given() {
    const LARGE: usize = 200_001;
    let (memory, decoder) = with_memory(usize::MAX);
    let small = vec![1; 10];
    let frames = [
        small.clone(),
        vec![2; LARGE],
        vec![3; LARGE],
        small,
        vec![4; LARGE],
    ];
    let messages = decode_with(decoder, &stream(&frames, 1), 1000).unwrap();
    let second = LARGE.next_multiple_of(ALIGNMENT);
    assert_eq!(*memory.asked.lock().unwrap(), [second + LARGE, LARGE]);
    let got = &messages[0].0;
    assert!(got.iter().zip(&frames).all(|(got, sent)| got == sent));
    assert_eq!(got[2].as_ptr() as usize - got[1].as_ptr() as usize, second);
}

#[test]
fn where_no_memory_is_given_frames_go_to_the_heap() {
    let (memory, decoder) = with_memory(0);
    let frames = [vec![1; 10], vec![2; 200_000], vec![3; 200_000]];
    let messages = decode_with(decoder, &stream(&frames, 1), 1000).unwrap();
    assert_eq!(messages[0].0[2], frames[2]);
    assert_eq!(memory.asked.lock().unwrap().len(), 2);
}

#[test]
fn of_a_length_that_is_a_lie_only_what_comes_takes_memory() {
    let (memory, mut decoder) = with_memory(1 << 20);
    let huge = u64::MAX - 100;
    decoder.feed(&words(&[32, 3, 8, huge, huge]));
    decoder.feed(&[0; 100_000]);
    assert_eq!(decoder.next_message(), Ok(None));
    decoder.feed(&[0; 100_000]);
    assert_eq!(decoder.next_message(), Ok(None));
    // The two lengths have no sum: nobody was asked.
    assert!(memory.asked.lock().unwrap().is_empty());
}

#[test]
fn half_a_message_is_no_end() {
    let whole = stream(&[vec![1; 10]], 1);
    for len in 1..whole.len() {
        let mut decoder = FrameDecoder::new(Limits::default());
        decoder.feed(&whole[..len]);
        assert_eq!(decoder.next_message(), Ok(None));
        assert!(!decoder.is_between_messages(), "after {len} bytes");
    }
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(
        sizes in proptest::collection::vec(
            prop_oneof![4 => 0..100_usize, 1 => 60_000..70_000_usize, 1 => 0..300_000_usize], 1..8),
        step in prop_oneof![1..100_usize, 1000..100_000_usize],
    ) {
        let fill = |(index, size): (usize, &usize)| Bytes::from(vec![index as u8; *size]);
        let frames: Vec<Bytes> = sizes.iter().enumerate().map(fill).collect();
        let stream = encode(&frames).concat();
        prop_assert_eq!(decode_in_steps(&stream, step).unwrap(), vec![Frames(frames.clone())]);
        for at_most in [usize::MAX, 200_000] {
            let (_, decoder) = with_memory(at_most);
            prop_assert_eq!(decode_with(decoder, &stream, step).unwrap(), vec![Frames(frames.clone())]);
        }
    }
}
