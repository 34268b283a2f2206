//! From values to frames: a streaming writer of frame 0 that numbers payload frames as they come.
//!
//! One buffer holds frame 0, one the sub-headers of raw pickles, so that a batch of a thousand compute-tasks costs two
//! growing buffers and no allocation per task.

use bytes::Bytes;

use crate::frames::Frames;
use crate::key::Key;
use crate::msgpack;
use crate::payload::{Payload, write_pickled_header};
use crate::value::{EnumMember, Value};

/// Writes one message.
#[derive(Debug, Default)]
pub struct MessageWriter {
    head: Vec<u8>,
    /// Frames made here, back to back.
    made: Vec<u8>,
    frames: Vec<Frame>,
}

#[derive(Debug)]
enum Frame {
    Given(Bytes),
    /// Ends here in `made`; starts where the one before ends.
    Made {
        end: usize,
    },
}

impl MessageWriter {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn with_capacity(bytes: usize) -> Self {
        Self {
            head: Vec::with_capacity(bytes),
            ..Self::default()
        }
    }

    /// Bytes written to frame 0 so far.
    pub fn head_len(&self) -> usize {
        self.head.len()
    }

    #[inline]
    pub fn write_array_len(&mut self, len: usize) {
        msgpack::write_array_len(&mut self.head, len);
    }

    #[inline]
    pub fn write_map_len(&mut self, len: usize) {
        msgpack::write_map_len(&mut self.head, len);
    }

    #[inline]
    pub fn write_str(&mut self, text: &str) {
        msgpack::write_str(&mut self.head, text);
    }

    /// A string that need not be UTF-8.
    #[inline]
    pub fn write_str_bytes(&mut self, text: &[u8]) {
        msgpack::write_str_bytes(&mut self.head, text);
    }

    /// Bytes that are MessagePack already, such as a `snippet!` or the encoding of a key.
    #[inline]
    pub fn write_raw(&mut self, encoded: &[u8]) {
        self.head.extend_from_slice(encoded);
    }

    #[inline]
    pub fn write_i64(&mut self, value: i64) {
        msgpack::write_i64(&mut self.head, value);
    }

    #[inline]
    pub fn write_u64(&mut self, value: u64) {
        msgpack::write_u64(&mut self.head, value);
    }

    #[inline]
    pub fn write_f64(&mut self, value: f64) {
        msgpack::write_f64(&mut self.head, value);
    }

    #[inline]
    pub fn write_bool(&mut self, value: bool) {
        msgpack::write_bool(&mut self.head, value);
    }

    #[inline]
    pub fn write_nil(&mut self) {
        msgpack::write_nil(&mut self.head);
    }

    #[inline]
    pub fn write_bin(&mut self, bytes: &[u8]) {
        msgpack::write_bin(&mut self.head, bytes);
    }

    #[inline]
    pub fn write_key(&mut self, key: &Key) {
        self.head.extend_from_slice(key.as_msgpack());
    }

    /// A value that the receiver keeps opaque until it is needed.
    pub fn write_serialized(&mut self, payload: &Payload) {
        self.write_raw(b"\x81");
        self.write_raw(snippet!("__Serialized__"));
        self.write_payload(payload);
    }

    /// A pickle that the receiver opens on arrival.
    pub fn write_pickled(&mut self, payload: &Payload) {
        self.write_raw(b"\x81");
        self.write_raw(snippet!("__Pickled__"));
        self.write_payload(payload);
    }

    fn write_payload(&mut self, payload: &Payload) {
        self.write_u64(self.next_frame());
        self.frames.push(Frame::Given(payload.header().clone()));
        self.frames
            .extend(payload.frames().iter().cloned().map(Frame::Given));
    }

    /// A pickle that is not a payload yet: its sub-header is made here.
    pub fn write_raw_pickle(&mut self, pickle: &[u8], buffers: &[Bytes]) {
        self.write_pickle_parts(&[pickle], buffers);
    }

    /// The same for a pickle in several parts, the first of which many pickles may share.
    pub fn write_pickle_parts(&mut self, pickle: &[&[u8]], buffers: &[Bytes]) {
        self.write_raw(b"\x81");
        self.write_raw(snippet!("__Pickled__"));
        self.write_u64(self.next_frame());
        write_pickled_header(&mut self.made, pickle, buffers.len());
        self.frames.push(Frame::Made {
            end: self.made.len(),
        });
        self.frames
            .extend(buffers.iter().cloned().map(Frame::Given));
    }

    fn next_frame(&self) -> u64 {
        self.frames.len() as u64 + 1
    }

    pub fn write_value(&mut self, value: &Value) {
        match value {
            Value::Nil => self.write_nil(),
            Value::Bool(value) => self.write_bool(*value),
            Value::Int(value) => self.write_i64(*value),
            Value::UInt(value) => self.write_u64(*value),
            Value::Float(value) => self.write_f64(*value),
            Value::Str(text) => self.write_str_bytes(text.as_bytes()),
            Value::Bin(bytes) => self.write_bin(bytes),
            Value::Array(items) => self.write_items(items),
            Value::Map(entries) => {
                self.write_map_len(entries.len());
                for (key, value) in entries {
                    self.write_value(key);
                    self.write_value(value);
                }
            }
            Value::Set(items) => {
                self.write_map_len(2);
                self.write_raw(snippet!("__Set__"));
                self.write_bool(true);
                self.write_raw(snippet!("as-list"));
                self.write_items(items);
            }
            Value::Enum(member) => self.write_enum(member),
            Value::Serialized(payload) => self.write_serialized(payload),
            Value::Pickled(payload) => self.write_pickled(payload),
        }
    }

    fn write_items(&mut self, items: &[Value]) {
        self.write_array_len(items.len());
        for item in items {
            self.write_value(item);
        }
    }

    fn write_enum(&mut self, member: &EnumMember) {
        self.write_map_len(4);
        self.write_raw(snippet!("__Enum__"));
        self.write_bool(true);
        self.write_raw(snippet!("name"));
        self.write_str_bytes(member.member.as_bytes());
        self.write_raw(snippet!("__module__"));
        self.write_str_bytes(member.module.as_bytes());
        self.write_raw(snippet!("__name__"));
        self.write_str_bytes(member.class.as_bytes());
    }

    /// The frames of the message.
    pub fn finish(self) -> Frames {
        let made = Bytes::from(self.made);
        let mut frames = Vec::with_capacity(1 + self.frames.len());
        frames.push(Bytes::from(self.head));
        let mut start = 0;
        for frame in self.frames {
            frames.push(match frame {
                Frame::Given(bytes) => bytes,
                Frame::Made { end } => made.slice(std::mem::replace(&mut start, end)..end),
            });
        }
        Frames(frames)
    }
}

/// Encodes one value as a message.
pub fn encode_value(value: &Value) -> Frames {
    let mut writer = MessageWriter::new();
    writer.write_value(value);
    writer.finish()
}
