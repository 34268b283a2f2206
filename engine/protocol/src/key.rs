//! Names of tasks.
//!
//! A [`Key`] is 8 bytes, immutable and cheap to clone: a pointer to its hash and its canonical MessagePack encoding.
//! Invariant: two keys that are equal in Python (`1 == 1.0 == True`, list or tuple) have the same bytes here, because
//! integral floats and bools become shortest integers when a key is made.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{BuildHasherDefault, Hash, Hasher};

use bytes::Bytes;
use smallvec::SmallVec;
use triomphe::ThinArc;

use crate::key_text;
use crate::msgpack::{self, Kind, Reader};
use crate::text::Text;
use crate::value::Value;
use crate::{DecodeError, KeyError};

/// How deeply tuples may be nested in a key.
const MAX_DEPTH: usize = 32;

/// The name of a task: a string, a number, or a (nested) tuple of these.
#[derive(Clone)]
pub struct Key(ThinArc<u64, u8>);

impl Key {
    /// A string key.
    pub fn str(text: &str) -> Self {
        Self::from_str_bytes(text.as_bytes())
    }

    /// A string key that need not be UTF-8 (a Python `str` may hold surrogates).
    pub fn from_str_bytes(text: &[u8]) -> Self {
        let mut encoded = SmallVec::<[u8; 128]>::new();
        let mut header = [0; 5];
        let header_len = str_header(text.len(), &mut header);
        encoded.extend_from_slice(&header[..header_len]);
        encoded.extend_from_slice(text);
        Self::from_canonical(&encoded)
    }

    /// An integer key.
    pub fn int(value: i64) -> Self {
        let mut encoded = Vec::with_capacity(9);
        msgpack::write_i64(&mut encoded, value);
        Self::from_canonical(&encoded)
    }

    /// A tuple of keys, such as `('x', 0)`.
    pub fn tuple(items: &[Self]) -> Self {
        let mut encoded = Vec::new();
        msgpack::write_array_len(&mut encoded, items.len());
        for item in items {
            encoded.extend_from_slice(item.as_msgpack());
        }
        Self::from_canonical(&encoded)
    }

    /// Reads a key from its MessagePack encoding, which need not be canonical.
    pub fn from_msgpack(bytes: &[u8]) -> Result<Self, DecodeError> {
        let source = Bytes::copy_from_slice(bytes);
        let mut reader = Reader::new(&source);
        let key = Self::read(&mut reader)?;
        match reader.remaining() {
            0 => Ok(key),
            _ => Err(DecodeError::Trailing {
                at: reader.position(),
            }),
        }
    }

