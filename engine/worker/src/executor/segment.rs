//! Shared memory that frames lie in: memfds, mapped once, found again by the address of a frame.
//!
//! A frame is a `Bytes` like any other. That it lies in a memfd shows only here, by its address, so that what came from the
//! executor or a peer in shared memory goes to the executor again as a descriptor.
//! Invariant: a mapping lives as long as a frame of it; nobody writes to it after it was mapped.

use bytes::Bytes;
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// Frames lie at multiples of this.
pub const ALIGNMENT: usize = 64;

/// A memfd and where it is mapped.
#[derive(Debug)]
pub struct Segment {
    file: File,
    start: *mut libc::c_void,
    len: usize,
}

// SAFETY: the mapping is read-only and owned by this value alone.
unsafe impl Send for Segment {}
// SAFETY: as above; nothing in it changes.
unsafe impl Sync for Segment {}

/// All segments by the address they begin at.
static KNOWN: Mutex<BTreeMap<usize, Weak<Segment>>> = Mutex::new(BTreeMap::new());

fn known() -> MutexGuard<'static, BTreeMap<usize, Weak<Segment>>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A segment being filled, frame by frame.
pub struct Filling {
    file: File,
    places: Vec<Range<usize>>,
    end: usize,
}

impl Filling {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            file: File::from(new_memfd()?),
            places: Vec::new(),
            end: 0,
        })
    }

    /// Takes a frame of so many bytes.
    pub fn add(&mut self, len: usize, content: impl Read) -> io::Result<()> {
        let start = self.end.next_multiple_of(ALIGNMENT);
        self.file.write_all(&[0; ALIGNMENT][..start - self.end])?;
        let copied = io::copy(&mut content.take(len as u64), &mut self.file)?;
        if copied != len as u64 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.end = start + len;
        self.places.push(start..self.end);
        Ok(())
    }

    /// The frames, in order.
    pub fn finish(self) -> io::Result<Vec<Bytes>> {
        let whole = Segment::map_file(self.file, self.end)?.whole();
        let places = self.places.into_iter();
        Ok(places.map(|place| whole.slice(place)).collect())
    }
}

/// What keeps a mapping alive behind a `Bytes`.
struct Owner(Arc<Segment>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        self.0.bytes()
    }
}

impl Segment {
    /// Maps a memfd that came from elsewhere.
    pub fn map(descriptor: OwnedFd) -> io::Result<Arc<Self>> {
        let file = File::from(descriptor);
        let len = usize::try_from(file.metadata()?.len()).unwrap_or(usize::MAX);
        Self::map_file(file, len)
    }

    fn map_file(file: File, len: usize) -> io::Result<Arc<Self>> {
        if len == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        // SAFETY: a new mapping at an address of the kernel's choice; its result is checked.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let segment = Arc::new(Self { file, start, len });
        known().insert(start as usize, Arc::downgrade(&segment));
        Ok(segment)
    }

    /// A new segment that holds these frames one behind the other, and where each begins.
    pub fn of_frames(frames: &[&Bytes]) -> io::Result<(Arc<Self>, Vec<usize>)> {
        let mut file = File::from(new_memfd()?);
        let mut places = Vec::with_capacity(frames.len());
        let mut end: usize = 0;
        for frame in frames {
            let padding = end.next_multiple_of(ALIGNMENT) - end;
            write_all(&mut file, &[&[0; ALIGNMENT][..padding], frame])?;
            places.push(end + padding);
            end += padding + frame.len();
        }
        Ok((Self::map_file(file, end)?, places))
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is `len` bytes long and lives as long as `self`; the contract of the line says that nobody
        // writes to it or makes it shorter while we read.
        unsafe { std::slice::from_raw_parts(self.start.cast(), self.len) }
    }

    /// All of it, without a copy.
    pub fn whole(self: &Arc<Self>) -> Bytes {
        Bytes::from_owner(Owner(Arc::clone(self)))
    }

    pub fn descriptor(&self) -> BorrowedFd<'_> {
        use std::os::fd::AsFd;
        self.file.as_fd()
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        let mut known = known();
        // The address may have been given out again only after the unmapping below.
        known.remove(&(self.start as usize));
        drop(known);
        // SAFETY: this is the mapping made in `map_file`, and nothing refers to it any more.
        unsafe { libc::munmap(self.start, self.len) };
    }
}

/// The segment a frame lies in, and where.
pub fn locate(frame: &Bytes) -> Option<(Arc<Segment>, usize)> {
    let start = frame.as_ptr() as usize;
    let segment = known().range(..=start).next_back()?.1.upgrade()?;
    let offset = start - segment.start as usize;
    let inside = offset + frame.len() <= segment.len;
    (inside && offset.is_multiple_of(ALIGNMENT)).then_some((segment, offset))
}

fn new_memfd() -> Result<OwnedFd, Errno> {
    rustix::fs::memfd_create("daskjob", MemfdFlags::CLOEXEC)
}

fn write_all(file: &mut File, parts: &[&[u8]]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let mut rest = &mut slices[..];
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        match file.write_vectored(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_again_in_their_segment_and_others_are_not() {
        let (first, second) = (Bytes::from(vec![1; 100]), Bytes::from(vec![2; 70]));
        let (segment, places) = Segment::of_frames(&[&first, &second]).unwrap();
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
}
