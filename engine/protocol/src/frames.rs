//! Messages as frames on a byte stream: `A | nframes | len… | frame…`, all lengths little-endian u64.
//!
//! `A` only hints how much a receiver may read at once; [`FrameDecoder`] checks it and otherwise ignores it.
//! Invariants: memory grows with bytes received, never with a declared length; small frames of a message share one
//! buffer, a big frame has its own and is moved at most once more while it grows, or never where memory is given for it.

mod big;

use std::any::Any;
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;

use big::Big;
pub use big::{ALIGNMENT, FrameMemory, FrameRegion, Room};
use bytes::{BufMut, Bytes, BytesMut};

/// Frames from this size on travel and stay in a buffer of their own.
pub const BIG_FRAME_BYTES: usize = 64 * 1024;

/// How much is read from the stream at once: little for a connection that is mostly idle, more once it is not.
const READ_BYTES: RangeInclusive<usize> = 8 * 1024..=128 * 1024;

/// One received or outgoing message; frame 0 is the MessagePack part.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frames(pub Vec<Bytes>);

impl Frames {
    pub fn total_len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }
}

impl From<Vec<Bytes>> for Frames {
    fn from(frames: Vec<Bytes>) -> Self {
        Self(frames)
    }
}

/// What a peer may send at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub max_frames: u64,
    /// None is unlimited, as in stock Dask.
    pub max_message_bytes: Option<u64>,
}

impl Limits {
    /// Before a peer has introduced itself.
    pub const HANDSHAKE: Self = Self {
        max_frames: 16,
        max_message_bytes: Some(64 * 1024),
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_frames: 16 << 20,
            max_message_bytes: None,
        }
    }
}

/// A byte stream that is not a Dask message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("message of {frames} frames, at most {limit} are allowed")]
    TooManyFrames { frames: u64, limit: u64 },
    #[error("message of {bytes} bytes, at most {limit} are allowed")]
    TooLong { bytes: u128, limit: u64 },
    #[error("message without a frame")]
    NoFrame,
    #[error("first read of {declared} bytes does not end between two frames")]
    Boundary { declared: u64 },
}

/// Turns bytes as they arrive into messages.
#[derive(Debug)]
pub struct FrameDecoder {
    limits: Limits,
    /// Bytes received and not yet part of a frame.
    received: BytesMut,
    /// Within [`READ_BYTES`].
    read_bytes: usize,
    /// For big frames; else they go to the heap.
    memory: Option<Arc<dyn FrameMemory>>,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Waiting for `A`, the number of frames and their lengths.
    Prelude,
    /// Waiting for the rest of the frames.
    Body(Body),
}

#[derive(Debug)]
struct Body {
    lengths: Vec<u64>,
    frames: Vec<Bytes>,
    /// What is being received, where that is big.
    big: Option<Big>,
}

