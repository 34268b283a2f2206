//! Packets for the executor as they are written: messages one behind the other, with the descriptors their frames name.
//!
//! Invariant: a packet has at most [`DESCRIPTORS_AT_MOST`] descriptors, so a message with frames begins a new one where the
//! last has no room for its own.

use super::segment::{Segment, locate};
use super::shared::SharedMemory;
use bytes::Bytes;
use protocol::messages::ComputeTask;
use protocol::msgpack::{
    self, write_array_len, write_bin, write_i64, write_map_len, write_str, write_str_bytes,
    write_u64,
};
use protocol::{Frames, Key, Payload, Value, encode_value, snippet};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

pub const DESCRIPTORS_AT_MOST: usize = 64;
/// Prelude, and the head of an array of any length.
const HEAD_BYTES: usize = 8 + 5;
/// A packet this long is finished, so that the other end can begin with it.
const LONG_BYTES: usize = 256 * 1024;
/// Frames from this size on lie in shared memory.
const SHARED_BYTES: usize = 64 * 1024;

/// One packet: what is to be written, and how much of it has been.
#[derive(Debug)]
pub struct Packet {
    pub bytes: Vec<u8>,
    pub written: usize,
    pub passed: Vec<Passed>,
    messages: u32,
}

/// What goes with a packet as a descriptor.
#[derive(Debug)]
pub enum Passed {
    Segment(Arc<Segment>),
    /// The executor's end of it.
    Pipe(OwnedFd),
}

impl Passed {
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Self::Segment(segment) => segment.descriptor(),
            Self::Pipe(end) => end.as_fd(),
        }
    }
}

impl Packet {
    fn new() -> Self {
        let mut bytes = Vec::with_capacity(1024);
        bytes.resize(HEAD_BYTES, 0);
        Self {
            bytes,
            written: 0,
            passed: Vec::new(),
            messages: 0,
        }
    }

    fn seal(&mut self) {
        let body = u32::try_from(self.bytes.len() - 8).expect("packets are ended long before");
        self.bytes[..4].copy_from_slice(&body.to_le_bytes());
        self.bytes[4..8].copy_from_slice(&(self.passed.len() as u32).to_le_bytes());
        self.bytes[8] = 0xdd;
        self.bytes[9..13].copy_from_slice(&self.messages.to_be_bytes());
    }
}

/// Packets that wait, and the one being filled.
#[derive(Debug)]
pub struct Packets {
    sealed: VecDeque<Packet>,
    open: Packet,
    /// Values to be dropped, gathered to one message.
    dropped: Vec<Key>,
    memory: Arc<SharedMemory>,
}

impl Packets {
    pub fn new(memory: Arc<SharedMemory>) -> Self {
        Self {
            sealed: VecDeque::new(),
            open: Packet::new(),
            dropped: Vec::new(),
            memory,
        }
    }

    /// The next packet to be written, whole.
    pub fn next(&mut self) -> Option<&mut Packet> {
        if self.sealed.is_empty() {
            self.end_drops();
            self.seal();
        }
        self.sealed.front_mut()
    }

    /// The first packet has been written.
    pub fn done(&mut self) {
        self.sealed.pop_front();
    }

    fn seal(&mut self) {
        if self.open.messages > 0 {
            self.open.seal();
            let full = std::mem::replace(&mut self.open, Packet::new());
            self.sealed.push_back(full);
        }
    }

    fn begin(&mut self, name: &[u8], parts: usize, frames: &[&[Bytes]]) -> Vec<Vec<Place>> {
        self.end_drops();
        self.begin_now(name, parts, frames)
    }

    fn begin_now(&mut self, name: &[u8], parts: usize, frames: &[&[Bytes]]) -> Vec<Vec<Place>> {
        let mut needed = Needed::new(&self.memory);
        let places = frames.iter().map(|frames| needed.place(frames)).collect();
        let segments = needed.segments;
        self.make_room(segments.len());
        let base = self.open.passed.len() as u64;
        segments.iter().for_each(|segment| segment.give());
        let segments = segments.into_iter().map(Passed::Segment);
        self.open.passed.extend(segments);
        self.open.messages += 1;
        write_array_len(&mut self.open.bytes, parts);
        self.open.bytes.extend_from_slice(name);
        let shifted = |place: Place| match place {
            Place::Shared { index, offset } => Place::Shared {
                index: index + base,
                offset,
            },
            here => here,
        };
        let shift = |places: Vec<Place>| places.into_iter().map(shifted).collect();
        let places: Vec<Vec<Place>> = places;
        places.into_iter().map(shift).collect()
    }

    /// For a message with so many descriptors.
    fn make_room(&mut self, descriptors: usize) {
        let full = self.open.passed.len() + descriptors > DESCRIPTORS_AT_MOST;
        if full || self.open.bytes.len() > LONG_BYTES {
            self.seal();
        }
    }

    fn end_drops(&mut self) {
        if self.dropped.is_empty() {
            return;
        }
        let keys = std::mem::take(&mut self.dropped);
        self.begin_now(snippet!("drop"), 2, &[]);
        write_array_len(&mut self.open.bytes, keys.len());
        for key in &keys {
            self.open.bytes.extend_from_slice(key.as_msgpack());
        }
    }

