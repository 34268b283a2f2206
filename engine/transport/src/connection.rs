//! A connection that has introduced itself: messages in, messages out.
//!
//! Both sides have sent their handshake before a [`Connection`] exists; until then a peer may send 64 KiB at most.
//! Reading and waiting is cancel-safe. A write that was cancelled half-way leaves the stream unusable: drop it.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use protocol::messages::{Handshake, HandshakeError};
use protocol::{
    DecodeError, FrameDecoder, FrameError, FrameMemory, Frames, Limits, Value, decode_message,
    encode_value, frames,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};

use crate::lent::{Frame, LentFrame};
use crate::spring::Spring;
use crate::stream::{ReadSide, WriteSide};

/// How much of a lent frame is read at once: little enough to stay in the processor's cache until it is sent.
const LENT_BYTES: usize = 256 * 1024;
/// The most pieces given to one write.
const PIECES_PER_WRITE: usize = 64;

/// An open connection.
#[derive(Debug)]
pub struct Connection {
    pub reader: FrameReader,
    pub writer: FrameWriter,
    pub info: ConnectionInfo,
}

/// What is known of a connection.
#[derive(Clone, Debug)]
pub struct ConnectionInfo {
    /// Our end, such as `tcp://10.0.0.1:8786`.
    pub local_address: String,
    /// The peer's end; not where it listens.
    pub peer_address: String,
    pub handshake: Handshake,
}

