//! The fields of one map, found by name without decoding the others.
//!
//! One pass notes where each value starts (`op` need not come first: workers send it near the end); lookups then begin
//! behind the last hit, so that fields asked for in the sender's order cost one comparison each.

use smallvec::SmallVec;

use crate::decode::Decoder;
use crate::error::DecodeError;
use crate::frames::Frames;
use crate::key::Key;
use crate::msgpack::Kind;
use crate::text::Text;
use crate::value::Value;

pub(super) struct Fields<'d, 'a> {
    decoder: &'d mut Decoder<'a>,
    entries: SmallVec<[(&'a [u8], usize); 16]>,
    op: &'a [u8],
    /// What errors call this message.
    name: &'static str,
    next: usize,
    start: usize,
}

/// Decodes a batch: an array of maps, or one map. The string "OK" ends it early.
pub(super) fn decode_batch<T>(
    frames: &Frames,
    decode_one: impl Fn(&mut Fields<'_, '_>) -> Result<T, DecodeError>,
) -> Result<Vec<T>, DecodeError> {
    let mut decoder = Decoder::new(frames)?;
    if decoder.reader.kind()? == Kind::Map {
        let message = one(&mut decoder, &decode_one)?;
        decoder.finish()?;
        return Ok(vec![message]);
    }
    let len = decoder.reader.read_array_len()?;
    let mut messages = Vec::with_capacity(len.min(1024));
    for _ in 0..len {
        if decoder.reader.kind()? == Kind::Str && decoder.reader.clone().read_str()? == b"OK" {
            return Ok(messages);
        }
        messages.push(one(&mut decoder, &decode_one)?);
    }
    decoder.finish()?;
    Ok(messages)
}

fn one<T>(
    decoder: &mut Decoder<'_>,
    decode_one: &impl Fn(&mut Fields<'_, '_>) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let mut fields = Fields::scan(decoder)?;
    let end = fields.decoder.reader.position();
    let message = decode_one(&mut fields)?;
    decoder.reader.seek(end);
    Ok(message)
}

impl<'d, 'a> Fields<'d, 'a> {
    fn scan(decoder: &'d mut Decoder<'a>) -> Result<Self, DecodeError> {
        let reader = &mut decoder.reader;
        let start = reader.position();
        let mut entries = SmallVec::new();
        let mut op = None;
        for _ in 0..reader.read_map_len()? {
            let field = reader.read_str()?;
            entries.push((field, reader.position()));
            if field == b"op" {
                op = Some(
                    reader
                        .read_str()
                        .map_err(|error| error.in_field("stream message", "op"))?,
                );
            } else {
                reader.skip()?;
            }
        }
        let op = op.ok_or(DecodeError::MissingField {
            op: "stream message",
            field: "op",
        })?;
        Ok(Self {
            decoder,
            entries,
            op,
            name: "",
            next: 0,
            start,
        })
    }

    pub(super) fn op(&self) -> &'a [u8] {
        self.op
    }

    /// Names the message in errors.
    pub(super) fn named(&mut self, name: &'static str) -> &mut Self {
        self.name = name;
        self
    }

    /// Moves to the value of a field; false if there is none.
    #[inline]
    fn find(&mut self, field: &'static str) -> bool {
        let field = field.as_bytes();
        let (before, after) = self.entries.split_at(self.next);
        let hit = after
            .iter()
            .position(|(name, _)| *name == field)
            .map(|at| at + before.len());
        let Some(at) = hit.or_else(|| before.iter().position(|(name, _)| *name == field)) else {
            return false;
        };
        self.next = at + 1;
        self.decoder.reader.seek(self.entries[at].1);
        true
    }

    #[inline]
    pub(super) fn required<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Decoder<'a>) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        if !self.find(field) {
            return Err(DecodeError::MissingField {
                op: self.name,
                field,
            });
        }
        read(self.decoder).map_err(|error| error.in_field(self.name, field))
    }

    /// A field that may be missing or nil.
    #[inline]
    pub(super) fn optional<T>(
        &mut self,
        field: &'static str,
        read: impl FnOnce(&mut Decoder<'a>) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        if !self.find(field)
            || self
                .decoder
                .reader
                .try_nil()
                .map_err(|error| error.in_field(self.name, field))?
        {
            return Ok(None);
        }
        read(self.decoder)
            .map(Some)
            .map_err(|error| error.in_field(self.name, field))
    }

    pub(super) fn key(&mut self) -> Result<Key, DecodeError> {
        self.required("key", |decoder| Key::read(&mut decoder.reader))
    }

    pub(super) fn keys(&mut self) -> Result<Vec<Key>, DecodeError> {
        self.required("keys", Decoder::read_keys)
    }

    /// Text, empty if missing.
    pub(super) fn text(&mut self, field: &'static str) -> Result<Text, DecodeError> {
        Ok(self
            .optional(field, |decoder| decoder.reader.read_text())?
            .unwrap_or_default())
    }

    /// Any value, nil if missing.
    pub(super) fn value(&mut self, field: &'static str) -> Result<Value, DecodeError> {
        Ok(self
            .optional(field, Decoder::read_value)?
            .unwrap_or_default())
    }

    /// The whole message as a value.
    pub(super) fn whole(&mut self) -> Result<Value, DecodeError> {
        self.decoder.reader.seek(self.start);
        self.decoder.read_value()
    }
}