impl FrameDecoder {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            received: BytesMut::new(),
            read_bytes: *READ_BYTES.start(),
            memory: None,
            stage: Stage::Prelude,
        }
    }

    /// From the next message on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Where big frames go, from the next message on.
    pub fn set_memory(&mut self, memory: Option<Arc<dyn FrameMemory>>) {
        self.memory = memory;
    }

    /// Where the next bytes of the stream go; has room for at least one.
    pub fn buffer(&mut self) -> Room<'_> {
        if let Stage::Body(body) = &mut self.stage
            && let Some(big) = &mut body.big
        {
            return big.room();
        }
        if self.received.capacity() - self.received.len() < self.read_bytes / 8 {
            if !self.received.is_empty() {
                self.read_bytes = (self.read_bytes * 2).min(*READ_BYTES.end());
            }
            self.received.reserve(self.read_bytes);
        }
        let room = self.received.capacity() - self.received.len();
        Room::Growing((&mut self.received).limit(room))
    }

    /// Whether what comes next belongs to memory that was given.
    pub fn may_draw(&self) -> bool {
        match &self.stage {
            Stage::Body(body) => matches!(body.big, Some(Big::Given(_))),
            Stage::Prelude => false,
        }
    }

    /// Moves what waits in the stream to where it belongs, unread: none where it is to be read to [`Self::buffer`] now.
    pub fn draw(&mut self, stream: &dyn Any) -> Option<io::Result<usize>> {
        match &mut self.stage {
            Stage::Body(body) => body.big.as_mut()?.draw(stream),
            Stage::Prelude => None,
        }
    }

    /// Gives bytes at once instead of reading them into [`Self::buffer`].
    pub fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let mut buffer = self.buffer();
            let len = bytes.len().min(buffer.remaining_mut());
            buffer.put_slice(&bytes[..len]);
            bytes = &bytes[len..];
            self.finish_big();
        }
    }

    /// The next whole message, if it has arrived. After an error the stream cannot be used any more.
    pub fn next_message(&mut self) -> Result<Option<Frames>, FrameError> {
        if matches!(self.stage, Stage::Prelude) {
            match self.read_prelude()? {
                Some(lengths) => {
                    let frames = Vec::with_capacity(lengths.len());
                    self.stage = Stage::Body(Body {
                        lengths,
                        frames,
                        big: None,
                    });
                }
                None => return Ok(None),
            }
        }
        if !self.read_frames() {
            return Ok(None);
        }
        match std::mem::replace(&mut self.stage, Stage::Prelude) {
            Stage::Body(body) => Ok(Some(Frames(body.frames))),
            Stage::Prelude => Ok(None),
        }
    }

    /// Whether the stream stands between two messages, so that its end is no loss.
    pub fn is_between_messages(&self) -> bool {
        matches!(self.stage, Stage::Prelude) && self.received.is_empty()
    }

    fn read_prelude(&mut self) -> Result<Option<Vec<u64>>, FrameError> {
        let Some(head) = self.received.first_chunk::<16>() else {
            return Ok(None);
        };
        let first_read = u64_at(head, 0);
        let count = u64_at(head, 8);
        if count == 0 {
            return Err(FrameError::NoFrame);
        }
        if count > self.limits.max_frames {
            return Err(FrameError::TooManyFrames {
                frames: count,
                limit: self.limits.max_frames,
            });
        }
        let prelude_bytes = 16 + 8 * usize::try_from(count).unwrap_or(usize::MAX / 16);
        self.check_total(prelude_bytes as u128)?;
        if self.received.len() < prelude_bytes {
            return Ok(None);
        }
        let lengths: Vec<u64> = (16..prelude_bytes)
            .step_by(8)
            .map(|at| u64_at(&self.received, at))
            .collect();
        self.check_total(lengths.iter().map(|len| u128::from(*len)).sum())?;
        check_boundary(first_read, &lengths)?;
        let _prelude = self.received.split_to(prelude_bytes);
        Ok(Some(lengths))
    }

    fn check_total(&self, bytes: u128) -> Result<(), FrameError> {
        match self.limits.max_message_bytes {
            Some(limit) if bytes > u128::from(limit) => Err(FrameError::TooLong { bytes, limit }),
            _ => Ok(()),
        }
    }

    /// Cuts what has arrived into frames; true when the message is whole.
    fn read_frames(&mut self) -> bool {
        self.finish_big();
        let Stage::Body(body) = &mut self.stage else {
            return false;
        };
        while body.frames.len() < body.lengths.len() {
            if body.big.is_some() {
                return false;
            }
            let len = body.lengths[body.frames.len()];
            if len < BIG_FRAME_BYTES as u64 {
                let run = small_run(&body.lengths[body.frames.len()..]);
                if self.received.len() < run.bytes {
                    return false;
                }
                let shared = self.received.split_to(run.bytes).freeze();
                cut(
                    &shared,
                    &body.lengths[body.frames.len()..][..run.frames],
                    &mut body.frames,
                );
            } else if self.received.len() as u64 >= len {
                let frame = self.received.split_to(len as usize);
                body.frames.push(frame.freeze());
            } else {
                let lengths = &body.lengths[body.frames.len()..];
                body.big = Some(Big::begin(lengths, self.memory.as_ref(), &self.received));
                self.received.clear();
            }
        }
        true
    }

    /// Takes big frames over when their last byte is there.
    fn finish_big(&mut self) {
        if let Stage::Body(body) = &mut self.stage {
            Big::finish(&mut body.big, &mut body.frames);
        }
    }
}

