//! The line to the executor: packets out as soon as the socket takes them, packets in as they come.
//!
//! Nobody waits for the executor here: what its socket does not take stays in [`Packets`] until it does.

use super::message::{FromExecutor, MessageError, read_packet};
use super::packet::{DESCRIPTORS_AT_MOST, Packet, Packets, Passed};
use super::shared::SharedMemory;
use bytes::{Buf, BytesMut};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

/// Between two attempts where the kernel does not say when to try again.
const CROWDED_PAUSE: Duration = Duration::from_millis(5);
/// How much is read at once.
const READ_BYTES: usize = 128 * 1024;
/// Ancillary data of one read: the kernel ends a read behind bytes that brought descriptors.
const RECEIVED_AT_MOST: usize = 253;

/// Our end; cheap to clone.
#[derive(Clone)]
pub struct Line {
    shared: Rc<Shared>,
}

struct Shared {
    socket: AsyncFd<UnixStream>,
    packets: RefCell<Packets>,
    /// The socket takes nothing now.
    blocked: Notify,
    /// The kernel takes nothing now, and will not say when it does.
    is_crowded: Cell<bool>,
}

#[derive(Debug, thiserror::Error)]
pub enum LineError {
    #[error("read from the executor")]
    Read(#[source] io::Error),
    #[error(transparent)]
    Message(#[from] MessageError),
    #[error("the executor announces {announced} descriptors and sent {received}")]
    Descriptors { announced: usize, received: usize },
    #[error("descriptors of the executor were lost: too many files are open")]
    DescriptorsLost,
}

impl Line {
    pub fn new(socket: UnixStream, memory: Arc<SharedMemory>) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        // SAFETY: the stream keeps its descriptor open and the same for as long as it lives.
        let socket = unsafe { AsyncFd::register_with_interest(socket, interest) }?;
        Ok(Self {
            shared: Rc::new(Shared {
                socket,
                packets: RefCell::new(Packets::new(memory)),
                blocked: Notify::new(),
                is_crowded: Cell::new(false),
            }),
        })
    }

    /// Adds messages; they leave with [`Self::flush`].
    pub fn say<R>(&self, say: impl FnOnce(&mut Packets) -> R) -> R {
        say(&mut self.shared.packets.borrow_mut())
    }

    /// Writes what the socket takes now. That the line is broken shows where it is read.
    pub fn flush(&self) {
        let mut packets = self.shared.packets.borrow_mut();
        while let Some(packet) = packets.next() {
            match self.write(packet) {
                Ok(()) if packet.written == packet.bytes.len() => packets.done(),
                Ok(()) => {}
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.shared.blocked.notify_one();
                    return;
                }
                // More descriptors are on their way than this user may have there, or there is no memory.
                Err(Errno::TOOMANYREFS | Errno::NOBUFS | Errno::NOMEM) => {
                    self.shared.is_crowded.set(true);
                    self.shared.blocked.notify_one();
                    return;
                }
                Err(_) => return packets.done(),
            }
        }
    }

    fn write(&self, packet: &mut Packet) -> Result<(), Errno> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(64))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors: Vec<_> = packet.passed.iter().map(Passed::descriptor).collect();
        // Descriptors go with the first byte.
        if packet.written == 0 && !descriptors.is_empty() {
            let fits = control.push(SendAncillaryMessage::ScmRights(&descriptors));
            debug_assert!(fits && descriptors.len() <= DESCRIPTORS_AT_MOST);
        }
        packet.written += sendmsg(
            self.shared.socket.get_ref(),
            &[IoSlice::new(&packet.bytes[packet.written..])],
            &mut control,
            SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
        )?;
        Ok(())
    }

    /// Goes on writing whenever the socket was full; never returns.
    pub async fn drive(&self) {
        loop {
            self.shared.blocked.notified().await;
            if self.shared.is_crowded.take() {
                tokio::time::sleep(CROWDED_PAUSE).await;
            } else {
                match self.shared.socket.writable().await {
                    Ok(mut guard) => guard.clear_ready(),
                    Err(_) => return std::future::pending().await,
                }
            }
            self.flush();
        }
    }

    pub fn reader(&self) -> LineReader {
        LineReader {
            line: self.clone(),
            scratch: vec![0; READ_BYTES],
            received: BytesMut::new(),
            descriptors: VecDeque::new(),
        }
    }
}

/// What comes from the executor.
pub struct LineReader {
    line: Line,
    scratch: Vec<u8>,
    received: BytesMut,
    descriptors: VecDeque<OwnedFd>,
}

impl LineReader {
    /// All messages of the next packets that have arrived; none when the line has ended.
    pub async fn next(&mut self) -> Result<Option<Vec<FromExecutor>>, LineError> {
        loop {
            let mut messages = Vec::new();
            while let Some(some) = self.packet()? {
                messages.extend(some);
            }
            if !messages.is_empty() {
                return Ok(Some(messages));
            }
            if self.read().await? == 0 {
                return Ok(None);
            }
        }
    }