#[derive(Debug, thiserror::Error)]
pub enum RecvError {
    #[error("read from the connection")]
    Read(#[source] io::Error),
    #[error("peer sent what is no Dask message")]
    Frame(#[from] FrameError),
    #[error("peer sent a message that cannot be read")]
    Decode(#[from] DecodeError),
    #[error("connection ended inside a message")]
    Truncated,
    #[error("connection closed")]
    Closed,
}

/// Why a new connection did not come to be.
#[derive(Debug, thiserror::Error)]
pub enum EstablishError {
    #[error("peer did not finish its handshake in time")]
    Timeout,
    #[error("send the handshake")]
    Write(#[source] io::Error),
    #[error("read the handshake")]
    Read(#[from] RecvError),
    #[error("peer's handshake is wrong")]
    Handshake(#[from] HandshakeError),
    #[error("tls handshake")]
    Tls(#[source] io::Error),
}

/// What a peer is told and granted when it has introduced itself.
pub(crate) struct Terms {
    pub limits: Limits,
    pub pickle_protocol: i64,
    pub memory: Option<Arc<dyn FrameMemory>>,
}

impl Connection {
    /// Exchanges handshakes over a fresh stream.
    pub(crate) async fn establish(
        (read, write): (ReadSide, WriteSide),
        (local_address, peer_address): (String, String),
        terms: Terms,
        timeout: Duration,
    ) -> Result<Self, EstablishError> {
        let pickle_protocol = terms.pickle_protocol;
        let mut reader = FrameReader {
            side: read,
            decoder: FrameDecoder::new(Limits::HANDSHAKE),
        };
        let mut writer = FrameWriter { side: write };
        let exchange = async {
            writer
                .send(&Handshake::ours(pickle_protocol))
                .await
                .map_err(EstablishError::Write)?;
            let frames = reader.recv().await?.ok_or(RecvError::Closed)?;
            let mut handshake = Handshake::read(&frames)?;
            handshake.pickle_protocol = handshake.pickle_protocol.min(pickle_protocol);
            Ok::<_, EstablishError>(handshake)
        };
        let handshake = tokio::time::timeout(timeout, exchange)
            .await
            .map_err(|_| EstablishError::Timeout)??;
        reader.decoder.set_limits(terms.limits);
        reader.decoder.set_memory(terms.memory);
        Ok(Self {
            reader,
            writer,
            info: ConnectionInfo {
                local_address,
                peer_address,
                handshake,
            },
        })
    }

    pub fn split(self) -> (FrameReader, FrameWriter, ConnectionInfo) {
        (self.reader, self.writer, self.info)
    }

    pub async fn recv(&mut self) -> Result<Option<Frames>, RecvError> {
        self.reader.recv().await
    }

    pub async fn recv_value(&mut self) -> Result<Option<Value>, RecvError> {
        self.reader.recv_value().await
    }

    pub async fn send(&mut self, message: &Frames) -> io::Result<()> {
        self.writer.send(message).await
    }

    pub async fn send_value(&mut self, message: &Value) -> io::Result<()> {
        self.writer.send_value(message).await
    }
}

/// The receiving half.
#[derive(Debug)]
pub struct FrameReader {
    side: ReadSide,
    decoder: FrameDecoder,
}

impl FrameReader {
    /// The next message, or None when the peer has closed between two messages.
    pub async fn recv(&mut self) -> Result<Option<Frames>, RecvError> {
        loop {
            if let Some(frames) = self.decoder.next_message()? {
                return Ok(Some(frames));
            }
            let read = self.read().await;
            if read.or_else(closed_is_end).map_err(RecvError::Read)? == 0 {
                return if self.decoder.is_between_messages() {
                    Ok(None)
                } else {
                    Err(RecvError::Truncated)
                };
            }
        }
    }

    /// More of the message, moved to where it belongs by the system, or read.
    async fn read(&mut self) -> io::Result<usize> {
        if let Some(stream) = self.side.plain()
            && self.decoder.may_draw()
        {
            let drawn = stream
                .async_io(Interest::READABLE, || self.decoder.draw(stream).transpose())
                .await?;
            if let Some(count) = drawn {
                return Ok(count);
            }
        }
        self.side.read_buf(&mut self.decoder.buffer()).await
    }

    /// A message that has arrived already, without waiting for more bytes.
    pub fn try_recv(&mut self) -> Result<Option<Frames>, RecvError> {
        Ok(self.decoder.next_message()?)
    }

    pub async fn recv_value(&mut self) -> Result<Option<Value>, RecvError> {
        match self.recv().await? {
            Some(frames) => Ok(Some(decode_message(&frames)?)),
            None => Ok(None),
        }
    }

    pub fn set_limits(&mut self, limits: Limits) {
        self.decoder.set_limits(limits);
    }

    /// Waits until the peer closes or sends something.
    pub(crate) async fn stirs(&mut self) {
        let _either = self.side.read_buf(&mut self.decoder.buffer()).await;
    }
}

/// A peer that resets or skips TLS's goodbye has closed; that is how processes end.
fn closed_is_end(error: io::Error) -> io::Result<usize> {
    match error.kind() {
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::UnexpectedEof
        | io::ErrorKind::BrokenPipe => Ok(0),
        _ => Err(error),
    }
}

/// The sending half.
#[derive(Debug)]
pub struct FrameWriter {
    side: WriteSide,
}

impl FrameWriter {
    /// Sends one message and waits until the socket has taken it.
    pub async fn send(&mut self, message: &Frames) -> io::Result<()> {
        self.send_pieces(frames::encode(&message.0).into()).await
    }

    pub async fn send_value(&mut self, message: &Value) -> io::Result<()> {
        self.send(&encode_value(message)).await
    }

    /// Sends one message, some frames of which come out of the spring or are read only then, piece by piece. When one of
    /// these cannot be read the stream is unusable.
    pub async fn send_lent(
        &mut self,
        message: Vec<Frame>,
        mut spring: Option<&mut Spring>,
    ) -> io::Result<()> {
        let lengths: Vec<usize> = message.iter().map(Frame::len).collect();
        let mut joined = frames::prelude(&lengths);
        let mut scratch = Vec::new();
        for frame in message {
            match frame {
                Frame::Here(frame) if frame.len() < frames::BIG_FRAME_BYTES => {
                    joined.extend_from_slice(&frame);
                }
                Frame::Here(frame) => {
                    let pieces = VecDeque::from([joined.split().freeze(), frame]);
                    self.write_pieces(pieces).await?;
                }
                Frame::Lent(frame) => {
                    let pieces = VecDeque::from([joined.split().freeze()]);
                    self.write_pieces(pieces).await?;
                    let spring = spring.as_deref_mut();
                    self.write_lent(&*frame, spring, &mut scratch).await?;
                }
            }
        }
        self.write_pieces(VecDeque::from([joined.freeze()])).await?;
        self.side.flush().await
    }

    async fn write_lent(
        &mut self,
        frame: &dyn LentFrame,
        spring: Option<&mut Spring>,
        scratch: &mut Vec<u8>,
    ) -> io::Result<()> {
        let mut done = 0;
        if let (Some(spring), Some(socket)) = (spring, self.side.plain()) {
            done = spring.pour(socket, frame.len()).await?;
        }
        if done < frame.len() {
            scratch.resize(LENT_BYTES, 0);
        }
        while done < frame.len() {
            let part = &mut scratch[..LENT_BYTES.min(frame.len() - done)];
            frame.read(done, part)?;
            self.side.write_all(part).await?;
            done += part.len();
        }
        Ok(())
    }

    /// Whether bytes are on the connection as they are, so that a [`Spring`] is of use.
    pub fn is_plain(&self) -> bool {
        self.side.plain().is_some()
    }

    /// Sends what [`frames::encode`] made.
    pub async fn send_pieces(&mut self, pieces: VecDeque<Bytes>) -> io::Result<()> {
        self.write_pieces(pieces).await?;
        self.side.flush().await
    }

    async fn write_pieces(&mut self, mut pieces: VecDeque<Bytes>) -> io::Result<()> {
        pieces.retain(|piece| !piece.is_empty());
        while !pieces.is_empty() {
            let written = if pieces.len() == 1 {
                self.side.write(&pieces[0]).await?
            } else {
                let slices: Vec<IoSlice<'_>> = pieces
                    .iter()
                    .take(PIECES_PER_WRITE)
                    .map(|piece| IoSlice::new(piece))
                    .collect();
                self.side.write_vectored(&slices).await?
            };
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            advance(&mut pieces, written);
        }
        Ok(())
    }

    /// Tells the peer that nothing follows.
    pub async fn shutdown(&mut self) -> io::Result<()> {
        self.side.shutdown().await
    }
}

fn advance(pieces: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(first) = pieces.front_mut() {
        if first.len() > written {
            first.advance(written);
            return;
        }
        written -= first.len();
        pieces.pop_front();
    }
}
