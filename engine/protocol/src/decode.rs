//! From frames to values: resolves the placeholders inside frame 0.
//!
//! A [`Decoder`] reads frame 0 item by item; typed messages use it directly, [`decode_message`] reads everything.
//! Invariant: the payloads of one message refer to at most as many frames as it has.

use bytes::Bytes;

use crate::error::DecodeError;
use crate::frames::Frames;
use crate::key::Key;
use crate::msgpack::{Kind, Reader};
use crate::payload::{Payload, SubHeader};
use crate::text::Text;
use crate::value::{EnumMember, Value};
use crate::writer::MessageWriter;

/// Decodes a whole message whose shape is not known.
pub fn decode_message(frames: &Frames) -> Result<Value, DecodeError> {
    let mut decoder = Decoder::new(frames)?;
    let value = decoder.read_value()?;
    decoder.finish()?;
    Ok(value)
}

/// Reads frame 0 of a message in order.
pub struct Decoder<'a> {
    pub reader: Reader<'a>,
    payloads: Payloads<'a>,
}

/// The frames placeholders may refer to.
struct Payloads<'a> {
    frames: &'a [Bytes],
    /// How many more frames placeholders may claim.
    claimable: usize,
}

impl<'a> Decoder<'a> {
    pub fn new(frames: &'a Frames) -> Result<Self, DecodeError> {
        let first = frames.0.first().ok_or(DecodeError::NoFrame)?;
        Ok(Self {
            reader: Reader::new(first),
            payloads: Payloads {
                frames: &frames.0,
                claimable: frames.0.len(),
            },
        })
    }

    /// Reads the next item with its placeholders resolved.
    pub fn read_value(&mut self) -> Result<Value, DecodeError> {
        let Self { reader, payloads } = self;
        Value::read_with(reader, 0, &mut |entries| payloads.resolve(entries))
    }

    /// Reads a value that is serialized or pickled, nearly always a placeholder and nothing else.
    pub fn read_payload(&mut self) -> Result<Payload, DecodeError> {
        let start = self.reader.position();
        if let Some(index) = self.placeholder_index()? {
            return self.payloads.payload(index);
        }
        self.reader.seek(start);
        match self.read_value()? {
            Value::Serialized(payload) | Value::Pickled(payload) => Ok(payload),
            other => Err(DecodeError::Unexpected {
                expected: "serialized value",
                found: other.type_name(),
                at: start,
            }),
        }
    }

    /// The frame that `{"__Pickled__": n}` or `{"__Serialized__": n}` names, if this is all there is.
    fn placeholder_index(&mut self) -> Result<Option<u64>, DecodeError> {
        if self.reader.kind()? != Kind::Map || self.reader.read_map_len()? != 1 {
            return Ok(None);
        }
        let named = self.reader.kind()? == Kind::Str
            && matches!(self.reader.read_str()?, b"__Pickled__" | b"__Serialized__");
        if !named || self.reader.kind()? != Kind::Int {
            return Ok(None);
        }
        let index = u64::try_from(self.reader.read_int()?).unwrap_or_default();
        Ok((index > 0).then_some(index))
    }

    /// Reads the names of tasks in an array or a set.
    pub fn read_keys(&mut self) -> Result<Vec<Key>, DecodeError> {
        if self.reader.kind()? == Kind::Map {
            return self.read_key_set();
        }
        let len = self.reader.read_array_len()?;
        let mut keys = Vec::with_capacity(len.min(4096));
        for _ in 0..len {
            keys.push(Key::read(&mut self.reader)?);
        }
        Ok(keys)
    }

    /// `{"__Set__": true, "as-list": [...]}`
    fn read_key_set(&mut self) -> Result<Vec<Key>, DecodeError> {
        let mut keys = None;
        for _ in 0..self.reader.read_map_len()? {
            match self.reader.read_str()? {
                b"as-list" if self.reader.kind()? == Kind::Array => keys = Some(self.read_keys()?),
                _ => self.reader.skip()?,
            }
        }
        keys.ok_or(DecodeError::Placeholder("__Set__"))
    }

