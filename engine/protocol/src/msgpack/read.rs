//! A cursor over one received frame.
//!
//! Invariants: never reads past the end, never allocates, and a failed read of an item says where it was. Lengths are
//! only believed as far as bytes are there: an array of n items needs at least n more bytes.

use bytes::Bytes;

use crate::DecodeError;
use crate::text::Text;

/// What the next item is, without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Nil,
    Bool,
    Int,
    Float,
    Str,
    Bin,
    Array,
    Map,
    Ext,
    Reserved,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Float => "float",
            Self::Str => "str",
            Self::Bin => "bin",
            Self::Array => "array",
            Self::Map => "map",
            Self::Ext => "ext",
            Self::Reserved => "reserved byte",
        }
    }

    /// Looked up, because this is asked for every item.
    #[inline]
    const fn of(marker: u8) -> Self {
        const KINDS: [Kind; 256] = {
            let mut kinds = [Kind::Nil; 256];
            let mut marker = 0;
            while marker < 256 {
                kinds[marker] = Kind::by_ranges(marker as u8);
                marker += 1;
            }
            kinds
        };
        KINDS[marker as usize]
    }

    const fn by_ranges(marker: u8) -> Self {
        match marker {
            0x00..=0x7f | 0xe0..=0xff | 0xcc..=0xd3 => Self::Int,
            0x80..=0x8f | 0xde | 0xdf => Self::Map,
            0x90..=0x9f | 0xdc | 0xdd => Self::Array,
            0xa0..=0xbf | 0xd9..=0xdb => Self::Str,
            0xc0 => Self::Nil,
            0xc1 => Self::Reserved,
            0xc2 | 0xc3 => Self::Bool,
            0xc4..=0xc6 => Self::Bin,
            0xc7..=0xc9 | 0xd4..=0xd8 => Self::Ext,
            0xca | 0xcb => Self::Float,
        }
    }
}

