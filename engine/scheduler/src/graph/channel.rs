//! Messages between the scheduler and a helper process: framing only, the contents are its callers'.
//!
//! One message is `u32 kind, u32 request, u32 header length, u32 blob count, u64 length per blob, header, blobs`, little
//! endian; the header is MessagePack. The same layout and numbers are in `python/daskjob/graph_helper.py`. The buffer
//! grows with what has arrived, never with what a length promises.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt};

/// What a message is. Values below 32 come from the helper, the others go to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    Hello = 1,
    Begin = 2,
    Tasks = 3,
    End = 4,
    Error = 5,
    Value = 6,
    Query = 7,
    Failed = 8,
    Taken = 9,
    Materialize = 32,
    Load = 33,
    Versions = 35,
    Upload = 36,
    Run = 64,
    PluginAdd = 65,
    PluginRemove = 66,
    Hook = 67,
    Answer = 68,
    Close = 69,
    GroupWorkers = 70,
}

impl Kind {
    /// A kind that a helper may send.
    fn from_helper(number: u32) -> io::Result<Self> {
        Ok(match number {
            1 => Self::Hello,
            2 => Self::Begin,
            3 => Self::Tasks,
            4 => Self::End,
            5 => Self::Error,
            6 => Self::Value,
            7 => Self::Query,
            8 => Self::Failed,
            9 => Self::Taken,
            other => {
                let text = format!("message kind {other} from the graph helper");
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
        })
    }
}

/// A message from a helper.
#[derive(Debug)]
pub struct Message {
    pub kind: Kind,
    pub request: u32,
    pub header: Bytes,
    pub blobs: Vec<Bytes>,
}

const PRELUDE_BYTES: usize = 16;
const MAX_BLOBS: usize = 1 << 24;
const READ_BYTES: usize = 64 << 10;

/// Cuts messages out of a byte stream. Cancel-safe: an abandoned `next` loses nothing.
pub struct MessageReader<R> {
    stream: R,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> MessageReader<R> {
    pub fn new(stream: R) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
        }
    }

    /// The next message, or `None` at the end of the stream between two of them.
    pub async fn next(&mut self) -> io::Result<Option<Message>> {
        loop {
            if let Some(message) = self.cut()? {
                return Ok(Some(message));
            }
            self.buffer.reserve(READ_BYTES);
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return match self.buffer.is_empty() {
                    true => Ok(None),
                    false => Err(io::ErrorKind::UnexpectedEof.into()),
                };
            }
        }
    }

    fn cut(&mut self) -> io::Result<Option<Message>> {
        if self.buffer.len() < PRELUDE_BYTES {
            return Ok(None);
        }
        let mut prelude = &self.buffer[..PRELUDE_BYTES];
        let (kind, request) = (prelude.get_u32_le(), prelude.get_u32_le());
        let (header_len, blob_count) =
            (prelude.get_u32_le() as usize, prelude.get_u32_le() as usize);
        if blob_count > MAX_BLOBS {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "too many blobs in one message",
            ));
        }
        let sizes_end = PRELUDE_BYTES + 8 * blob_count;
        let Some(mut sizes) = self.buffer.get(PRELUDE_BYTES..sizes_end) else {
            return Ok(None);
        };
        let mut total = sizes_end as u64 + header_len as u64;
        while sizes.has_remaining() {
            total = total.saturating_add(sizes.get_u64_le());
        }
        if (self.buffer.len() as u64) < total {
            return Ok(None);
        }
        let mut message = self.buffer.split_to(total as usize).freeze();
        message.advance(PRELUDE_BYTES);
        let mut sizes = message.split_to(8 * blob_count);
        let header = message.split_to(header_len);
        let mut blobs = Vec::with_capacity(blob_count);
        while sizes.has_remaining() {
            blobs.push(message.split_to(sizes.get_u64_le() as usize));
        }
        Ok(Some(Message {
            kind: Kind::from_helper(kind)?,
            request,
            header,
            blobs,
        }))
    }
}

