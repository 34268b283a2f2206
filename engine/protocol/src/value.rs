//! A decoded message where its shape is not known beforehand: what RPC handlers read and answer with.
//!
//! Maps keep their order and may have any key, as in Python; strings, bytes and frames are slices of what was received.

use bytes::Bytes;

use crate::error::DecodeError;
use crate::key::Key;
use crate::msgpack::{Kind, Reader};
use crate::payload::Payload;
use crate::text::Text;

/// Deeper messages are refused, as Python's msgpack does.
pub const MAX_DEPTH: usize = 1024;

/// Any value of a Dask message.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    #[default]
    Nil,
    Bool(bool),
    Int(i64),
    /// Only beyond `i64::MAX`.
    UInt(u64),
    Float(f64),
    Str(Text),
    Bin(Bytes),
    Array(Vec<Value>),
    Map(Vec<(Value, Value)>),
    /// A Python set.
    Set(Vec<Value>),
    Enum(Box<EnumMember>),
    /// A value that stays opaque until it reaches its reader.
    Serialized(Payload),
    /// A pickle that a Python scheduler would open on arrival.
    Pickled(Payload),
}

/// A member of a Python enum, by name.
#[derive(Clone, Debug, PartialEq)]
pub struct EnumMember {
    pub module: Text,
    pub class: Text,
    pub member: Text,
}

/// Builds a map value: `map! {"status" => "OK", "time" => 1.5}`.
#[macro_export]
macro_rules! map {
    ($($field:expr => $value:expr),* $(,)?) => {
        $crate::Value::Map(vec![$(($crate::Value::from($field), $crate::Value::from($value))),*])
    };
}

/// Builds an array value: `array!["add", workers]`.
#[macro_export]
macro_rules! array {
    ($($item:expr),* $(,)?) => {
        $crate::Value::Array(vec![$($crate::Value::from($item)),*])
    };
}

