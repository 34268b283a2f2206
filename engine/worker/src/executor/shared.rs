//! The shared memory of one life of a worker: what large frames are received into, and what becomes of it.
//!
//! Making pages costs more than filling them, so memory that nobody refers to any more is kept for the next frames: up to a
//! bound, and until memory is short. What the executor was given comes back when it says that nothing there refers to it.
//! Invariant: what is handed out to be written is referred to by nobody else.

use super::conduit::Conduit;
use super::segment::{Mapping, Segment};
use bytes::Bytes;
use protocol::frames::{ALIGNMENT, FrameMemory, FrameRegion};
use rustix::fs::MemfdFlags;
use std::any::Any;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use transport::PlainStream;

/// Smaller ones are not worth a place among those that are kept.
const KEPT_BYTES: usize = 1 << 20;
/// Kept at most, and that part of the memory limit.
const ALL_KEPT_BYTES: u64 = 256 << 20;
const KEPT_SHARE: u64 = 16;
/// Sizes are multiples of this, so that memory fits again.
const GRAIN_BYTES: usize = 64 << 10;
/// Pages are made ready so far ahead of what has arrived.
const AHEAD_BYTES: usize = 2 << 20;

#[derive(Debug)]
pub struct SharedMemory {
    books: Mutex<Books>,
    conduit: Conduit,
    own: Weak<Self>,
}

#[derive(Debug, Default)]
struct Books {
    /// Ready to be filled.
    kept: Vec<Mapping>,
    kept_bytes: u64,
    kept_at_most: u64,
    /// What the executor has descriptors of.
    abroad: HashMap<u64, Abroad>,
    /// Of everything that was filled here and still is.
    bytes: u64,
    /// How often memory was asked for.
    asked: u64,
}

#[derive(Debug)]
struct Abroad {
    /// Descriptors it was sent and has not given back.
    descriptors: u32,
    /// A process that a task forked may still see it.
    is_tainted: bool,
    state: Here,
}

#[derive(Debug)]
enum Here {
    /// Something here still refers to it.
    InUse,
    Idle(Mapping),
    /// Too small to be kept: not mapped here any more.
    Gone(u64),
}