    /// Reads the next item of a message as a key.
    #[inline]
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        if reader.kind()? == Kind::Str {
            let start = reader.position();
            let text = reader.read_str()?;
            let encoded = reader.since(start);
            if is_canonical_str(encoded, text.len()) {
                return Ok(Self::from_canonical(encoded));
            }
            return Ok(Self::from_str_bytes(text));
        }
        let mut canonical = Vec::with_capacity(32);
        canonicalise(reader, &mut canonical, 0)?;
        Ok(Self::from_canonical(&canonical))
    }

    #[inline]
    fn from_canonical(encoded: &[u8]) -> Self {
        Self(ThinArc::from_header_and_slice(hash_bytes(encoded), encoded))
    }

    /// The canonical MessagePack encoding.
    #[inline]
    pub fn as_msgpack(&self) -> &[u8] {
        &self.0.slice
    }

    /// The hash, computed when the key was made; the same in every process.
    #[inline]
    pub fn hash64(&self) -> u64 {
        self.0.header.header
    }

    /// The text of a string key without surrogates.
    pub fn as_str(&self) -> Option<&str> {
        std::str::from_utf8(self.as_str_bytes()?).ok()
    }

    /// The bytes of a string key.
    pub fn as_str_bytes(&self) -> Option<&[u8]> {
        let encoded = self.as_msgpack();
        match encoded[0] {
            0xa0..0xc0 => Some(&encoded[1..]),
            0xd9 => Some(&encoded[2..]),
            0xda => Some(&encoded[3..]),
            0xdb => Some(&encoded[5..]),
            _ => None,
        }
    }

    /// The items of a tuple key.
    pub fn as_tuple(&self) -> Option<Vec<Self>> {
        let source = Bytes::copy_from_slice(self.as_msgpack());
        let mut reader = Reader::new(&source);
        let len = reader.read_array_len().ok()?;
        (0..len).map(|_| Self::read(&mut reader).ok()).collect()
    }

    /// The key as a value of a message.
    pub fn to_value(&self) -> Value {
        if let Some(text) = self.as_str_bytes() {
            return Value::Str(Text::from_bytes(Bytes::copy_from_slice(text)));
        }
        let source = Bytes::copy_from_slice(self.as_msgpack());
        Value::read_plain(&mut Reader::new(&source)).expect("a key is valid MessagePack")
    }

    /// Whether both are the same allocation.
    #[inline]
    pub fn same(&self, other: &Self) -> bool {
        std::ptr::eq(self.0.ptr(), other.0.ptr())
    }

    /// The bytes this key holds on the heap.
    pub fn heap_bytes(&self) -> usize {
        3 * size_of::<usize>() + self.as_msgpack().len()
    }
}

fn str_header(len: usize, header: &mut [u8; 5]) -> usize {
    match len {
        0..32 => {
            header[0] = 0xa0 | len as u8;
            1
        }
        32..0x100 => {
            header[..2].copy_from_slice(&[0xd9, len as u8]);
            2
        }
        0x100..0x1_0000 => {
            header[0] = 0xda;
            header[1..3].copy_from_slice(&(len as u16).to_be_bytes());
            3
        }
        _ => {
            header[0] = 0xdb;
            header[1..5].copy_from_slice(&(len as u32).to_be_bytes());
            5
        }
    }
}

fn is_canonical_str(encoded: &[u8], text_len: usize) -> bool {
    encoded.len() - text_len == str_header(text_len, &mut [0; 5])
}

/// Copies one item in the only form equal keys share.
fn canonicalise(
    reader: &mut Reader<'_>,
    out: &mut Vec<u8>,
    depth: usize,
) -> Result<(), DecodeError> {
    match reader.kind()? {
        Kind::Str => msgpack::write_str_bytes(out, reader.read_str()?),
        Kind::Int | Kind::Bool => write_int(out, reader.read_int()?),
        Kind::Float => canonical_float(reader.read_f64()?, out)?,
        Kind::Array if depth == MAX_DEPTH => return Err(KeyError::TooDeep.into()),
        Kind::Array => {
            let len = reader.read_array_len()?;
            msgpack::write_array_len(out, len);
            for _ in 0..len {
                canonicalise(reader, out, depth + 1)?;
            }
        }
        other => return Err(KeyError::Type(other.name()).into()),
    }
    Ok(())
}

fn write_int(out: &mut Vec<u8>, value: i128) {
    match i64::try_from(value) {
        Ok(value) => msgpack::write_i64(out, value),
        Err(_) => msgpack::write_u64(out, value as u64),
    }
}

fn canonical_float(value: f64, out: &mut Vec<u8>) -> Result<(), KeyError> {
    const TWO_POW_64: f64 = 18_446_744_073_709_551_616.0;
    const TWO_POW_63: f64 = 9_223_372_036_854_775_808.0;
    if value.is_nan() {
        return Err(KeyError::NotANumber);
    }
    if value.fract() == 0.0 && (-TWO_POW_63..TWO_POW_64).contains(&value) {
        write_int(out, value as i128);
    } else {
        msgpack::write_f64(out, value);
    }
    Ok(())
}

