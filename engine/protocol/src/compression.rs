//! Opening compressed frames. We never compress: the handshake advertises none.
//!
//! Invariant: memory for the result grows with what the input can really hold, whatever size it declares.

use std::io::Read;

use bytes::Bytes;

use crate::error::DecodeError;
use crate::text::Text;

/// How one frame is compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Lz4,
    Zstd,
    /// A codec we do not have, such as zlib or snappy.
    Other(Text),
}

/// A frame that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    #[error("payload header: {0}")]
    Header(#[from] DecodeError),
    #[error("compression {0} is not supported")]
    Unsupported(Text),
    #[error("lz4 frame is corrupt")]
    Lz4,
    #[error("zstd frame is corrupt")]
    Zstd(#[source] std::io::Error),
}

/// One byte of an lz4 block never stands for more than this many.
const LZ4_MAX_RATIO: usize = 255;

impl Compression {
    pub fn named(name: Text) -> Self {
        match name.as_bytes() {
            b"lz4" => Self::Lz4,
            b"zstd" => Self::Zstd,
            _ => Self::Other(name),
        }
    }

    pub fn decompress(&self, frame: &Bytes) -> Result<Bytes, DecompressError> {
        match self {
            Self::None => Ok(frame.clone()),
            Self::Lz4 => decompress_lz4(frame),
            Self::Zstd => decompress_zstd(frame),
            Self::Other(name) => Err(DecompressError::Unsupported(name.clone())),
        }
    }
}

/// python-lz4's block format: 4 bytes of size, little-endian, then the block.
fn decompress_lz4(frame: &Bytes) -> Result<Bytes, DecompressError> {
    let (size, block) = frame.split_first_chunk::<4>().ok_or(DecompressError::Lz4)?;
    let size = u32::from_le_bytes(*size) as usize;
    if size > block.len().saturating_mul(LZ4_MAX_RATIO) + 64 {
        return Err(DecompressError::Lz4);
    }
    let content = lz4_flex::block::decompress(block, size).map_err(|_| DecompressError::Lz4)?;
    if content.len() == size {
        Ok(content.into())
    } else {
        Err(DecompressError::Lz4)
    }
}

fn decompress_zstd(frame: &Bytes) -> Result<Bytes, DecompressError> {
    let mut content = Vec::new();
    let mut decoder =
        zstd::stream::read::Decoder::new(frame.as_ref()).map_err(DecompressError::Zstd)?;
    decoder
        .read_to_end(&mut content)
        .map_err(DecompressError::Zstd)?;
    Ok(content.into())
}