    /// Checks that nothing is left over.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.reader.remaining() {
            0 => Ok(()),
            _ => Err(DecodeError::Trailing {
                at: self.reader.position(),
            }),
        }
    }
}

impl Payloads<'_> {
    /// Turns the entries of a map into what they stand for.
    fn resolve(&mut self, mut entries: Vec<(Value, Value)>) -> Result<Value, DecodeError> {
        let Some(at) = entries.iter().position(|(key, _)| is_placeholder(key)) else {
            return Ok(Value::Map(entries));
        };
        match (entries[at].0.as_str(), &entries[at].1) {
            (Some("__Serialized__"), Value::Int(index @ 1..)) => {
                self.payload(*index as u64).map(Value::Serialized)
            }
            (Some("__Pickled__"), Value::Int(index @ 1..)) => {
                self.payload(*index as u64).map(Value::Pickled)
            }
            (Some("__Serialized__"), Value::Bool(true)) => inline_payload(Value::Map(entries)),
            (Some("__Set__"), _) => {
                let items = take(&mut entries, "as-list").and_then(Value::into_array);
                items
                    .map(Value::Set)
                    .ok_or(DecodeError::Placeholder("__Set__"))
            }
            (Some("__Enum__"), _) => enum_member(entries),
            _ => Ok(Value::Map(entries)),
        }
    }

    fn payload(&mut self, index: u64) -> Result<Payload, DecodeError> {
        let count = self.frames.len();
        let out_of_range = || DecodeError::FrameIndex { index, count };
        let at = usize::try_from(index).map_err(|_| out_of_range())?;
        let header = self.frames.get(at).ok_or_else(out_of_range)?;
        let frame_count = SubHeader::read_frame_count(header)?;
        let end = (at + 1)
            .checked_add(frame_count)
            .filter(|end| *end <= count)
            .ok_or_else(out_of_range)?;
        self.claimable = self
            .claimable
            .checked_sub(1 + frame_count)
            .ok_or(DecodeError::FramesReused)?;
        Ok(Payload::new(
            header.clone(),
            self.frames[at + 1..end].to_vec(),
        ))
    }
}

fn is_placeholder(key: &Value) -> bool {
    let Value::Str(text) = key else { return false };
    text.as_bytes().starts_with(b"__")
        && matches!(
            text.as_bytes(),
            b"__Serialized__" | b"__Pickled__" | b"__Set__" | b"__Enum__"
        )
}

fn take(entries: &mut Vec<(Value, Value)>, field: &str) -> Option<Value> {
    let at = entries.iter().position(|(key, _)| key.is_str(field))?;
    Some(entries.swap_remove(at).1)
}

fn enum_member(mut entries: Vec<(Value, Value)>) -> Result<Value, DecodeError> {
    let mut text = |field| match take(&mut entries, field) {
        Some(Value::Str(text)) => Ok(text),
        _ => Err(DecodeError::Placeholder("__Enum__")),
    };
    let (member, module, class): (Text, Text, Text) =
        (text("name")?, text("__module__")?, text("__name__")?);
    Ok(Value::Enum(Box::new(EnumMember {
        module,
        class,
        member,
    })))
}

/// `{"__Serialized__": true, "data": [header, frames]}`: the header is a map here and becomes a frame of its own.
fn inline_payload(mut map: Value) -> Result<Value, DecodeError> {
    const WRONG: DecodeError = DecodeError::Placeholder("__Serialized__");
    let data = map.take("data").and_then(Value::into_array).ok_or(WRONG)?;
    let [mut header, frames] = <[Value; 2]>::try_from(data).map_err(|_| WRONG)?;
    let frames: Option<Vec<Bytes>> = frames
        .as_array()
        .ok_or(WRONG)?
        .iter()
        .map(|it| it.as_bytes().cloned())
        .collect();
    let frames = frames.ok_or(WRONG)?;
    if header.as_map().is_none() {
        return Err(WRONG);
    }
    header.set("num-sub-frames", frames.len());
    let mut writer = MessageWriter::new();
    writer.write_value(&header);
    let header = writer.finish().0.swap_remove(0);
    Ok(Value::Serialized(Payload::new(header, frames)))
}
