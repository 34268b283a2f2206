//! A pipe out of which lent frames come by themselves, one behind the other, poured into it by whoever has them.
//!
//! What comes goes on to the socket inside the kernel, page by page. Invariant: nobody is waited for: of a spring that has run
//! dry the rest is read, from where it stopped, by the one who sends.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::io::{Errno, ioctl_fionread};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::stream::PlainStream;

/// As much as the kernel allows everybody.
const PIPE_BYTES: usize = 1 << 20;
/// A pipe that holds less is not worth its wake-ups.
const PIPE_BYTES_AT_LEAST: usize = 256 << 10;
/// Who pours needs the processor, and an interpreter's lock, between two pipes full. On a busy machine that takes more than
/// a turn of each of its processes; whoever uses springs had better not try one again at once that has run dry.
const PATIENCE: Duration = Duration::from_millis(25);

/// Our end of the pipe.
#[derive(Debug)]
pub struct Spring {
    pipe: AsyncFd<OwnedFd>,
    dry: bool,
}

impl Spring {
    /// A new one, and the end to pour into.
    pub fn new() -> io::Result<(Self, OwnedFd)> {
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
        if fcntl_setpipe_size(&ours, PIPE_BYTES)? < PIPE_BYTES_AT_LEAST {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        // SAFETY: the descriptor stays open and the same for as long as this owns it.
        let pipe = unsafe { AsyncFd::register_with_interest(ours, Interest::READABLE) }?;
        Ok((Self { pipe, dry: false }, theirs))
    }

    /// Whether somebody else has to go on.
    pub fn is_dry(&self) -> bool {
        self.dry
    }

    /// Moves so many bytes to the socket; how many came in time.
    pub(crate) async fn pour(&mut self, socket: &PlainStream, len: usize) -> io::Result<usize> {
        let mut done = 0;
        while done < len && !self.dry {
            let some = if ioctl_fionread(self.pipe.get_ref())? == 0 {
                self.first(socket, len - done).await?
            } else {
                // It takes something or is full: the pipe is not empty, and nobody else takes from it.
                let some = socket.async_io(Interest::WRITABLE, || self.step(socket, len - done));
                Some(some.await?)
            };
            done += some.unwrap_or(0);
            self.dry = some == Some(0);
        }
        Ok(done)
    }

    /// What comes out of an empty pipe in time. None if the socket cannot take it now; 0 if nothing comes any more.
    async fn first(&self, socket: &PlainStream, len: usize) -> io::Result<Option<usize>> {
        let attempt = self
            .pipe
            .async_io(Interest::READABLE, |pipe| match self.step(socket, len) {
                Err(error) if is_would_block(&error) && ioctl_fionread(pipe)? > 0 => Ok(None),
                step => step.map(Some),
            });
        let in_time = tokio::time::timeout(PATIENCE, attempt).await;
        in_time.unwrap_or(Ok(Some(0)))
    }

    fn step(&self, socket: &PlainStream, len: usize) -> io::Result<usize> {
        let flags = SpliceFlags::MOVE | SpliceFlags::NONBLOCK;
        loop {
            match splice(self.pipe.get_ref(), None, socket, None, len, flags) {
                Err(Errno::INTR) => {}
                step => return Ok(step?),
            }
        }
    }
}

fn is_would_block(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::WouldBlock
}