impl Value {
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "bool",
            Self::Int(_) | Self::UInt(_) => "int",
            Self::Float(_) => "float",
            Self::Str(_) => "str",
            Self::Bin(_) => "bin",
            Self::Array(_) => "array",
            Self::Map(_) => "map",
            Self::Set(_) => "set",
            Self::Enum(_) => "enum",
            Self::Serialized(_) => "serialized value",
            Self::Pickled(_) => "pickled value",
        }
    }

    /// Text of a static string, without a copy.
    pub const fn text(text: &'static str) -> Self {
        Self::Str(Text::from_static(text))
    }

    /// The entry of a map with this string as key.
    pub fn get(&self, field: &str) -> Option<&Self> {
        let Self::Map(entries) = self else {
            return None;
        };
        entries
            .iter()
            .find(|(key, _)| key.is_str(field))
            .map(|(_, value)| value)
    }

    pub fn get_mut(&mut self, field: &str) -> Option<&mut Self> {
        let Self::Map(entries) = self else {
            return None;
        };
        entries
            .iter_mut()
            .find(|(key, _)| key.is_str(field))
            .map(|(_, value)| value)
    }

    /// Removes an entry of a map and returns its value.
    pub fn take(&mut self, field: &str) -> Option<Self> {
        let Self::Map(entries) = self else {
            return None;
        };
        let index = entries.iter().position(|(key, _)| key.is_str(field))?;
        Some(entries.remove(index).1)
    }

    /// Sets an entry of a map, keeping its place if it exists. Does nothing to other values.
    pub fn set(&mut self, field: &'static str, value: impl Into<Self>) {
        if let Some(slot) = self.get_mut(field) {
            *slot = value.into();
        } else if let Self::Map(entries) = self {
            entries.push((Self::text(field), value.into()));
        }
    }

    pub fn is_nil(&self) -> bool {
        matches!(self, Self::Nil)
    }

    pub fn is_str(&self, text: &str) -> bool {
        matches!(self, Self::Str(own) if own == text)
    }

    /// The text, unless it holds surrogates.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => text.as_str(),
            _ => None,
        }
    }

    pub fn as_text(&self) -> Option<&Text> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// An integer, a bool as 0 or 1, or a float without a fraction.
    pub fn as_i64(&self) -> Option<i64> {
        match self {
            Self::Int(value) => Some(*value),
            Self::Bool(value) => Some(i64::from(*value)),
            Self::Float(value) if value.fract() == 0.0 && value.abs() < 9.2e18 => {
                Some(*value as i64)
            }
            _ => None,
        }
    }

    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::UInt(value) => Some(*value),
            other => other.as_i64().and_then(|value| u64::try_from(value).ok()),
        }
    }

    /// Any number.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Float(value) => Some(*value),
            Self::Int(value) => Some(*value as f64),
            Self::UInt(value) => Some(*value as f64),
            Self::Bool(value) => Some(f64::from(u8::from(*value))),
            _ => None,
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// What Python's `bool(value)` says; opaque values are true.
    pub fn is_truthy(&self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::UInt(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Str(text) => !text.is_empty(),
            Self::Bin(bytes) => !bytes.is_empty(),
            Self::Array(items) | Self::Set(items) => !items.is_empty(),
            Self::Map(entries) => !entries.is_empty(),
            Self::Enum(_) | Self::Serialized(_) | Self::Pickled(_) => true,
        }
    }

    pub fn as_bytes(&self) -> Option<&Bytes> {
        match self {
            Self::Bin(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The items of an array or a set.
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(items) | Self::Set(items) => Some(items),
            _ => None,
        }
    }

    pub fn into_array(self) -> Option<Vec<Self>> {
        match self {
            Self::Array(items) | Self::Set(items) => Some(items),
            _ => None,
        }
    }

    pub fn as_map(&self) -> Option<&[(Self, Self)]> {
        match self {
            Self::Map(entries) => Some(entries),
            _ => None,
        }
    }

    pub fn into_map(self) -> Option<Vec<(Self, Self)>> {
        match self {
            Self::Map(entries) => Some(entries),
            _ => None,
        }
    }

    /// The payload of a serialized or pickled value.
    pub fn as_payload(&self) -> Option<&Payload> {
        match self {
            Self::Serialized(payload) | Self::Pickled(payload) => Some(payload),
            _ => None,
        }
    }

    /// This value as the name of a task.
    pub fn as_key(&self) -> Option<Key> {
        Key::try_from(self).ok()
    }

    /// The names of tasks in an array or set; the first value that is none is the error.
    pub fn as_keys(&self) -> Result<Vec<Key>, DecodeError> {
        let items = self.as_array().ok_or(DecodeError::Unexpected {
            expected: "array of keys",
            found: self.type_name(),
            at: 0,
        })?;
        items
            .iter()
            .map(|item| Key::try_from(item).map_err(DecodeError::from))
            .collect()
    }

    /// A copy that keeps no received frame alive.
    pub fn detached(&self) -> Self {
        match self {
            Self::Str(text) => Self::Str(text.detached()),
            Self::Bin(bytes) => Self::Bin(Bytes::copy_from_slice(bytes)),
            Self::Array(items) => Self::Array(items.iter().map(Self::detached).collect()),
            Self::Set(items) => Self::Set(items.iter().map(Self::detached).collect()),
            Self::Map(entries) => Self::Map(
                entries
                    .iter()
                    .map(|(key, value)| (key.detached(), value.detached()))
                    .collect(),
            ),
            Self::Serialized(payload) => Self::Serialized(payload.detached()),
            Self::Pickled(payload) => Self::Pickled(payload.detached()),
            Self::Enum(member) => Self::Enum(Box::new(EnumMember {
                module: member.module.detached(),
                class: member.class.detached(),
                member: member.member.detached(),
            })),
            Self::Nil | Self::Bool(_) | Self::Int(_) | Self::UInt(_) | Self::Float(_) => {
                self.clone()
            }
        }
    }

    /// Reads the next item without looking for placeholders.
    pub fn read_plain(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Self::read_with(reader, 0, &mut |entries| Ok(Self::Map(entries)))
    }

    /// Reads the next item; `finish_map` turns the entries of every map, innermost first, into a value.
    pub(crate) fn read_with(
        reader: &mut Reader<'_>,
        depth: usize,
        finish_map: &mut impl FnMut(Vec<(Self, Self)>) -> Result<Self, DecodeError>,
    ) -> Result<Self, DecodeError> {
        if depth == MAX_DEPTH {
            return Err(DecodeError::TooDeep { limit: MAX_DEPTH });
        }
        match reader.kind()? {
            Kind::Array => {
                let len = reader.read_array_len()?;
                let mut items = Vec::with_capacity(len.min(SPECULATIVE_ITEMS));
                for _ in 0..len {
                    items.push(Self::read_with(reader, depth + 1, finish_map)?);
                }
                Ok(Self::Array(items))
            }
            Kind::Map => {
                let len = reader.read_map_len()?;
                let mut entries = Vec::with_capacity(len.min(SPECULATIVE_ITEMS));
                for _ in 0..len {
                    let key = Self::read_with(reader, depth + 1, finish_map)?;
                    entries.push((key, Self::read_with(reader, depth + 1, finish_map)?));
                }
                finish_map(entries)
            }
            kind => Self::read_scalar(reader, kind),
        }
    }

    fn read_scalar(reader: &mut Reader<'_>, kind: Kind) -> Result<Self, DecodeError> {
        match kind {
            Kind::Nil => reader.try_nil().map(|_| Self::Nil),
            Kind::Bool => reader.read_bool().map(Self::Bool),
            Kind::Int => reader.read_int().map(|value| match i64::try_from(value) {
                Ok(value) => Self::Int(value),
                Err(_) => Self::UInt(value as u64),
            }),
            Kind::Float => reader.read_f64().map(Self::Float),
            Kind::Str => reader.read_text().map(Self::Str),
            Kind::Bin => reader.read_bytes().map(Self::Bin),
            Kind::Array | Kind::Map | Kind::Ext | Kind::Reserved => Err(DecodeError::Unexpected {
                expected: "a value",
                found: kind.name(),
                at: reader.position(),
            }),
        }
    }
}

