//! Shared memory that frames lie in: memfds, mapped once, found again by the address of a frame.
//!
//! A frame is a `Bytes` like any other. That it lies in a memfd shows only here, by its address, so that what came from the
//! executor or a peer in shared memory goes to the executor again as a descriptor.
//! Invariant: a mapping lives as long as a frame of it; nobody writes to it after it was frozen.

use super::shared::SharedMemory;
use bytes::Bytes;
use protocol::frames::ALIGNMENT;
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

/// A memfd and where it is mapped.
#[derive(Debug)]
pub struct Mapping {
    file: File,
    start: *mut libc::c_void,
    pub len: usize,
    /// What both ends of the line call it.
    pub inode: u64,
}

// SAFETY: the mapping is owned by this value alone.
unsafe impl Send for Mapping {}
// SAFETY: through a shared reference it is only read.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// All of a memfd; with `PROT_WRITE` where it is ours.
    pub fn new(file: File, protection: libc::c_int) -> io::Result<Self> {
        let status = file.metadata()?;
        let len = usize::try_from(status.len()).unwrap_or(usize::MAX);
        if len == 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        // SAFETY: a new mapping at an address of the kernel's choice; its result is checked.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                protection,
                libc::MAP_SHARED,
                file.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            file,
            start,
            len,
            inode: status.ino(),
        })
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    pub fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is `len` bytes long and lives as long as `self`; the contract of the line says that nobody
        // makes it shorter, or writes to it while we may read.
        unsafe { std::slice::from_raw_parts(self.start.cast(), self.len) }
    }

    /// Only of mappings that were made to be written to.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and the executor has either never had it or given it back.
        unsafe { std::slice::from_raw_parts_mut(self.start.cast(), self.len) }
    }

    /// Has the system provide pages at once that are about to be written; where it does not, it does one by one.
    pub fn provide(&self, from: usize, len: usize) {
        debug_assert!(from + len <= self.len);
        // SAFETY: the range lies in the mapping, whose content does not change by this.
        let _provided =
            unsafe { libc::madvise(self.start.byte_add(from), len, libc::MADV_POPULATE_WRITE) };
    }

    fn address(&self) -> usize {
        self.start as usize
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is the mapping made in `new`, and nothing refers to it any more.
        unsafe { libc::munmap(self.start, self.len) };
    }
}

/// A mapping whose content does not change any more.
#[derive(Debug)]
pub struct Segment {
    /// None only while it is dropped.
    mapping: Option<Mapping>,
    /// Where it goes afterwards, if it was made here.
    home: Weak<SharedMemory>,
}

/// All segments by the address they begin at.
static KNOWN: Mutex<BTreeMap<usize, Weak<Segment>>> = Mutex::new(BTreeMap::new());

fn known() -> MutexGuard<'static, BTreeMap<usize, Weak<Segment>>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What keeps a mapping alive behind a `Bytes`.
struct Owner(Arc<Segment>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        self.0.mapping().bytes()
    }
}

impl Segment {
    pub fn new(mapping: Mapping, home: Weak<SharedMemory>) -> Arc<Self> {
        let address = mapping.address();
        let segment = Arc::new(Self {
            mapping: Some(mapping),
            home,
        });
        known().insert(address, Arc::downgrade(&segment));
        segment
    }

    /// Maps a memfd that came from elsewhere.
    pub fn map(descriptor: OwnedFd) -> io::Result<Arc<Self>> {
        let mapping = Mapping::new(File::from(descriptor), libc::PROT_READ)?;
        Ok(Self::new(mapping, Weak::new()))
    }

    fn mapping(&self) -> &Mapping {
        self.mapping
            .as_ref()
            .expect("only dropping takes the mapping away")
    }

    /// All of it, without a copy.
    pub fn whole(self: &Arc<Self>) -> Bytes {
        Bytes::from_owner(Owner(Arc::clone(self)))
    }

    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.mapping().file.as_fd()
    }

    /// The executor is being sent a descriptor of it.
    pub fn give(&self) {
        if let Some(home) = self.home.upgrade() {
            home.given(self.mapping().inode);
        }
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        if let Some(mapping) = self.mapping.take() {
            // The address may be given out again only behind this.
            known().remove(&mapping.address());
            if let Some(home) = self.home.upgrade() {
                home.left(mapping);
            }
        }
    }
}

/// The segment a frame lies in, and where.
pub fn locate(frame: &Bytes) -> Option<(Arc<Segment>, usize)> {
    let start = frame.as_ptr() as usize;
    let segment = known().range(..=start).next_back()?.1.upgrade()?;
    let offset = start - segment.mapping().address();
    let inside = offset + frame.len() <= segment.mapping().len;
    (inside && offset.is_multiple_of(ALIGNMENT)).then_some((segment, offset))
}
