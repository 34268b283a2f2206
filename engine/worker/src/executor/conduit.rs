//! From a socket to shared memory inside the kernel, through a pipe: one copy, and no page is cleared or mapped for it.
//!
//! Invariant: the pipe is empty between two calls; one that is not is thrown away with what is in it.

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// As much as the kernel allows everybody; it may give less.
const PIPE_BYTES: usize = 1 << 20;

/// One pipe, used by whoever draws just now.
#[derive(Debug, Default)]
pub struct Conduit {
    idle: Mutex<Option<Pipe>>,
    /// Sockets or files here are of a kind for which there is no such way.
    is_refused: AtomicBool,
}

#[derive(Debug)]
struct Pipe {
    outlet: OwnedFd,
    inlet: OwnedFd,
}

impl Pipe {
    fn new() -> io::Result<Self> {
        let (outlet, inlet) = pipe_with(PipeFlags::CLOEXEC)?;
        // A smaller one does as well, with more calls.
        let _granted = fcntl_setpipe_size(&inlet, PIPE_BYTES);
        Ok(Self { outlet, inlet })
    }

    fn fill(&self, from: BorrowedFd<'_>, len: usize) -> Result<usize, Errno> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        splice(from, None, &self.inlet, None, len.min(PIPE_BYTES), flags)
    }

    fn empty(&self, to: &File, part: Range<usize>) -> io::Result<()> {
        let (mut at, end) = (part.start as u64, part.end as u64);
        while at < end {
            let left = (end - at) as usize;
            match splice(
                &self.outlet,
                None,
                to,
                Some(&mut at),
                left,
                SpliceFlags::MOVE,
            ) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

impl Conduit {
    /// What waits in the socket, at most as much as the part has room for; none where it must be read instead.
    pub fn draw(
        &self,
        from: BorrowedFd<'_>,
        to: &File,
        part: Range<usize>,
    ) -> Option<io::Result<usize>> {
        if self.is_refused.load(Ordering::Relaxed) {
            return None;
        }
        let pipe = match self.idle().take() {
            Some(pipe) => pipe,
            None => Pipe::new().ok()?,
        };
        let drawn = match pipe.fill(from, part.len()) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::PERM) => {
                self.is_refused.store(true, Ordering::Relaxed);
                return None;
            }
            Err(error) => Err(error.into()),
            // What is in the pipe is not in the socket any more: there is no other way from here.
            Ok(count) => match pipe.empty(to, part.start..part.start + count) {
                Ok(()) => Ok(count),
                lost => return Some(lost.map(|()| count)),
            },
        };
        *self.idle() = Some(pipe);
        Some(drawn)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Option<Pipe>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::MemfdFlags;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileExt;

    fn connected() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (ours, listener.accept().unwrap().0)
    }

    fn memory(len: u64) -> File {
        let file = File::from(rustix::fs::memfd_create("test", MemfdFlags::CLOEXEC).unwrap());
        file.set_len(len).unwrap();
        file
    }

    fn drawn(conduit: &Conduit, from: &TcpStream, to: &File, part: Range<usize>) -> usize {
        from.set_nonblocking(true).unwrap();
        loop {
            match conduit.draw(from.as_fd(), to, part.clone()).unwrap() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                count => return count.unwrap(),
            }
        }
    }

    #[test]
    fn what_waits_in_a_socket_lies_in_the_memory_afterwards_and_no_more_than_was_asked_for() {
        let (mut ours, theirs) = connected();
        let content: Vec<u8> = (0..30_001_u32).map(|at| at as u8).collect();
        ours.write_all(&content).unwrap();
        drop(ours);
        let (conduit, file) = (Conduit::default(), memory(100_000));
        let mut at = 7;
        while at < 20_007 {
            at += drawn(&conduit, &theirs, &file, at..20_007);
        }
        while at < 30_008 {
            at += drawn(&conduit, &theirs, &file, at..100_000);
        }
        assert_eq!(drawn(&conduit, &theirs, &file, at..100_000), 0);
        let mut found = vec![0; 30_001];
        file.read_exact_at(&mut found, 7).unwrap();
        assert_eq!(found, content);
    }

    #[test]
    fn memory_that_takes_nothing_is_an_error_and_the_next_draw_begins_anew() {
        let (mut ours, theirs) = connected();
        ours.write_all(b"first").unwrap();
        let conduit = Conduit::default();
        let closed = File::open("/dev/null").unwrap();
        let mut failed = conduit.draw(theirs.as_fd(), &closed, 0..5);
        while matches!(&failed, Some(Err(error)) if error.kind() == io::ErrorKind::WouldBlock) {
            failed = conduit.draw(theirs.as_fd(), &closed, 0..5);
        }
        assert!(failed.unwrap().is_err());
        ours.write_all(b"second").unwrap();
        let file = memory(4096);
        assert_eq!(drawn(&conduit, &theirs, &file, 0..6), 6);
        let mut found = [0; 6];
        file.read_exact_at(&mut found, 0).unwrap();
        assert_eq!(&found, b"second");
    }

    #[test]
    fn what_is_no_stream_is_refused_once_and_for_all() {
        let conduit = Conduit::default();
        let (directory, file) = (File::open("/").unwrap(), memory(4096));
        assert!(conduit.draw(directory.as_fd(), &file, 0..5).is_none());
        assert!(conduit.is_refused.load(Ordering::Relaxed));
    }
}
