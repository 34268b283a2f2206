//! Where big frames go while they arrive: a heap buffer that grows with them, or memory that the program gives.
//!
//! Invariant: what is given may be as large as what is declared, since it must not become real before it is written to; what is
//! taken from the heap is never larger than [`GROWTH`] times what has arrived.

use super::BIG_FRAME_BYTES;
use bytes::buf::{Limit, UninitSlice};
use bytes::{BufMut, Bytes, BytesMut};
use std::any::Any;
use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::sync::Arc;

/// Big frames that follow each other lie so in the memory that is given for them, at multiples of this. They are of one
/// value: between two values there is always the header of the second.
pub const ALIGNMENT: usize = 64;

/// The most a heap buffer grows ahead of what has been received, as a factor of that.
const GROWTH: usize = 4;

/// Gives memory for big frames.
pub trait FrameMemory: Debug + Send + Sync {
    /// Memory for so many bytes, whose pages the system had better provide as they are written to: peers may lie. Where it is
    /// refused, frames go to the heap.
    fn allocate(&self, bytes: usize) -> Option<Box<dyn FrameRegion>>;
}

/// Memory that is being filled.
pub trait FrameRegion: Debug + Send {
    /// This part of it, which is about to be written.
    fn part(&mut self, part: Range<usize>) -> &mut [u8];

    /// Writes what has arrived already.
    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.part(at..at + bytes.len()).copy_from_slice(bytes);
    }

    /// Has what waits in a stream moved to the beginning of this part without a look at it; how much that was, 0 at the end
    /// of the stream. What streams there are, whoever reads from them and whoever gives memory agree upon. None where it
    /// cannot be done: then it is to be read to [`Self::part`].
    fn draw(&mut self, _part: Range<usize>, _stream: &dyn Any) -> Option<io::Result<usize>> {
        None
    }

    /// All that was asked for, whose content stays as it is from here on.
    fn freeze(self: Box<Self>) -> Bytes;
}

/// One big frame on its way to the heap, or several to the memory that was given.
#[derive(Debug)]
pub(super) enum Big {
    Heap { buffer: BytesMut, len: u64 },
    Given(Run),
}

#[derive(Debug)]
pub(super) struct Run {
    region: Box<dyn FrameRegion>,
    places: Vec<Range<usize>>,
    /// The place being filled, and up to where.
    current: usize,
    filled: usize,
}

impl Big {
    /// For the first of the frames with these lengths, which is big, and those behind it.
    pub fn begin(lengths: &[u64], memory: Option<&Arc<dyn FrameMemory>>, arrived: &[u8]) -> Self {
        let run = memory.and_then(|memory| Run::begin(lengths, &**memory));
        let mut big = run.map_or_else(
            || Self::Heap {
                buffer: BytesMut::with_capacity(arrived.len().max(BIG_FRAME_BYTES)),
                len: lengths[0],
            },
            Self::Given,
        );
        match &mut big {
            Self::Heap { buffer, .. } => buffer.extend_from_slice(arrived),
            Self::Given(run) => run.put(arrived),
        }
        big
    }

    /// Where the next bytes go; has room for at least one.
    pub fn room(&mut self) -> Room<'_> {
        let (buffer, len) = match self {
            Self::Given(run) => return run.room(),
            Self::Heap { buffer, len } => (buffer, *len),
        };
        let missing = len - buffer.len() as u64;
        let missing = usize::try_from(missing).unwrap_or(usize::MAX);
        if buffer.capacity() == buffer.len() {
            let more = buffer.len().saturating_mul(GROWTH - 1);
            buffer.reserve(missing.min(more.max(BIG_FRAME_BYTES)));
        }
        let room = buffer.capacity() - buffer.len();
        Room::Growing(buffer.limit(room.min(missing)))
    }

    /// Moves what waits in the stream, where that can be done.
    pub fn draw(&mut self, stream: &dyn Any) -> Option<io::Result<usize>> {
        match self {
            Self::Given(run) => run.draw(stream),
            Self::Heap { .. } => None,
        }
    }

    /// The frames, when the last byte of them is there.
    pub fn finish(big: &mut Option<Self>, frames: &mut Vec<Bytes>) {
        let is_whole = match big {
            None => false,
            Some(Self::Heap { buffer, len }) => buffer.len() as u64 == *len,
            Some(Self::Given(run)) => run.is_whole(),
        };
        if !is_whole {
            return;
        }
        match big.take() {
            Some(Self::Heap { buffer, .. }) => frames.push(buffer.freeze()),
            Some(Self::Given(run)) => {
                let whole = run.region.freeze();
                let places = run.places.into_iter();
                frames.extend(places.map(|place| whole.slice(place)));
            }
            None => {}
        }
    }
}

impl Run {
    fn begin(lengths: &[u64], memory: &dyn FrameMemory) -> Option<Self> {
        let mut places = Vec::new();
        let mut end = 0_usize;
        let big = |len: &&u64| **len >= BIG_FRAME_BYTES as u64;
        for len in lengths.iter().take_while(big) {
            let start = end.checked_next_multiple_of(ALIGNMENT)?;
            end = start.checked_add(usize::try_from(*len).ok()?)?;
            places.push(start..end);
        }
        Some(Self {
            region: memory.allocate(end)?,
            places,
            current: 0,
            filled: 0,
        })
    }

    /// The rest of the place being filled.
    fn rest(&self) -> Range<usize> {
        self.filled..self.places[self.current].end
    }

    /// Less than the first place has room for.
    fn put(&mut self, arrived: &[u8]) {
        self.region.put(self.filled, arrived);
        self.filled += arrived.len();
    }

    fn draw(&mut self, stream: &dyn Any) -> Option<io::Result<usize>> {
        let drawn = self.region.draw(self.rest(), stream)?;
        Some(drawn.inspect(|count| self.filled += count))
    }

    fn room(&mut self) -> Room<'_> {
        let part = self.rest();
        Room::Given {
            spare: self.region.part(part),
            filled: &mut self.filled,
        }
    }

    /// Goes on to the next frame where one is full.
    fn is_whole(&mut self) -> bool {
        if self.filled == self.places[self.current].end {
            match self.places.get(self.current + 1) {
                Some(next) => {
                    self.filled = next.start;
                    self.current += 1;
                }
                None => return true,
            }
        }
        false
    }
}

/// Where the next bytes of a stream go.
#[derive(Debug)]
pub enum Room<'a> {
    Growing(Limit<&'a mut BytesMut>),
    Given {
        spare: &'a mut [u8],
        filled: &'a mut usize,
    },
}

// SAFETY: `chunk_mut` is the memory that `remaining_mut` counts, of a `BytesMut` or a slice that is borrowed for as long.
unsafe impl BufMut for Room<'_> {
    fn remaining_mut(&self) -> usize {
        match self {
            Self::Growing(buffer) => buffer.remaining_mut(),
            Self::Given { spare, .. } => spare.len(),
        }
    }

    unsafe fn advance_mut(&mut self, count: usize) {
        match self {
            // SAFETY: the caller has written so much to what `chunk_mut` gave.
            Self::Growing(buffer) => unsafe { buffer.advance_mut(count) },
            Self::Given { spare, filled } => {
                let whole = std::mem::take(spare);
                *spare = &mut whole[count..];
                **filled += count;
            }
        }
    }

    fn chunk_mut(&mut self) -> &mut UninitSlice {
        match self {
            Self::Growing(buffer) => buffer.chunk_mut(),
            Self::Given { spare, .. } => UninitSlice::new(spare),
        }
    }
}