    fn value(&mut self, payload: &Payload, places: &[Place]) {
        let out = &mut self.open.bytes;
        write_array_len(out, 2);
        write_bin(out, payload.header());
        write_frames(out, payload.frames(), places);
    }

    pub fn start(&mut self, settings: &Value) {
        self.begin(snippet!("start"), 2, &[]);
        let settings = encode_value(settings);
        self.open.bytes.extend_from_slice(&settings.0[0]);
    }

    pub fn execute(
        &mut self,
        run: u64,
        order: &ComputeTask,
        spec: &Payload,
        duration: Option<f64>,
    ) {
        let places = self.begin(snippet!("execute"), 6, &[spec.frames()]);
        write_u64(&mut self.open.bytes, run);
        self.open.bytes.extend_from_slice(order.key.as_msgpack());
        self.value(spec, &places[0]);
        let out = &mut self.open.bytes;
        write_array_len(out, order.dependencies.len());
        for dependency in &order.dependencies {
            out.extend_from_slice(dependency.key.as_msgpack());
        }
        write_options(out, order, duration);
    }

    pub fn withdraw(&mut self, runs: &[u64]) {
        self.numbers(snippet!("withdraw"), runs);
    }

    pub fn cancel(&mut self, runs: &[u64]) {
        self.numbers(snippet!("cancel"), runs);
    }

    fn numbers(&mut self, name: &[u8], numbers: &[u64]) {
        self.begin(name, 2, &[]);
        let out = &mut self.open.bytes;
        write_array_len(out, numbers.len());
        numbers.iter().for_each(|number| write_u64(out, *number));
    }

    pub fn put(&mut self, key: &Key, payload: &Payload) {
        let places = self.begin(snippet!("put"), 3, &[payload.frames()]);
        self.open.bytes.extend_from_slice(key.as_msgpack());
        self.value(payload, &places[0]);
    }

    pub fn drop_value(&mut self, key: Key) {
        self.dropped.push(key);
    }

    /// What is lent of these values is poured into the pipe, where there is one.
    pub fn fetch(&mut self, request: u64, keys: &[Key], pipe: Option<OwnedFd>) {
        self.end_drops();
        self.make_room(1);
        self.begin(snippet!("fetch"), 3 + usize::from(pipe.is_some()), &[]);
        let out = &mut self.open.bytes;
        write_u64(out, request);
        write_array_len(out, keys.len());
        keys.iter()
            .for_each(|key| out.extend_from_slice(key.as_msgpack()));
        if let Some(pipe) = pipe {
            write_u64(out, self.open.passed.len() as u64);
            self.open.passed.push(Passed::Pipe(pipe));
        }
    }

    pub fn call(&mut self, request: u64, op: &str, frames: &Frames) {
        let places = self.begin(snippet!("call"), 4, &[&frames.0]);
        write_u64(&mut self.open.bytes, request);
        write_str(&mut self.open.bytes, op);
        write_frames(&mut self.open.bytes, &frames.0, &places[0]);
    }

    pub fn stream(&mut self, op: &str, frames: &Frames) {
        let places = self.begin(snippet!("stream"), 3, &[&frames.0]);
        write_str(&mut self.open.bytes, op);
        write_frames(&mut self.open.bytes, &frames.0, &places[0]);
    }

    pub fn transition(&mut self, changes: &[(Key, &'static str, &'static str)]) {
        self.begin(snippet!("transition"), 2, &[]);
        let out = &mut self.open.bytes;
        write_array_len(out, changes.len());
        for (key, start, finish) in changes {
            write_array_len(out, 3);
            out.extend_from_slice(key.as_msgpack());
            write_str(out, start);
            write_str(out, finish);
        }
    }

    pub fn status(&mut self, status: &str) {
        self.begin(snippet!("status"), 2, &[]);
        write_str(&mut self.open.bytes, status);
    }

    pub fn ping(&mut self, number: u64) {
        self.begin(snippet!("ping"), 2, &[]);
        write_u64(&mut self.open.bytes, number);
    }

    /// Whether values are lent from now on, where they are large.
    pub fn lend(&mut self, wanted: bool) {
        self.begin(snippet!("lend"), 2, &[]);
        msgpack::write_bool(&mut self.open.bytes, wanted);
    }

    /// What was lent for this request is not read any more.
    pub fn returned(&mut self, request: u64) {
        self.numbers(snippet!("returned"), &[request]);
    }

    pub fn collect(&mut self) {
        self.begin(snippet!("collect"), 1, &[]);
    }

    pub fn close(&mut self, reason: &str) {
        self.begin(snippet!("close"), 2, &[]);
        write_str(&mut self.open.bytes, reason);
    }
}

/// Where a frame travels.
#[derive(Clone, Copy, Debug)]
enum Place {
    InPacket,
    Shared { index: u64, offset: u64 },
}

/// Shared memory that a message's frames need.
struct Needed<'a> {
    segments: Vec<Arc<Segment>>,
    memory: &'a SharedMemory,
}