/// Mixes 16 bytes at a time by multiplying; fixed seed, because cores must be deterministic.
fn hash_bytes(bytes: &[u8]) -> u64 {
    const A: u64 = 0x9e37_79b9_7f4a_7c15;
    const B: u64 = 0xe703_7ed1_a0b4_28db;
    let mut state = A ^ (bytes.len() as u64).wrapping_mul(B);
    let mut chunks = bytes.chunks_exact(16);
    for chunk in &mut chunks {
        let (low, high) = chunk.split_at(8);
        state = fold(state ^ word(low), B ^ word(high));
    }
    let tail = chunks.remainder();
    let (low, high) = tail.split_at(tail.len().min(8));
    state = fold(state ^ word(low), B ^ word(high));
    fold(state ^ A, B)
}

#[inline]
fn fold(left: u64, right: u64) -> u64 {
    let product = u128::from(left) * u128::from(right);
    product as u64 ^ (product >> 64) as u64
}

#[inline]
fn word(bytes: &[u8]) -> u64 {
    match bytes.first_chunk::<8>() {
        Some(whole) => u64::from_le_bytes(*whole),
        None => {
            let mut padded = [0; 8];
            padded[..bytes.len()].copy_from_slice(bytes);
            u64::from_le_bytes(padded)
        }
    }
}

impl PartialEq for Key {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        self.same(other)
            || (self.hash64() == other.hash64() && self.as_msgpack() == other.as_msgpack())
    }
}

impl Eq for Key {}

impl Hash for Key {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash64());
    }
}

/// For maps keyed by [`Key`]: the hash is already there.
pub type KeyBuildHasher = BuildHasherDefault<KeyHasher>;

/// Passes the hash of a key through.
#[derive(Clone, Copy, Default)]
pub struct KeyHasher(u64);

impl Hasher for KeyHasher {
    #[inline]
    fn finish(&self) -> u64 {
        self.0
    }

    #[inline]
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = hash_bytes(bytes);
    }
}

impl Ord for Key {
    /// Numbers by value, strings by bytes, tuples item by item; numbers before strings before tuples.
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.as_str_bytes(), other.as_str_bytes()) {
            (Some(left), Some(right)) => left.cmp(right),
            _ => key_text::compare(&self.to_value(), &other.to_value()),
        }
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl TryFrom<&Value> for Key {
    type Error = KeyError;

    fn try_from(value: &Value) -> Result<Self, KeyError> {
        if let Value::Str(text) = value {
            return Ok(Self::from_str_bytes(text.as_bytes()));
        }
        let mut encoded = Vec::with_capacity(32);
        encode_value(value, &mut encoded, 0)?;
        Ok(Self::from_canonical(&encoded))
    }
}

fn encode_value(value: &Value, out: &mut Vec<u8>, depth: usize) -> Result<(), KeyError> {
    match value {
        Value::Str(text) => msgpack::write_str_bytes(out, text.as_bytes()),
        Value::Bool(value) => msgpack::write_i64(out, i64::from(*value)),
        Value::Int(value) => msgpack::write_i64(out, *value),
        Value::UInt(value) => msgpack::write_u64(out, *value),
        Value::Float(value) => canonical_float(*value, out)?,
        Value::Array(_) if depth == MAX_DEPTH => return Err(KeyError::TooDeep),
        Value::Array(items) => {
            msgpack::write_array_len(out, items.len());
            for item in items {
                encode_value(item, out, depth + 1)?;
            }
        }
        other => return Err(KeyError::Type(other.type_name())),
    }
    Ok(())
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self::str(text)
    }
}

impl From<i64> for Key {
    fn from(value: i64) -> Self {
        Self::int(value)
    }
}

impl fmt::Display for Key {
    /// As Python's `str(key)`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_str_bytes() {
            Some(text) => out.write_str(&String::from_utf8_lossy(text)),
            None => key_text::write_repr(out, &self.to_value()),
        }
    }
}

impl fmt::Debug for Key {
    /// As Python's `repr(key)`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        key_text::write_repr(out, &self.to_value())
    }
}
