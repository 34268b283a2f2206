//! The two directions of a socket, plain or encrypted, as one type each.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_rustls::TlsStream;

/// What an unencrypted connection reads from: memory for frames may draw from it.
pub type PlainStream = TcpStream;

/// What arrives.
#[derive(Debug)]
pub enum ReadSide {
    Plain(OwnedReadHalf),
    Encrypted(tokio::io::ReadHalf<TlsStream<TcpStream>>),
}

/// What is sent.
#[derive(Debug)]
pub enum WriteSide {
    Plain(OwnedWriteHalf),
    Encrypted(tokio::io::WriteHalf<TlsStream<TcpStream>>),
}

impl ReadSide {
    pub fn plain(&self) -> Option<&PlainStream> {
        match self {
            Self::Plain(side) => Some(side.as_ref()),
            Self::Encrypted(_) => None,
        }
    }
}

impl WriteSide {
    pub fn plain(&self) -> Option<&PlainStream> {
        match self {
            Self::Plain(side) => Some(side.as_ref()),
            Self::Encrypted(_) => None,
        }
    }
}

pub fn split_plain(stream: TcpStream) -> (ReadSide, WriteSide) {
    let (read, write) = stream.into_split();
    (ReadSide::Plain(read), WriteSide::Plain(write))
}

pub fn split_encrypted(stream: TlsStream<TcpStream>) -> (ReadSide, WriteSide) {
    let (read, write) = tokio::io::split(stream);
    (ReadSide::Encrypted(read), WriteSide::Encrypted(write))
}

impl AsyncRead for ReadSide {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(side) => Pin::new(side).poll_read(context, buffer),
            Self::Encrypted(side) => Pin::new(side).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for WriteSide {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(side) => Pin::new(side).poll_write(context, bytes),
            Self::Encrypted(side) => Pin::new(side).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(side) => Pin::new(side).poll_write_vectored(context, pieces),
            Self::Encrypted(side) => Pin::new(side).poll_write_vectored(context, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(side) => side.is_write_vectored(),
            Self::Encrypted(side) => side.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(side) => Pin::new(side).poll_flush(context),
            Self::Encrypted(side) => Pin::new(side).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(side) => Pin::new(side).poll_shutdown(context),
            Self::Encrypted(side) => Pin::new(side).poll_shutdown(context),
        }
    }
}