struct SmallRun {
    frames: usize,
    bytes: usize,
}

/// How many small frames are taken in one piece: as many as fit a big frame's size, so that none waits for much.
fn small_run(lengths: &[u64]) -> SmallRun {
    let mut run = SmallRun {
        frames: 0,
        bytes: 0,
    };
    for len in lengths {
        let bytes = run.bytes + (*len).min(BIG_FRAME_BYTES as u64) as usize;
        if run.frames > 0 && (*len >= BIG_FRAME_BYTES as u64 || bytes > BIG_FRAME_BYTES) {
            break;
        }
        run.frames += 1;
        run.bytes = bytes;
    }
    run
}

fn cut(shared: &Bytes, lengths: &[u64], frames: &mut Vec<Bytes>) {
    let mut start = 0;
    for len in lengths {
        let end = start + *len as usize;
        frames.push(shared.slice(start..end));
        start = end;
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let bytes = bytes[at..]
        .first_chunk::<8>()
        .expect("the caller has checked the length");
    u64::from_le_bytes(*bytes)
}

/// The first read must end where a frame ends.
fn check_boundary(declared: u64, lengths: &[u64]) -> Result<(), FrameError> {
    let mut end = 8 + 8 * lengths.len() as u128;
    let declared_end = u128::from(declared);
    for len in lengths {
        if end >= declared_end {
            break;
        }
        end += u128::from(*len);
    }
    if end == declared_end {
        Ok(())
    } else {
        Err(FrameError::Boundary { declared })
    }
}

/// Lays a message out for the stream: small leading parts in one piece, big frames as they are.
pub fn encode(frames: &[Bytes]) -> Vec<Bytes> {
    let mut pieces = Vec::with_capacity(2);
    encode_into(frames, &mut pieces);
    pieces
}

/// What goes before frames of these lengths; has room for the small ones.
pub fn prelude(lengths: &[usize]) -> BytesMut {
    let is_small = |len: &&usize| **len < BIG_FRAME_BYTES;
    let small_bytes: usize = lengths.iter().filter(is_small).sum();
    let bytes = 8 * (1 + lengths.len());
    let joined: usize = lengths[..first_read(lengths)].iter().sum();
    let mut piece = BytesMut::with_capacity(8 + bytes + small_bytes.min(16 * BIG_FRAME_BYTES));
    piece.put_u64_le((bytes + joined) as u64);
    piece.put_u64_le(lengths.len() as u64);
    for len in lengths {
        piece.put_u64_le(*len as u64);
    }
    piece
}

/// The same, after what `pieces` already holds.
pub fn encode_into(frames: &[Bytes], pieces: &mut Vec<Bytes>) {
    let lengths: Vec<usize> = frames.iter().map(Bytes::len).collect();
    let mut piece = prelude(&lengths);
    for frame in frames {
        if frame.len() < BIG_FRAME_BYTES {
            piece.extend_from_slice(frame);
        } else {
            pieces.push(piece.split().freeze());
            pieces.push(frame.clone());
        }
    }
    if !piece.is_empty() {
        pieces.push(piece.freeze());
    }
}

/// How many leading frames a receiver may read together: frame 0 and small ones, so that Python gives each big frame
/// an allocation of its own.
fn first_read(lengths: &[usize]) -> usize {
    let small = lengths.iter().skip(1);
    let small = small.take_while(|len| **len < BIG_FRAME_BYTES).count();
    lengths.len().min(1 + small)
}
