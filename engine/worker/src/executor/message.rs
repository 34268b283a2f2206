//! Messages of the executor, and how they are read from a packet. `docs/executor-protocol.md` is the contract.

use super::lent::Place;
use super::segment::Segment;
use bytes::Bytes;
use protocol::msgpack::{Kind, Reader};
use protocol::{DecodeError, Frames, Key, Text, Value};
use std::io;
use std::os::fd::OwnedFd;

/// What an executor says.
#[derive(Debug)]
pub enum FromExecutor {
    Ready {
        versions: Value,
        startup_information: Value,
        process: Option<i32>,
        /// Something to be found in its memory, and where.
        probe: Option<(u64, Bytes)>,
    },
    Refused {
        text: Text,
        traceback: Text,
    },
    Done {
        run: u64,
        nbytes: u64,
        typename: Text,
        kind: Bytes,
        time: Times,
    },
    Erred {
        run: u64,
        exception: Bytes,
        traceback: Option<Bytes>,
        exception_text: Text,
        traceback_text: Text,
        time: Times,
    },
    Rescheduled {
        run: u64,
        time: Times,
    },
    Seceded {
        run: u64,
        compute_seconds: f64,
    },
    Withdrawn(Vec<u64>),
    Values {
        request: u64,
        found: Vec<(Key, Served)>,
        failed: Vec<Failed>,
        more: bool,
    },
    Answer {
        request: u64,
        frames: Frames,
    },
    Send(Frames),
    Hold {
        key: Key,
        nbytes: u64,
    },
    /// What plugins serve now; nothing here depends on it, since everything unknown goes to the executor.
    Handlers,
    Transitions(bool),
    Leave {
        how: Text,
        reason: Text,
    },
    Pong,
    /// A nanny's: what the worker's process is to be started with.
    Environment(Vec<(String, String)>),
    /// Shared memory that nothing there refers to any more; whether a process it forked may see it.
    Released(Vec<(u64, bool)>),
}

/// A value of the executor's, serialized.
#[derive(Debug)]
pub struct Served {
    pub header: Bytes,
    pub frames: Vec<ServedFrame>,
}

#[derive(Debug)]
pub enum ServedFrame {
    Here(Bytes),
    /// To be read there.
    Lent(Place),
}

/// When and where a run was, in seconds since 1970; nil where it did not begin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Times {
    pub start: Option<f64>,
    pub stop: Option<f64>,
    pub thread: Option<i64>,
}

/// A value that cannot be had, and why.
#[derive(Debug)]
pub struct Failed {
    pub key: Key,
    pub text: Text,
}