impl<'a> Needed<'a> {
    fn new(memory: &'a SharedMemory) -> Self {
        Self {
            segments: Vec::new(),
            memory,
        }
    }

    /// Frames that lie in shared memory stay there; large ones that do not are written to a new segment together.
    fn place(&mut self, frames: &[Bytes]) -> Vec<Place> {
        let mut places: Vec<Place> = frames.iter().map(|frame| self.known(frame)).collect();
        let is_left = |(at, frame): &(usize, &Bytes)| {
            frame.len() >= SHARED_BYTES && matches!(places[*at], Place::InPacket)
        };
        let left: Vec<(usize, &Bytes)> = frames.iter().enumerate().filter(is_left).collect();
        if left.is_empty() {
            return places;
        }
        let large: Vec<&Bytes> = left.iter().map(|(_, frame)| *frame).collect();
        // Without shared memory to be had a frame goes in the packet itself.
        if let Ok((segment, offsets)) = self.memory.copy_of(&large) {
            let index = self.index(&segment);
            for ((at, _), offset) in left.iter().zip(offsets) {
                let offset = offset as u64;
                places[*at] = Place::Shared { index, offset };
            }
        }
        places
    }

    fn known(&mut self, frame: &Bytes) -> Place {
        if frame.len() < SHARED_BYTES || self.segments.len() >= DESCRIPTORS_AT_MOST / 2 {
            return Place::InPacket;
        }
        match locate(frame) {
            Some((segment, offset)) => Place::Shared {
                index: self.index(&segment),
                offset: offset as u64,
            },
            None => Place::InPacket,
        }
    }

    fn index(&mut self, segment: &Arc<Segment>) -> u64 {
        let is_it = |known: &Arc<Segment>| Arc::ptr_eq(known, segment);
        let at = self.segments.iter().position(is_it).unwrap_or_else(|| {
            self.segments.push(Arc::clone(segment));
            self.segments.len() - 1
        });
        at as u64
    }
}

fn write_frames(out: &mut Vec<u8>, frames: &[Bytes], places: &[Place]) {
    write_array_len(out, frames.len());
    for (frame, place) in frames.iter().zip(places) {
        match place {
            Place::InPacket => write_bin(out, frame),
            Place::Shared { index, offset } => {
                write_array_len(out, 3);
                write_u64(out, *index);
                write_u64(out, *offset);
                write_u64(out, frame.len() as u64);
            }
        }
    }
}

/// Only what is not as usual.
fn write_options(out: &mut Vec<u8>, order: &ComputeTask, duration: Option<f64>) {
    let resources = !order.resource_restrictions.is_empty();
    let annotations = !order.annotations.is_nil();
    let count = 1 + usize::from(resources) + usize::from(annotations) + usize::from(order.actor);
    write_map_len(out, count + usize::from(duration.is_some()));
    if let Some(seconds) = duration {
        out.extend_from_slice(snippet!("duration"));
        msgpack::write_f64(out, seconds);
    }
    out.extend_from_slice(snippet!("priority"));
    write_priority(out, &order.priority.0);
    if resources {
        out.extend_from_slice(snippet!("resources"));
        write_map_len(out, order.resource_restrictions.len());
        for (name, amount) in &order.resource_restrictions {
            write_str_bytes(out, name.as_bytes());
            msgpack::write_f64(out, *amount);
        }
    }
    if annotations {
        out.extend_from_slice(snippet!("annotations"));
        write_annotations(out, &order.annotations);
    }
    if order.actor {
        out.extend_from_slice(snippet!("actor"));
        msgpack::write_bool(out, true);
    }
}

/// Annotations may hold what only a message with frames can carry; such an entry is left out.
fn write_annotations(out: &mut Vec<u8>, annotations: &Value) {
    let entries = annotations.as_map().unwrap_or_default();
    let encoded = entries.iter().filter_map(|(name, value)| {
        let frames = encode_value(&Value::Map(vec![(name.clone(), value.clone())]));
        (frames.0.len() == 1).then(|| frames.0[0].slice(1..))
    });
    let encoded: Vec<Bytes> = encoded.collect();
    write_map_len(out, encoded.len());
    for entry in encoded {
        out.extend_from_slice(&entry);
    }
}

fn write_priority(out: &mut Vec<u8>, priority: &[f64; 3]) {
    let given = priority.iter().take_while(|part| part.is_finite()).count();
    write_array_len(out, given);
    for part in &priority[..given] {
        match part.fract() == 0.0 && part.abs() < 9e15 {
            true => write_i64(out, *part as i64),
            false => msgpack::write_f64(out, *part),
        }
    }
}

/// What the executor is given before the first packet.
pub fn introduction(sources: &serde_json::Value) -> io::Result<Vec<u8>> {
    let text = sources.to_string();
    let len = u32::try_from(text.len()).map_err(|_| io::ErrorKind::InvalidData)?;
    let mut introduction = len.to_le_bytes().to_vec();
    introduction.extend_from_slice(text.as_bytes());
    Ok(introduction)
}