/// How many items are allocated for before they have been read.
const SPECULATIVE_ITEMS: usize = 32;

macro_rules! value_from {
    ($($source:ty => |$value:ident| $made:expr;)*) => {
        $(impl From<$source> for Value {
            fn from($value: $source) -> Self {
                $made
            }
        })*
    };
}

value_from! {
    &str => |text| Self::Str(Text::from(text));
    String => |text| Self::Str(Text::from(text));
    Text => |text| Self::Str(text);
    bool => |value| Self::Bool(value);
    i32 => |value| Self::Int(i64::from(value));
    u32 => |value| Self::Int(i64::from(value));
    i64 => |value| Self::Int(value);
    u64 => |value| i64::try_from(value).map_or(Self::UInt(value), Self::Int);
    usize => |value| Self::from(value as u64);
    f64 => |value| Self::Float(value);
    Bytes => |bytes| Self::Bin(bytes);
    Vec<Value> => |items| Self::Array(items);
    Vec<(Value, Value)> => |entries| Self::Map(entries);
    &Key => |key| key.to_value();
    Key => |key| key.to_value();
    () => |_nothing| Self::Nil;
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Nil, Into::into)
    }
}

impl FromIterator<Value> for Value {
    fn from_iter<I: IntoIterator<Item = Value>>(items: I) -> Self {
        Self::Array(items.into_iter().collect())
    }
}

impl FromIterator<(Value, Value)> for Value {
    fn from_iter<I: IntoIterator<Item = (Value, Value)>>(entries: I) -> Self {
        Self::Map(entries.into_iter().collect())
    }
}
