//! Writes pickles of protocol 4, which every supported Python reads.

use bytes::Bytes;

use super::opcode;
use super::value::PickleValue;

/// Writes one pickle, in the order of its stack machine.
#[derive(Clone, Debug)]
pub struct PickleWriter {
    out: Vec<u8>,
}

impl Default for PickleWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl PickleWriter {
    pub fn new() -> Self {
        Self {
            out: vec![opcode::PROTO, 4],
        }
    }

    /// The pickle of what was written last.
    pub fn finish(mut self) -> Bytes {
        self.out.push(opcode::STOP);
        self.out.into()
    }

    pub fn none(&mut self) {
        self.out.push(opcode::NONE);
    }

    pub fn bool(&mut self, value: bool) {
        self.out.push(if value {
            opcode::NEWTRUE
        } else {
            opcode::NEWFALSE
        });
    }

    pub fn int(&mut self, value: i64) {
        write_int(&mut self.out, value);
    }

    pub fn uint(&mut self, value: u64) {
        match i64::try_from(value) {
            Ok(value) => self.int(value),
            Err(_) => {
                self.out.extend_from_slice(&[opcode::LONG1, 9]);
                self.out.extend_from_slice(&value.to_le_bytes());
                self.out.push(0);
            }
        }
    }

    pub fn float(&mut self, value: f64) {
        self.out.push(opcode::BINFLOAT);
        self.out.extend_from_slice(&value.to_be_bytes());
    }

    pub fn str(&mut self, text: &str) {
        write_str(&mut self.out, text.as_bytes());
    }

    /// Text that need not be UTF-8.
    pub fn str_bytes(&mut self, text: &[u8]) {
        write_str(&mut self.out, text);
    }

    pub fn bytes(&mut self, content: &[u8]) {
        write_bytes(&mut self.out, content);
    }

    /// Begins a tuple of any length; [`Self::end_tuple`] ends it.
    pub fn mark(&mut self) {
        self.out.push(opcode::MARK);
    }

    pub fn end_tuple(&mut self) {
        self.out.push(opcode::TUPLE);
    }

    /// Begins a dict: keys and values follow, then [`Self::end_dict`].
    pub fn begin_dict(&mut self) {
        self.out
            .extend_from_slice(&[opcode::EMPTY_DICT, opcode::MARK]);
    }

    pub fn end_dict(&mut self) {
        self.out.push(opcode::SETITEMS);
    }

    /// A class or function by name.
    pub fn global(&mut self, module: &str, name: &str) {
        self.str(module);
        self.str(name);
        self.out.push(opcode::STACK_GLOBAL);
    }

    /// Calls the callable below the tuple of arguments on top.
    pub fn reduce(&mut self) {
        self.out.push(opcode::REDUCE);
    }

    /// Makes an instance of the class below the tuple of arguments on top, without its `__init__`.
    pub fn new_object(&mut self) {
        self.out.push(opcode::NEWOBJ);
    }

    /// Gives the object below the state on top.
    pub fn build(&mut self) {
        self.out.push(opcode::BUILD);
    }

    pub fn value(&mut self, value: &PickleValue) {
        match value {
            PickleValue::None => self.none(),
            PickleValue::Bool(value) => self.bool(*value),
            PickleValue::Int(value) => self.int(*value),
            PickleValue::UInt(value) => self.uint(*value),
            PickleValue::Float(value) => self.float(*value),
            PickleValue::Str(text) => self.str_bytes(text.as_bytes()),
            PickleValue::Bytes(bytes) => self.bytes(bytes),
            PickleValue::ByteArray(bytes) => {
                // Protocol 4 has no opcode for it.
                self.global("builtins", "bytearray");
                self.mark();
                self.bytes(bytes);
                self.end_tuple();
                self.reduce();
            }
            PickleValue::Tuple(items) => self.items(&[opcode::MARK], items, opcode::TUPLE),
            PickleValue::List(items) => {
                self.items(&[opcode::EMPTY_LIST, opcode::MARK], items, opcode::APPENDS)
            }
            PickleValue::Set(items) => {
                self.items(&[opcode::EMPTY_SET, opcode::MARK], items, opcode::ADDITEMS)
            }
            PickleValue::FrozenSet(items) => self.items(&[opcode::MARK], items, opcode::FROZENSET),
            PickleValue::Dict(entries) => {
                self.begin_dict();
                for (key, value) in entries {
                    self.value(key);
                    self.value(value);
                }
                self.end_dict();
            }
        }
    }

    fn items(&mut self, begin: &[u8], items: &[PickleValue], end: u8) {
        self.out.extend_from_slice(begin);
        for item in items {
            self.value(item);
        }
        self.out.push(end);
    }
}

pub(super) fn write_int(out: &mut Vec<u8>, value: i64) {
    if let Ok(value) = u8::try_from(value) {
        out.extend_from_slice(&[opcode::BININT1, value]);
    } else if let Ok(value) = u16::try_from(value) {
        out.push(opcode::BININT2);
        out.extend_from_slice(&value.to_le_bytes());
    } else if let Ok(value) = i32::try_from(value) {
        out.push(opcode::BININT);
        out.extend_from_slice(&value.to_le_bytes());
    } else {
        out.extend_from_slice(&[opcode::LONG1, 8]);
        out.extend_from_slice(&value.to_le_bytes());
    }
}

pub(super) fn write_str(out: &mut Vec<u8>, text: &[u8]) {
    write_counted(
        out,
        [
            opcode::SHORT_BINUNICODE,
            opcode::BINUNICODE,
            opcode::BINUNICODE8,
        ],
        text,
    );
}

pub(super) fn write_bytes(out: &mut Vec<u8>, content: &[u8]) {
    write_counted(
        out,
        [opcode::SHORT_BINBYTES, opcode::BINBYTES, opcode::BINBYTES8],
        content,
    );
}

/// Bytes behind the narrowest length that fits; one opcode for each of 1, 4 and 8 bytes.
fn write_counted(out: &mut Vec<u8>, [short, medium, long]: [u8; 3], content: &[u8]) {
    if let Ok(len) = u8::try_from(content.len()) {
        out.extend_from_slice(&[short, len]);
    } else if let Ok(len) = u32::try_from(content.len()) {
        out.push(medium);
        out.extend_from_slice(&len.to_le_bytes());
    } else {
        out.push(long);
        out.extend_from_slice(&(content.len() as u64).to_le_bytes());
    }
    out.extend_from_slice(content);
}