/// Reads MessagePack items in order.
#[derive(Clone)]
pub struct Reader<'a> {
    source: &'a Bytes,
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Reader<'a> {
    pub fn new(source: &'a Bytes) -> Self {
        Self {
            source,
            bytes: source,
            position: 0,
        }
    }

    #[inline]
    pub fn position(&self) -> usize {
        self.position
    }

    /// Goes to an earlier or later item; `position` must come from [`Self::position`].
    #[inline]
    pub fn seek(&mut self, position: usize) {
        self.position = position.min(self.bytes.len());
    }

    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// The bytes between an earlier position and here.
    pub fn since(&self, start: usize) -> &'a [u8] {
        &self.bytes[start..self.position]
    }

    /// The same without a copy.
    pub fn slice_since(&self, start: usize) -> Bytes {
        self.source.slice(start..self.position)
    }

    #[inline]
    pub fn kind(&self) -> Result<Kind, DecodeError> {
        self.peek().map(Kind::of)
    }

    #[inline]
    fn peek(&self) -> Result<u8, DecodeError> {
        self.bytes
            .get(self.position)
            .copied()
            .ok_or_else(|| self.truncated())
    }

    #[inline]
    fn marker(&mut self) -> Result<u8, DecodeError> {
        let marker = self.peek()?;
        self.position += 1;
        Ok(marker)
    }

    #[inline]
    fn take(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let rest = &self.bytes[self.position..];
        if len > rest.len() {
            return Err(DecodeError::Truncated { at: self.position });
        }
        self.position += len;
        Ok(&rest[..len])
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let rest = &self.bytes[self.position..];
        let bytes = rest.first_chunk::<N>().ok_or_else(|| self.truncated())?;
        self.position += N;
        Ok(*bytes)
    }

    #[inline]
    fn len_of(&mut self, size: u8) -> Result<usize, DecodeError> {
        Ok(match size {
            0 => usize::from(self.array::<1>()?[0]),
            1 => usize::from(u16::from_be_bytes(self.array()?)),
            _ => u32::from_be_bytes(self.array()?) as usize,
        })
    }

    #[cold]
    fn truncated(&self) -> DecodeError {
        DecodeError::Truncated { at: self.position }
    }

    #[cold]
    fn unexpected(&self, expected: &'static str, marker: u8, at: usize) -> DecodeError {
        DecodeError::Unexpected {
            expected,
            found: Kind::of(marker).name(),
            at,
        }
    }

    /// Steps over nil if it is next.
    #[inline]
    pub fn try_nil(&mut self) -> Result<bool, DecodeError> {
        let is_nil = self.peek()? == 0xc0;
        self.position += usize::from(is_nil);
        Ok(is_nil)
    }

    pub fn read_bool(&mut self) -> Result<bool, DecodeError> {
        let at = self.position;
        match self.marker()? {
            0xc2 => Ok(false),
            0xc3 => Ok(true),
            other => Err(self.unexpected("bool", other, at)),
        }
    }

    /// An integer, or a bool as Python counts it; beyond 64 bits is an error.
    #[inline]
    pub fn read_int(&mut self) -> Result<i128, DecodeError> {
        let at = self.position;
        Ok(match self.marker()? {
            small @ 0..0x80 => i128::from(small),
            small @ 0xe0.. => i128::from(small as i8),
            0xcc => i128::from(self.array::<1>()?[0]),
            0xcd => i128::from(u16::from_be_bytes(self.array()?)),
            0xce => i128::from(u32::from_be_bytes(self.array()?)),
            0xcf => i128::from(u64::from_be_bytes(self.array()?)),
            0xd0 => i128::from(i8::from_be_bytes(self.array()?)),
            0xd1 => i128::from(i16::from_be_bytes(self.array()?)),
            0xd2 => i128::from(i32::from_be_bytes(self.array()?)),
            0xd3 => i128::from(i64::from_be_bytes(self.array()?)),
            bool @ (0xc2 | 0xc3) => i128::from(bool == 0xc3),
            other => return Err(self.unexpected("int", other, at)),
        })
    }

    #[inline]
    pub fn read_i64(&mut self) -> Result<i64, DecodeError> {
        let at = self.position;
        i64::try_from(self.read_int()?).map_err(|_| DecodeError::IntegerRange { at })
    }

    #[inline]
    pub fn read_u64(&mut self) -> Result<u64, DecodeError> {
        let at = self.position;
        u64::try_from(self.read_int()?).map_err(|_| DecodeError::IntegerRange { at })
    }

    /// A float, or an integer as Python's arithmetic would take it.
    #[inline]
    pub fn read_f64(&mut self) -> Result<f64, DecodeError> {
        match self.peek()? {
            0xcb => {
                self.position += 1;
                Ok(f64::from_be_bytes(self.array()?))
            }
            0xca => {
                self.position += 1;
                Ok(f64::from(f32::from_be_bytes(self.array()?)))
            }
            other if Kind::of(other) == Kind::Int => Ok(self.read_int()? as f64),
            other => Err(self.unexpected("number", other, self.position)),
        }
    }

    #[inline]
    pub fn read_str(&mut self) -> Result<&'a [u8], DecodeError> {
        let at = self.position;
        let len = match self.marker()? {
            short @ 0xa0..0xc0 => usize::from(short & 0x1f),
            long @ 0xd9..=0xdb => self.len_of(long - 0xd9)?,
            other => return Err(self.unexpected("str", other, at)),
        };
        self.take(len)
    }

    #[inline]
    pub fn read_text(&mut self) -> Result<Text, DecodeError> {
        let bytes = self.read_str()?;
        Ok(Text::from_bytes(
            self.source
                .slice(self.position - bytes.len()..self.position),
        ))
    }

    #[inline]
    pub fn read_bin(&mut self) -> Result<&'a [u8], DecodeError> {
        let at = self.position;
        let len = match self.marker()? {
            long @ 0xc4..=0xc6 => self.len_of(long - 0xc4)?,
            other => return Err(self.unexpected("bin", other, at)),
        };
        self.take(len)
    }

    /// The same without a copy.
    #[inline]
    pub fn read_bytes(&mut self) -> Result<Bytes, DecodeError> {
        let bytes = self.read_bin()?;
        Ok(self
            .source
            .slice(self.position - bytes.len()..self.position))
    }

    /// The number of items that follow; never more than bytes remain.
    #[inline]
    pub fn read_array_len(&mut self) -> Result<usize, DecodeError> {
        let at = self.position;
        let len = match self.marker()? {
            short @ 0x90..0xa0 => usize::from(short & 0x0f),
            long @ (0xdc | 0xdd) => self.len_of(long - 0xdb)?,
            other => return Err(self.unexpected("array", other, at)),
        };
        self.believable(len, at)
    }

    /// The number of entries that follow; never more than half the bytes that remain.
    #[inline]
    pub fn read_map_len(&mut self) -> Result<usize, DecodeError> {
        let at = self.position;
        let len = match self.marker()? {
            short @ 0x80..0x90 => usize::from(short & 0x0f),
            long @ (0xde | 0xdf) => self.len_of(long - 0xdd)?,
            other => return Err(self.unexpected("map", other, at)),
        };
        self.believable(len.saturating_mul(2), at)?;
        Ok(len)
    }

    #[inline]
    fn believable(&self, items: usize, at: usize) -> Result<usize, DecodeError> {
        if items > self.remaining() {
            return Err(DecodeError::Truncated { at });
        }
        Ok(items)
    }

    /// Steps over one item, however deeply it is nested.
    pub fn skip(&mut self) -> Result<(), DecodeError> {
        let mut pending: u64 = 1;
        while pending > 0 {
            pending += self.skip_one()?;
            pending -= 1;
        }
        Ok(())
    }

    /// Steps over one item and says how many items it holds.
    #[inline]
    fn skip_one(&mut self) -> Result<u64, DecodeError> {
        let at = self.position;
        let marker = self.marker()?;
        let body = match marker {
            0x00..0x80 | 0xe0.. | 0xc0 | 0xc2 | 0xc3 => return Ok(0),
            0x80..0x90 => return Ok(2 * u64::from(marker & 0x0f)),
            0x90..0xa0 => return Ok(u64::from(marker & 0x0f)),
            0xdc | 0xdd => return Ok(self.len_of(marker - 0xdb)? as u64),
            0xde | 0xdf => return Ok(2 * self.len_of(marker - 0xdd)? as u64),
            0xa0..0xc0 => usize::from(marker & 0x1f),
            0xd9..=0xdb => self.len_of(marker - 0xd9)?,
            0xc4..=0xc6 => self.len_of(marker - 0xc4)?,
            0xc7..=0xc9 => self.len_of(marker - 0xc7)? + 1,
            0xcc | 0xd0 => 1,
            0xcd | 0xd1 | 0xd4 => 2,
            0xca | 0xce | 0xd2 => 4,
            0xd5 => 3,
            0xd6 => 5,
            0xcb | 0xcf | 0xd3 => 8,
            0xd7 => 9,
            0xd8 => 17,
            0xc1 => return Err(self.unexpected("an item", marker, at)),
        };
        self.take(body)?;
        Ok(0)
    }
}
