//! Values that stay bytes: a sub-header frame and the buffers it describes.
//!
//! The sub-header is kept byte for byte, so that what is forwarded is what was received. Buffers are never copied here
//! except by [`Payload::detached`] and decompression.

use std::sync::Arc;

use bytes::Bytes;

use crate::compression::{Compression, DecompressError};
use crate::error::DecodeError;
use crate::msgpack::{self, Reader};
use crate::text::Text;
use crate::value::Value;

/// A serialized or pickled value; cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    header: Bytes,
    /// None instead of an empty slice saves an allocation for each of many small pickles.
    frames: Option<Arc<[Bytes]>>,
}

/// What a sub-header says, as far as we need it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SubHeader {
    pub serializer: Option<Text>,
    /// One entry per frame; shorter or empty means not compressed.
    pub compression: Vec<Compression>,
    pub frame_count: usize,
    pub pickled: Option<Bytes>,
}

impl Payload {
    pub fn new(header: Bytes, frames: Vec<Bytes>) -> Self {
        let frames = if frames.is_empty() {
            None
        } else {
            Some(Arc::from(frames))
        };
        Self { header, frames }
    }

    /// A value for `__Pickled__`: the receiver opens the pickle on arrival.
    pub fn pickled(pickle: &[u8], buffers: Vec<Bytes>) -> Self {
        let mut header = Vec::with_capacity(pickle.len() + 56 + buffers.len());
        write_pickled_header(&mut header, &[pickle], buffers.len());
        Self::new(header.into(), buffers)
    }

    /// A value for `__Serialized__` that unpickles to what `pickle` holds.
    pub fn serialized_pickle(pickle: Bytes) -> Self {
        let mut header = Vec::with_capacity(80);
        msgpack::write_map_len(&mut header, 4);
        header.extend_from_slice(snippet!("serializer"));
        header.extend_from_slice(snippet!("pickle"));
        header.extend_from_slice(snippet!("writeable"));
        msgpack::write_array_len(&mut header, 0);
        header.extend_from_slice(snippet!("compression"));
        msgpack::write_array_len(&mut header, 1);
        msgpack::write_nil(&mut header);
        header.extend_from_slice(snippet!("num-sub-frames"));
        msgpack::write_i64(&mut header, 1);
        Self::new(header.into(), vec![pickle])
    }

    /// A value for `__Serialized__` that the receiver reads as `bytes`. Exceptions travel so: the bytes are a pickle.
    pub fn serialized_bytes(content: &[u8]) -> Self {
        Self::serialized_pickle(crate::pickle::bytes_pickle(content))
    }

    /// The sub-header frame.
    pub fn header(&self) -> &Bytes {
        &self.header
    }

    pub fn frames(&self) -> &[Bytes] {
        self.frames.as_deref().unwrap_or_default()
    }

    /// Bytes of the header and all frames.
    pub fn total_len(&self) -> usize {
        self.header.len() + self.frames().iter().map(Bytes::len).sum::<usize>()
    }

    /// A copy that keeps no received message alive.
    pub fn detached(&self) -> Self {
        Self {
            header: Bytes::copy_from_slice(&self.header),
            frames: self
                .frames
                .as_ref()
                .map(|frames| frames.iter().map(|it| Bytes::copy_from_slice(it)).collect()),
        }
    }

    pub fn sub_header(&self) -> Result<SubHeader, DecodeError> {
        SubHeader::read(&self.header)
    }

    /// The pickle and its buffers, decompressed, of a `__Pickled__` value.
    pub fn pickle(&self) -> Result<(Bytes, Vec<Bytes>), DecompressError> {
        let header = self.sub_header()?;
        let pickle = header
            .pickled
            .clone()
            .ok_or(DecodeError::PayloadHeader("no pickled-obj"))?;
        Ok((pickle, self.decompressed_with(&header)?))
    }

    /// The frames, decompressed where the header says so.
    pub fn decompressed(&self) -> Result<Vec<Bytes>, DecompressError> {
        self.decompressed_with(&self.sub_header()?)
    }

    fn decompressed_with(&self, header: &SubHeader) -> Result<Vec<Bytes>, DecompressError> {
        let frames = self.frames().iter().enumerate();
        frames
            .map(|(index, frame)| match header.compression.get(index) {
                Some(compression) => compression.decompress(frame),
                None => Ok(frame.clone()),
            })
            .collect()
    }
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            out,
            "Payload({} header bytes, {} frames, {} bytes)",
            self.header.len(),
            self.frames().len(),
            self.total_len()
        )
    }
}

/// The sub-header of a pickle that need not be a payload first.
pub(crate) fn write_pickled_header(out: &mut Vec<u8>, pickle: &[&[u8]], buffers: usize) {
    msgpack::write_map_len(out, 3);
    out.extend_from_slice(snippet!("pickled-obj"));
    msgpack::write_bin_len(out, pickle.iter().map(|part| part.len()).sum());
    pickle.iter().for_each(|part| out.extend_from_slice(part));
    out.extend_from_slice(snippet!("num-sub-frames"));
    msgpack::write_u64(out, buffers as u64);
    out.extend_from_slice(snippet!("compression"));
    msgpack::write_array_len(out, buffers);
    for _ in 0..buffers {
        msgpack::write_nil(out);
    }
}

impl SubHeader {
    pub fn read(frame: &Bytes) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(frame);
        let mut header = Self::default();
        let mut frame_count = None;
        for _ in 0..reader.read_map_len()? {
            let Ok(field) = reader.read_str() else {
                return Err(DecodeError::PayloadHeader("field name is not a string"));
            };
            match field {
                b"serializer" => header.serializer = Some(reader.read_text()?),
                b"pickled-obj" => header.pickled = Some(reader.read_bytes()?),
                b"compression" => header.compression = read_compression(&mut reader)?,
                b"num-sub-frames" => frame_count = Some(reader.read_u64()?),
                _ => reader.skip()?,
            }
        }
        let count = frame_count.ok_or(DecodeError::PayloadHeader("no num-sub-frames"))?;
        header.frame_count = usize::try_from(count)
            .map_err(|_| DecodeError::PayloadHeader("num-sub-frames too large"))?;
        Ok(header)
    }

    /// Only the number of frames: what decoding a message needs of every payload.
    pub(crate) fn read_frame_count(frame: &Bytes) -> Result<usize, DecodeError> {
        let mut reader = Reader::new(frame);
        for _ in 0..reader.read_map_len()? {
            match reader.read_str()? {
                b"num-sub-frames" => {
                    let count = reader.read_u64()?;
                    return usize::try_from(count)
                        .map_err(|_| DecodeError::PayloadHeader("num-sub-frames too large"));
                }
                _ => reader.skip()?,
            }
        }
        Err(DecodeError::PayloadHeader("no num-sub-frames"))
    }
}

fn read_compression(reader: &mut Reader<'_>) -> Result<Vec<Compression>, DecodeError> {
    if reader.try_nil()? {
        return Ok(Vec::new());
    }
    let len = reader.read_array_len()?;
    let mut names = Vec::with_capacity(len.min(64));
    for _ in 0..len {
        names.push(match Value::read_plain(reader)? {
            Value::Nil | Value::Bool(false) => Compression::None,
            Value::Str(name) => Compression::named(name),
            _ => return Err(DecodeError::PayloadHeader("compression is not a name")),
        });
    }
    Ok(names)
}