/// A message to a helper as pieces to write in order; blobs are not copied unless they are small.
pub fn encode(kind: Kind, request: u32, header: &[u8], blobs: &[Bytes]) -> Vec<Bytes> {
    const SMALL_BYTES: usize = 16 << 10;
    let mut pieces = Vec::with_capacity(1);
    let mut piece = BytesMut::with_capacity(PRELUDE_BYTES + 8 * blobs.len() + header.len() + 256);
    piece.put_u32_le(kind as u32);
    piece.put_u32_le(request);
    piece.put_u32_le(u32::try_from(header.len()).expect("our own headers are small"));
    piece.put_u32_le(u32::try_from(blobs.len()).expect("a message has fewer than 2^32 frames"));
    for blob in blobs {
        piece.put_u64_le(blob.len() as u64);
    }
    piece.extend_from_slice(header);
    for blob in blobs {
        if blob.len() <= SMALL_BYTES {
            piece.extend_from_slice(blob);
        } else {
            pieces.push(piece.split().freeze());
            pieces.push(blob.clone());
        }
    }
    if !piece.is_empty() {
        pieces.push(piece.freeze());
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_helper(kind: Kind, blobs: &[Bytes]) -> Vec<u8> {
        encode(kind, 7, b"\x80", blobs).concat()
    }

    #[tokio::test]
    async fn messages_survive_any_cut_of_the_stream() {
        let blobs = [
            Bytes::from_static(b"abc"),
            Bytes::new(),
            Bytes::from(vec![9; 40_000]),
        ];
        let sent = [
            from_helper(Kind::Hello, &[]),
            from_helper(Kind::Tasks, &blobs),
        ]
        .concat();
        for step in [1, 7, 4096, sent.len()] {
            let chunks = sent
                .chunks(step)
                .map(|chunk| Ok::<_, io::Error>(Bytes::copy_from_slice(chunk)));
            let mut reader = MessageReader::new(chunked(chunks.collect()));
            let first = reader.next().await.expect("reads").expect("a message");
            assert_eq!((first.kind, first.blobs.len()), (Kind::Hello, 0));
            let second = reader.next().await.expect("reads").expect("a message");
            assert_eq!(
                (second.kind, second.request, &second.blobs[..]),
                (Kind::Tasks, 7, &blobs[..])
            );
            assert!(reader.next().await.expect("ends cleanly").is_none());
        }
    }

    #[tokio::test]
    async fn a_declared_length_allocates_nothing() {
        let mut sent = Vec::new();
        sent.put_u32_le(Kind::Value as u32);
        sent.put_u32_le(0);
        sent.put_u32_le(0);
        sent.put_u32_le(1);
        sent.put_u64_le(1 << 60);
        let mut reader = MessageReader::new(&sent[..]);
        assert!(reader.next().await.is_err());
        assert!(reader.buffer.capacity() < 1 << 20);
    }

    #[tokio::test]
    async fn an_unknown_kind_is_an_error() {
        let sent = [&99_u32.to_le_bytes()[..], &[0; 12]].concat();
        assert!(MessageReader::new(&sent[..]).next().await.is_err());
    }

    /// A stream that delivers exactly these chunks.
    fn chunked(chunks: Vec<io::Result<Bytes>>) -> impl AsyncRead + Unpin {
        struct Chunks(std::collections::VecDeque<Bytes>);
        impl AsyncRead for Chunks {
            fn poll_read(
                mut self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
                out: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<io::Result<()>> {
                if let Some(mut chunk) = self.0.pop_front() {
                    let count = chunk.len().min(out.remaining());
                    out.put_slice(&chunk.split_to(count));
                    if !chunk.is_empty() {
                        self.0.push_front(chunk);
                    }
                }
                std::task::Poll::Ready(Ok(()))
            }
        }
        Chunks(
            chunks
                .into_iter()
                .map(|chunk| chunk.expect("in memory"))
                .collect(),
        )
    }
}