/// Something that is no message of an executor.
#[derive(Debug, thiserror::Error)]
pub enum MessageError {
    #[error("read a message of the executor")]
    Decode(#[from] DecodeError),
    #[error("map shared memory of the executor")]
    Map(#[from] io::Error),
    #[error("unknown message {0}")]
    Unknown(String),
    #[error("a frame lies outside its shared memory")]
    OutOfBounds,
    #[error("message {name} has {len} parts")]
    Length { name: String, len: usize },
}

/// Descriptors of one packet; each is mapped when a frame first names it.
pub struct Arrivals {
    descriptors: Vec<Arrival>,
}

enum Arrival {
    Unmapped(Option<OwnedFd>),
    Mapped(Bytes),
}

impl Arrivals {
    pub fn new(descriptors: Vec<OwnedFd>) -> Self {
        let unmapped = |descriptor| Arrival::Unmapped(Some(descriptor));
        Self {
            descriptors: descriptors.into_iter().map(unmapped).collect(),
        }
    }

    fn piece(&mut self, index: u64, offset: u64, len: u64) -> Result<Bytes, MessageError> {
        let index = usize::try_from(index).map_err(|_| MessageError::OutOfBounds)?;
        let arrival = self.descriptors.get_mut(index);
        let arrival = arrival.ok_or(MessageError::OutOfBounds)?;
        if let Arrival::Unmapped(descriptor) = arrival {
            let descriptor = descriptor.take().ok_or(MessageError::OutOfBounds)?;
            *arrival = Arrival::Mapped(Segment::map(descriptor)?.whole());
        }
        let Arrival::Mapped(whole) = arrival else {
            return Err(MessageError::OutOfBounds);
        };
        let end = offset.checked_add(len).ok_or(MessageError::OutOfBounds)?;
        if end > whole.len() as u64 {
            return Err(MessageError::OutOfBounds);
        }
        Ok(whole.slice(offset as usize..end as usize))
    }
}

/// Reads all messages of a packet's body.
pub fn read_packet(
    body: &Bytes,
    descriptors: Vec<OwnedFd>,
) -> Result<Vec<FromExecutor>, MessageError> {
    let mut arrivals = Arrivals::new(descriptors);
    let mut reader = Reader::new(body);
    let count = reader.read_array_len()?;
    let mut messages = Vec::with_capacity(count.min(1024));
    for _ in 0..count {
        messages.push(read_message(&mut reader, &mut arrivals)?);
    }
    Ok(messages)
}

fn read_message(r: &mut Reader<'_>, arrivals: &mut Arrivals) -> Result<FromExecutor, MessageError> {
    let len = r.read_array_len()?;
    let name = r.read_str()?;
    let expect = |wanted: usize| match len == wanted {
        true => Ok(()),
        false => Err(MessageError::Length {
            name: String::from_utf8_lossy(name).into_owned(),
            len,
        }),
    };
    Ok(match name {
        b"done" => {
            expect(8)?;
            FromExecutor::Done {
                run: r.read_u64()?,
                nbytes: r.read_u64()?,
                typename: r.read_text()?,
                kind: r.read_bytes()?,
                time: times(r)?,
            }
        }
        b"erred" => {
            expect(9)?;
            FromExecutor::Erred {
                run: r.read_u64()?,
                exception: r.read_bytes()?,
                traceback: optional(r, Reader::read_bytes)?,
                exception_text: r.read_text()?,
                traceback_text: r.read_text()?,
                time: times(r)?,
            }
        }
        b"rescheduled" => FromExecutor::Rescheduled {
            run: r.read_u64()?,
            time: times(r)?,
        },
        b"seceded" => FromExecutor::Seceded {
            run: r.read_u64()?,
            compute_seconds: r.read_f64()?,
        },
        b"withdrawn" => FromExecutor::Withdrawn(list(r, |r| Ok(r.read_u64()?))?),
        b"values" => FromExecutor::Values {
            request: r.read_u64()?,
            found: list(r, |r| found(r, arrivals))?,
            failed: list(r, failed)?,
            more: r.read_bool()?,
        },
        b"answer" => FromExecutor::Answer {
            request: r.read_u64()?,
            frames: frames(r, arrivals)?.into(),
        },
        b"send" => FromExecutor::Send(frames(r, arrivals)?.into()),
        b"hold" => {
            let (key, nbytes) = (Key::read(r)?, r.read_u64()?);
            // The name of its class.
            r.skip()?;
            FromExecutor::Hold { key, nbytes }
        }
        b"handlers" => {
            r.skip()?;
            FromExecutor::Handlers
        }
        b"transitions" => FromExecutor::Transitions(r.read_bool()?),
        b"leave" => FromExecutor::Leave {
            how: r.read_text()?,
            reason: optional(r, Reader::read_text)?.unwrap_or_default(),
        },
        b"pong" => {
            r.skip()?;
            FromExecutor::Pong
        }
        b"environment" => FromExecutor::Environment(list(r, variable)?),
        b"released" => {
            let mut released = Vec::new();
            for is_tainted in [false, true] {
                let numbers = list(r, |r| Ok(r.read_u64()?))?;
                released.extend(numbers.into_iter().map(|number| (number, is_tainted)));
            }
            FromExecutor::Released(released)
        }
        b"ready" => ready(Value::read_plain(r)?),
        b"refused" => FromExecutor::Refused {
            text: r.read_text()?,
            traceback: r.read_text()?,
        },
        other => {
            let name = String::from_utf8_lossy(other).into_owned();
            return Err(MessageError::Unknown(name));
        }
    })
}

fn ready(mut facts: Value) -> FromExecutor {
    let process = facts.get("pid").and_then(Value::as_u64);
    FromExecutor::Ready {
        versions: facts.take("versions").unwrap_or_default(),
        startup_information: facts.take("startup_information").unwrap_or_default(),
        process: process.and_then(|process| i32::try_from(process).ok()),
        probe: facts.take("probe").and_then(probe),
    }
}

fn probe(value: Value) -> Option<(u64, Bytes)> {
    match value.as_array()? {
        [address, Value::Bin(content)] => Some((address.as_u64()?, content.clone())),
        _ => None,
    }
}

fn variable(r: &mut Reader<'_>) -> Result<(String, String), MessageError> {
    r.read_array_len()?;
    let (name, value) = (r.read_text()?, r.read_text()?);
    Ok((
        name.to_string_lossy().into_owned(),
        value.to_string_lossy().into_owned(),
    ))
}

fn times(r: &mut Reader<'_>) -> Result<Times, MessageError> {
    Ok(Times {
        start: optional(r, Reader::read_f64)?,
        stop: optional(r, Reader::read_f64)?,
        thread: optional(r, Reader::read_i64)?,
    })
}

fn optional<'a, T>(
    r: &mut Reader<'a>,
    read: impl FnOnce(&mut Reader<'a>) -> Result<T, DecodeError>,
) -> Result<Option<T>, MessageError> {
    match r.kind()? {
        Kind::Nil => {
            r.try_nil()?;
            Ok(None)
        }
        _ => Ok(Some(read(r)?)),
    }
}

fn list<T>(
    r: &mut Reader<'_>,
    mut read: impl FnMut(&mut Reader<'_>) -> Result<T, MessageError>,
) -> Result<Vec<T>, MessageError> {
    let len = r.read_array_len()?;
    let mut items = Vec::with_capacity(len.min(1024));
    for _ in 0..len {
        items.push(read(r)?);
    }
    Ok(items)
}

fn found(r: &mut Reader<'_>, arrivals: &mut Arrivals) -> Result<(Key, Served), MessageError> {
    r.read_array_len()?;
    let key = Key::read(r)?;
    r.read_array_len()?;
    let header = r.read_bytes()?;
    let frames = list(r, |r| served_frame(r, arrivals))?;
    Ok((key, Served { header, frames }))
}

fn served_frame(r: &mut Reader<'_>, arrivals: &mut Arrivals) -> Result<ServedFrame, MessageError> {
    if r.kind()? != Kind::Array {
        return Ok(ServedFrame::Here(r.read_bytes()?));
    }
    match r.read_array_len()? {
        2 => Ok(ServedFrame::Lent(Place {
            address: r.read_u64()?,
            len: r.read_u64()?,
        })),
        _ => {
            let (index, offset, len) = (r.read_u64()?, r.read_u64()?, r.read_u64()?);
            Ok(ServedFrame::Here(arrivals.piece(index, offset, len)?))
        }
    }
}

fn failed(r: &mut Reader<'_>) -> Result<Failed, MessageError> {
    r.read_array_len()?;
    let key = Key::read(r)?;
    // The exception itself is in the value that a peer would be sent.
    r.skip()?;
    let text = optional(r, Reader::read_text)?.unwrap_or_default();
    Ok(Failed { key, text })
}

fn frames(r: &mut Reader<'_>, arrivals: &mut Arrivals) -> Result<Vec<Bytes>, MessageError> {
    list(r, |r| match r.kind()? {
        Kind::Array => {
            r.read_array_len()?;
            let (index, offset, len) = (r.read_u64()?, r.read_u64()?, r.read_u64()?);
            arrivals.piece(index, offset, len)
        }
        _ => Ok(r.read_bytes()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::shared::SharedMemory;
    use protocol::{array, encode_value};
    use std::os::fd::AsFd;

    fn packet(message: Value) -> Bytes {
        encode_value(&array![message]).0.swap_remove(0)
    }

    fn shared_memory(bytes: usize) -> OwnedFd {
        let frame = Bytes::from(vec![7; bytes]);
        let memory = SharedMemory::new(None);
        let (segment, _) = memory.copy_of(&[&frame]).unwrap();
        segment.descriptor().as_fd().try_clone_to_owned().unwrap()
    }

    #[test]
    fn a_frame_in_shared_memory_is_read_where_it_lies() {
        let piece = array![0, 64, 36];
        let body = packet(array!["answer", 5, array![piece]]);
        let messages = read_packet(&body, vec![shared_memory(100)]).unwrap();
        let [FromExecutor::Answer { request: 5, frames }] = &messages[..] else {
            panic!("{messages:?}");
        };
        assert_eq!(frames.0, [Bytes::from(vec![7; 36])]);
    }

    #[test]
    fn a_frame_beyond_its_shared_memory_is_refused() {
        for piece in [array![0, 64, 65_536], array![1, 0, 1], array![0, -1, 1]] {
            let body = packet(array!["answer", 5, array![piece]]);
            assert!(read_packet(&body, vec![shared_memory(100)]).is_err());
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for message in [array!["dance", 1], array!["done", 1], array![1], Value::Nil] {
            assert!(read_packet(&packet(message), Vec::new()).is_err());
        }
    }
}