    fn packet(&mut self) -> Result<Option<Vec<FromExecutor>>, LineError> {
        let Some(head) = self.received.first_chunk::<8>() else {
            return Ok(None);
        };
        let [a, b, c, d, e, f, g, h] = *head;
        let len = u32::from_le_bytes([a, b, c, d]) as usize;
        let count = u32::from_le_bytes([e, f, g, h]) as usize;
        if self.received.len() < 8 + len {
            return Ok(None);
        }
        self.received.advance(8);
        let body = self.received.split_to(len).freeze();
        if self.descriptors.len() < count {
            return Err(LineError::Descriptors {
                announced: count,
                received: self.descriptors.len(),
            });
        }
        let descriptors = self.descriptors.drain(..count).collect();
        Ok(Some(read_packet(&body, descriptors)?))
    }

    async fn read(&mut self) -> Result<usize, LineError> {
        let line = self.line.clone();
        loop {
            let mut guard = line.shared.socket.readable().await;
            let guard = guard.as_mut().map_err(|error| {
                LineError::Read(io::Error::new(error.kind(), "the socket is not ready"))
            })?;
            match guard.try_io(|socket| self.receive(socket.get_ref())) {
                Ok(Ok((_, true))) => return Err(LineError::DescriptorsLost),
                Ok(Ok((count, false))) => return Ok(count),
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(0),
                Ok(Err(error)) => return Err(LineError::Read(error)),
                Err(_would_block) => {}
            }
        }
    }

    /// How many bytes came, and whether descriptors were lost.
    fn receive(&mut self, socket: &UnixStream) -> io::Result<(usize, bool)> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(RECEIVED_AT_MOST))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let got = recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut self.scratch)],
            &mut control,
            RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC,
        )?;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        self.received.extend_from_slice(&self.scratch[..got.bytes]);
        Ok((got.bytes, got.flags.contains(ReturnFlags::CTRUNC)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use protocol::{Key, Payload};
    use std::process::Command;

    const FLUSHES: usize = 8;
    const VALUES_EACH: usize = 20;
    const PATIENCE: Duration = Duration::from_secs(30);

    /// A user may have as many descriptors in sockets as a process of theirs may open; root has no such limit.
    #[test]
    fn descriptors_beyond_what_a_user_may_have_on_their_way_wait() {
        let own = std::env::current_exe().unwrap();
        let status = Command::new(own)
            .args(["--ignored", "--exact"])
            .arg("executor::line::tests::more_descriptors_than_may_be_on_their_way_arrive")
            .status();
        assert!(status.unwrap().success());
    }

    #[test]
    #[ignore = "gives up rights of its whole process; another test starts one for it"]
    fn more_descriptors_than_may_be_on_their_way_arrive() {
        be_somebody_who_may_open(128);
        let (ours, theirs) = UnixStream::pair().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_all().build().unwrap();
        runtime.block_on(async {
            let line = Line::new(ours, SharedMemory::new(None)).unwrap();
            for _ in 0..FLUSHES {
                for _ in 0..VALUES_EACH {
                    let value = Payload::serialized_pickle(Bytes::from(vec![1; 70_000]));
                    line.say(|line| line.put(&Key::from("value"), &value));
                }
                line.flush();
            }
            let reading = tokio::task::spawn_blocking(move || descriptors_that_arrive(&theirs));
            tokio::select! {
                () = line.drive() => {}
                arrived = reading => assert_eq!(arrived.unwrap(), FLUSHES * VALUES_EACH),
            }
        });
    }

    fn be_somebody_who_may_open(files: libc::rlim_t) {
        const SOMEBODY: libc::uid_t = 54_321;
        let limit = libc::rlimit {
            rlim_cur: files,
            rlim_max: files,
        };
        // SAFETY: numbers and a pointer to a value that lives on.
        unsafe {
            assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
            if libc::geteuid() == 0 {
                assert_eq!(libc::setresuid(SOMEBODY, SOMEBODY, SOMEBODY), 0);
            }
        }
    }

    /// Takes and closes descriptors until all have come.
    fn descriptors_that_arrive(socket: &UnixStream) -> usize {
        socket.set_nonblocking(false).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let (mut count, mut scratch) = (0, vec![0; READ_BYTES]);
        while count < FLUSHES * VALUES_EACH {
            let mut space =
                [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(RECEIVED_AT_MOST))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let mut parts = [IoSliceMut::new(&mut scratch)];
            let got = recvmsg(socket, &mut parts, &mut control, RecvFlags::empty());
            if got.map_or(0, |got| got.bytes) == 0 {
                break;
            }
            for message in control.drain() {
                if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                    count += descriptors.count();
                }
            }
        }
        count
    }
}