impl SharedMemory {
    pub fn new(memory_limit: Option<u64>) -> Arc<Self> {
        let share = memory_limit.map_or(u64::MAX, |limit| limit / KEPT_SHARE);
        let books = Books {
            kept_at_most: ALL_KEPT_BYTES.min(share),
            ..Books::default()
        };
        Arc::new_cyclic(|own| Self {
            books: Mutex::new(books),
            conduit: Conduit::default(),
            own: Weak::clone(own),
        })
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that was filled here and is not gone, wherever it is mapped. What is declared only does not count.
    pub fn bytes(&self) -> u64 {
        self.books().bytes
    }

    /// Gives back to the system what is kept for later; how much that was.
    pub fn let_go(&self) -> u64 {
        let mut books = self.books();
        let bytes = std::mem::take(&mut books.kept_bytes);
        books.bytes -= bytes;
        let kept = std::mem::take(&mut books.kept);
        drop(books);
        drop(kept);
        bytes
    }

    /// Gives back what is kept where none was asked for since the number of requests was this; the number now.
    pub fn let_go_if_idle(&self, asked_before: u64) -> u64 {
        let asked = self.books().asked;
        if asked == asked_before {
            self.let_go();
        }
        asked
    }

    /// Memory to be filled.
    pub fn region(&self, bytes: usize) -> io::Result<Region> {
        let kept = self.books().fitting(bytes);
        let is_counted = kept.is_some();
        let mapping = match kept {
            Some(mapping) => mapping,
            None => self.make(bytes)?,
        };
        Ok(Region {
            provided: 0,
            mapping: Some(mapping),
            len: bytes,
            is_counted,
            home: Weak::clone(&self.own),
        })
    }

    fn make(&self, bytes: usize) -> io::Result<Mapping> {
        let len = bytes.max(1).checked_next_multiple_of(GRAIN_BYTES);
        let len = len.ok_or(io::ErrorKind::InvalidInput)?;
        let file = File::from(rustix::fs::memfd_create("daskjob", MemfdFlags::CLOEXEC)?);
        file.set_len(len as u64)?;
        let mapping = Mapping::new(file, libc::PROT_READ | libc::PROT_WRITE)?;
        if self.books().abroad.contains_key(&mapping.inode) {
            // The kernel has come round; the executor could not tell the two apart.
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(mapping)
    }

    /// These frames one behind the other, and where each begins.
    pub fn copy_of(&self, frames: &[&Bytes]) -> io::Result<(Arc<Segment>, Vec<usize>)> {
        let mut places = Vec::with_capacity(frames.len());
        let mut end: usize = 0;
        for frame in frames {
            places.push(end.next_multiple_of(ALIGNMENT));
            end = end.next_multiple_of(ALIGNMENT) + frame.len();
        }
        let mut region = self.region(end)?;
        for (frame, start) in frames.iter().zip(&places) {
            let part = *start..start + frame.len();
            region.part(part).copy_from_slice(frame);
        }
        Ok((region.into_segment(), places))
    }

    /// The executor is being sent a descriptor.
    pub fn given(&self, inode: u64) {
        let mut books = self.books();
        let abroad = books.abroad.entry(inode).or_insert(Abroad {
            descriptors: 0,
            is_tainted: false,
            state: Here::InUse,
        });
        abroad.descriptors += 1;
    }

    /// Nothing here refers to it any more.
    pub fn left(&self, mapping: Mapping) {
        let mut books = self.books();
        let Some(abroad) = books.abroad.get_mut(&mapping.inode) else {
            return books.keep(mapping);
        };
        if abroad.descriptors > 0 {
            abroad.state = match mapping.len >= KEPT_BYTES {
                true => Here::Idle(mapping),
                false => Here::Gone(mapping.len as u64),
            };
            return;
        }
        let is_tainted = abroad.is_tainted;
        books.abroad.remove(&mapping.inode);
        match is_tainted {
            true => books.bytes -= mapping.len as u64,
            false => books.keep(mapping),
        }
    }

    /// Nothing in the executor refers to it any more by one of the descriptors it was sent.
    pub fn given_back(&self, inode: u64, is_tainted: bool) {
        let mut books = self.books();
        // Memory that the executor had made itself and was sent back is not ours.
        let Some(abroad) = books.abroad.get_mut(&inode) else {
            return;
        };
        abroad.descriptors = abroad.descriptors.saturating_sub(1);
        abroad.is_tainted |= is_tainted;
        if abroad.descriptors > 0 || matches!(abroad.state, Here::InUse) {
            return;
        }
        match books.abroad.remove(&inode) {
            Some(Abroad {
                state: Here::Idle(mapping),
                is_tainted: false,
                ..
            }) => books.keep(mapping),
            Some(Abroad {
                state: Here::Idle(mapping),
                ..
            }) => books.bytes -= mapping.len as u64,
            Some(Abroad {
                state: Here::Gone(len),
                ..
            }) => books.bytes -= len,
            Some(Abroad {
                state: Here::InUse, ..
            })
            | None => {}
        }
    }
}

impl Books {
    /// The smallest that is large enough and not far too large.
    fn fitting(&mut self, bytes: usize) -> Option<Mapping> {
        self.asked += 1;
        let fits = |mapping: &&Mapping| mapping.len >= bytes && mapping.len / 2 <= bytes;
        let best = self.kept.iter().filter(fits).min_by_key(|own| own.len)?;
        let inode = best.inode;
        let at = self.kept.iter().position(|own| own.inode == inode)?;
        let mapping = self.kept.swap_remove(at);
        self.kept_bytes -= mapping.len as u64;
        Some(mapping)
    }

    fn keep(&mut self, mapping: Mapping) {
        let len = mapping.len as u64;
        if mapping.len >= KEPT_BYTES && self.kept_bytes + len <= self.kept_at_most {
            self.kept_bytes += len;
            self.kept.push(mapping);
        } else {
            self.bytes -= len;
        }
    }
}

impl FrameMemory for SharedMemory {
    fn allocate(&self, bytes: usize) -> Option<Box<dyn FrameRegion>> {
        // Without shared memory to be had frames go to the heap.
        let region = self.region(bytes).ok()?;
        Some(Box::new(region))
    }
}

/// Shared memory that is being filled.
#[derive(Debug)]
pub struct Region {
    /// None only when it has been taken.
    mapping: Option<Mapping>,
    len: usize,
    /// Pages are there and mapped up to this.
    provided: usize,
    is_counted: bool,
    home: Weak<SharedMemory>,
}

impl Region {
    fn mapping(&mut self) -> &mut Mapping {
        self.mapping
            .as_mut()
            .expect("only the end takes the mapping away")
    }

    /// Frozen.
    pub fn into_segment(mut self) -> Arc<Segment> {
        let mapping = self.mapping.take();
        let mapping = mapping.expect("only the end takes the mapping away");
        if !self.is_counted
            && let Some(home) = self.home.upgrade()
        {
            home.books().bytes += mapping.len as u64;
        }
        Segment::new(mapping, Weak::clone(&self.home))
    }
}

impl FrameRegion for Region {
    fn part(&mut self, part: Range<usize>) -> &mut [u8] {
        let len = self.len;
        assert!(part.end <= len, "a part of what was asked for");
        if part.start + AHEAD_BYTES / 2 > self.provided && self.provided < len {
            let page = part.start - part.start % GRAIN_BYTES;
            let from = self.provided.max(page);
            self.provided = self.mapping().len.min(from + AHEAD_BYTES);
            let upto = self.provided;
            self.mapping().provide(from, upto - from);
        }
        &mut self.mapping().bytes_mut()[part]
    }

    /// Through the descriptor: nothing is mapped for it, and who maps what has come finds it there.
    fn put(&mut self, at: usize, bytes: &[u8]) {
        assert!(at + bytes.len() <= self.len, "a part of what was asked for");
        if self
            .mapping()
            .file()
            .write_all_at(bytes, at as u64)
            .is_err()
        {
            self.part(at..at + bytes.len()).copy_from_slice(bytes);
        }
    }

    fn draw(&mut self, part: Range<usize>, stream: &dyn Any) -> Option<io::Result<usize>> {
        assert!(part.end <= self.len, "a part of what was asked for");
        let stream = stream.downcast_ref::<PlainStream>()?;
        let home = self.home.upgrade()?;
        home.conduit
            .draw(stream.as_fd(), self.mapping().file(), part)
    }

    fn freeze(self: Box<Self>) -> Bytes {
        let len = self.len;
        self.into_segment().whole().slice(..len)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // What is new and was not filled is not worth keeping: how much of it there is, nobody knows.
        if let Some(mapping) = self.mapping.take()
            && self.is_counted
            && let Some(home) = self.home.upgrade()
        {
            home.left(mapping);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::segment::locate;

    const LARGE: usize = 3 << 20;

    fn filled(memory: &SharedMemory, len: usize) -> Bytes {
        let mut region = memory.region(len).unwrap();
        region.part(0..len).fill(7);
        Box::new(region).freeze()
    }

    fn inode(frame: &Bytes) -> u64 {
        use std::os::fd::AsFd;
        use std::os::unix::fs::MetadataExt;
        let (segment, _) = locate(frame).unwrap();
        let file = File::from(segment.descriptor().as_fd().try_clone_to_owned().unwrap());
        file.metadata().unwrap().ino()
    }

    #[test]
    fn frames_are_found_again_in_their_segment_and_others_are_not() {
        let memory = SharedMemory::new(None);
        let (first, second) = (Bytes::from(vec![1; 100]), Bytes::from(vec![2; 70]));
        let (segment, places) = memory.copy_of(&[&first, &second]).unwrap();
        assert_eq!(places, [0, 128]);
        let whole = segment.whole();
        let frame = whole.slice(128..198);
        assert_eq!(frame, second);
        let (found, offset) = locate(&frame).unwrap();
        assert!(Arc::ptr_eq(&found, &segment) && offset == 128);
        assert!(locate(&whole.slice(1..3)).is_none());
        assert!(locate(&second).is_none());
        drop((found, segment, whole));
        assert_eq!(frame, second);
    }

    #[test]
    fn memory_that_nobody_refers_to_is_filled_again() {
        let memory = SharedMemory::new(None);
        let frame = filled(&memory, LARGE);
        let first = inode(&frame);
        assert_ne!(inode(&filled(&memory, LARGE)), first);
        drop(frame);
        memory.let_go();
        assert_eq!(memory.bytes(), 0);
        let frame = filled(&memory, LARGE);
        let first = inode(&frame);
        drop(frame);
        assert_eq!(inode(&filled(&memory, LARGE - 5)), first);
        assert_eq!(memory.bytes(), LARGE as u64);
    }

    #[test]
    fn memory_nobody_asks_for_is_given_back() {
        let memory = SharedMemory::new(None);
        drop(filled(&memory, LARGE));
        let asked = memory.let_go_if_idle(0);
        assert_eq!(memory.bytes(), LARGE as u64);
        assert_eq!(memory.let_go_if_idle(asked), asked);
        assert_eq!(memory.bytes(), 0);
    }

    #[test]
    fn what_the_executor_has_is_not_filled_before_it_gives_it_back() {
        let memory = SharedMemory::new(None);
        let frame = filled(&memory, LARGE);
        let (segment, _) = locate(&frame).unwrap();
        let first = inode(&frame);
        segment.give();
        segment.give();
        drop((segment, frame));
        memory.given_back(first, false);
        assert_ne!(inode(&filled(&memory, LARGE)), first);
        memory.let_go();
        assert_eq!(memory.bytes(), LARGE as u64);
        memory.given_back(first, false);
        assert_eq!(inode(&filled(&memory, LARGE)), first);
    }

    #[test]
    fn what_is_given_back_while_somebody_here_reads_it_stays_as_it_is() {
        let memory = SharedMemory::new(None);
        let frame = filled(&memory, LARGE);
        let (segment, _) = locate(&frame).unwrap();
        let first = inode(&frame);
        segment.give();
        drop(segment);
        memory.given_back(first, false);
        assert_ne!(inode(&filled(&memory, LARGE)), first);
        memory.let_go();
        drop(frame);
        assert_eq!(inode(&filled(&memory, LARGE)), first);
    }

    #[test]
    fn what_a_forked_process_may_see_is_never_filled_again() {
        let memory = SharedMemory::new(None);
        let frame = filled(&memory, LARGE);
        let (segment, _) = locate(&frame).unwrap();
        let first = inode(&frame);
        segment.give();
        drop((segment, frame));
        memory.given_back(first, true);
        assert_eq!(memory.bytes(), 0);
        assert_ne!(inode(&filled(&memory, LARGE)), 0);
    }

    #[test]
    fn small_memory_is_counted_while_the_executor_has_it_and_not_kept() {
        let memory = SharedMemory::new(None);
        let frame = filled(&memory, 100_000);
        let (segment, _) = locate(&frame).unwrap();
        let first = inode(&frame);
        segment.give();
        drop((segment, frame));
        assert_eq!(memory.bytes(), 128 << 10);
        memory.given_back(first, false);
        assert_eq!(memory.bytes(), 0);
    }

    #[test]
    fn what_was_declared_and_never_came_does_not_count() {
        let memory = SharedMemory::new(None);
        let mut region = memory.region(1 << 40).unwrap();
        region.part(0..1 << 40)[..10].fill(1);
        assert_eq!(memory.bytes(), 0);
        drop(region);
        assert_eq!(memory.bytes(), 0);
        assert!(memory.region(usize::MAX).is_err());
    }

    #[test]
    fn no_more_is_kept_than_a_part_of_the_memory_limit() {
        let memory = SharedMemory::new(Some(64 << 20));
        let frames: Vec<Bytes> = (0..5).map(|_| filled(&memory, LARGE / 3)).collect();
        assert_eq!(memory.bytes(), 5 << 20);
        drop(frames);
        assert_eq!(memory.bytes(), 4 << 20);
    }
}
