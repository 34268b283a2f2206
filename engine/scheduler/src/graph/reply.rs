//! Turns a helper's answer into what the core takes: tasks with shared slabs of pickles, annotations, errors.
//!
//! A helper is our own program but runs user code in its process, so everything it says is checked; what does not fit
//! is an error of that graph, never a panic.

use super::annotations;
use super::channel::Message;
use super::error::GraphError;
use bytes::{Buf, Bytes, BytesMut};
use protocol::msgpack::Reader;
use protocol::{DecodeError, Frames, Key, Value, decode_message};
use scheduler_core::{Annotations, Dep, Graph, GraphTask, RunSpec, SpecSlab};
use std::sync::Arc;

/// What is wrong with an answer.
#[derive(Debug, thiserror::Error)]
pub enum ReplyError {
    #[error("its {0} column has the wrong length")]
    Column(&'static str),
    #[error("it refers to {0} number {1}, which it never sent")]
    Missing(&'static str, u32),
    #[error("it sent a graph's parts in the wrong order")]
    Order,
    #[error("the pickles of {0} tasks take more than 4 GiB")]
    TooLarge(usize),
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

const NO_ANNOTATION: u32 = u32::MAX;
const DATA_PRODUCER: u8 = 1;
const BARRIER: u8 = 2;
const DATA: u8 = 4;
/// Columns of a TASKS message before annotation frames and buffers.
const COLUMNS: usize = 9;

/// A value as the frames of a Dask message.
pub fn value(frames: Vec<Bytes>) -> Result<Value, DecodeError> {
    decode_message(&Frames(frames))
}

/// The `Error` message as an error.
pub fn error(message: &Message) -> Result<GraphError, ReplyError> {
    let header = header(&message.header)?;
    let bytes = |field| header.get(field).and_then(Value::as_bytes).cloned();
    let text = |field| {
        header
            .get(field)
            .and_then(Value::as_text)
            .map(|text| text.to_string_lossy().into_owned())
    };
    Ok(GraphError {
        exception: bytes("exception").ok_or(ReplyError::Missing("exception", 0))?,
        traceback: bytes("traceback"),
        text: text("exception_text").unwrap_or_default(),
        traceback_text: text("traceback_text").unwrap_or_default(),
    })
}

pub fn header(bytes: &Bytes) -> Result<Value, DecodeError> {
    Value::read_plain(&mut Reader::new(bytes))
}

fn count(header: &Value, field: &'static str) -> Result<usize, ReplyError> {
    let number = header
        .get(field)
        .and_then(Value::as_u64)
        .and_then(|number| usize::try_from(number).ok());
    number.ok_or(ReplyError::Missing(field, 0))
}

/// A graph, and which of its tasks only hold a value.
pub struct Opened {
    pub graph: Graph,
    pub is_data: Vec<bool>,
}

/// Collects one graph from its BEGIN, TASKS… and END messages.
#[derive(Default)]
pub struct GraphBuilder {
    total: Option<usize>,
    graph: Graph,
    is_data: Vec<bool>,
    externals: Vec<Key>,
    prefixes: Vec<Bytes>,
    annotations: Vec<Arc<Annotations>>,
    annotation_of_all: Option<Arc<Annotations>>,
}

impl GraphBuilder {
    pub fn begin(&mut self, message: Message) -> Result<(), ReplyError> {
        let header = header(&message.header)?;
        let total = count(&header, "tasks")?;
        if self.total.replace(total).is_some() {
            return Err(ReplyError::Order);
        }
        self.graph.tasks.reserve(total.min(1 << 20));
        if !message.blobs.is_empty() {
            let global = value(message.blobs)?.detached();
            if header.get("annotate_all").is_some_and(Value::is_truthy) {
                self.annotation_of_all = Some(Arc::new(annotations::parse(global.clone())));
            }
            self.graph.global_annotations = global;
        }
        Ok(())
    }

    pub fn tasks(&mut self, message: Message) -> Result<(), ReplyError> {
        let total = self.total.ok_or(ReplyError::Order)?;
        let header = header(&message.header)?;
        let tasks = count(&header, "tasks")?;
        if self.graph.tasks.len() + tasks > total || message.blobs.len() < COLUMNS {
            return Err(ReplyError::Order);
        }
        let annotation_frames = count(&header, "annotation_frames")?;
        let (columns, rest) = message.blobs.split_at(COLUMNS);
        let (frames, buffers) = rest
            .split_at_checked(annotation_frames)
            .ok_or(ReplyError::Column("annotation"))?;
        self.add_prefixes(&header)?;
        self.add_annotations(frames)?;
        read_keys(
            &columns[1],
            count(&header, "externals")?,
            &mut self.externals,
        )?;
        let chunk = Chunk::read(columns, tasks, buffers_of(&header, buffers)?)?;
        self.add(chunk, total)
    }

    /// The whole graph; END has arrived.
    pub fn finish(self) -> Result<Opened, ReplyError> {
        match self.total {
            Some(total) if total == self.graph.tasks.len() => Ok(Opened {
                graph: self.graph,
                is_data: self.is_data,
            }),
            _ => Err(ReplyError::Order),
        }
    }

    fn add_prefixes(&mut self, header: &Value) -> Result<(), ReplyError> {
        for prefix in header
            .get("prefixes")
            .and_then(Value::as_array)
            .unwrap_or_default()
        {
            let prefix = prefix.as_bytes().ok_or(ReplyError::Column("prefix"))?;
            self.prefixes.push(Bytes::copy_from_slice(prefix));
        }
        Ok(())
    }

    fn add_annotations(&mut self, frames: &[Bytes]) -> Result<(), ReplyError> {
        if frames.is_empty() {
            return Ok(());
        }
        let fresh = value(frames.to_vec())?.detached();
        let fresh = fresh.into_array().ok_or(ReplyError::Column("annotation"))?;
        self.annotations.extend(
            fresh
                .into_iter()
                .map(|merged| Arc::new(annotations::parse(merged))),
        );
        Ok(())
    }

    fn add(&mut self, chunk: Chunk, total: usize) -> Result<(), ReplyError> {
        let placed = chunk.place(&self.prefixes)?;
        self.is_data
            .extend(chunk.flags.iter().map(|flags| flags & DATA != 0));
        let mut dependency = 0;
        for (index, key) in chunk.keys.into_iter().enumerate() {
            let start =
                u32::try_from(self.graph.dependencies.len()).map_err(|_| ReplyError::Order)?;
            for number in chunk
                .dependencies
                .get(dependency..)
                .unwrap_or_default()
                .iter()
                .take(chunk.counts[index])
            {
                self.graph
                    .dependencies
                    .push(target(*number, total, &self.externals)?);
            }
            dependency += chunk.counts[index];
            let end =
                u32::try_from(self.graph.dependencies.len()).map_err(|_| ReplyError::Order)?;
            let annotations = match chunk.annotations.get(index).copied() {
                None => self.annotation_of_all.clone(),
                Some(NO_ANNOTATION) => None,
                Some(number) => Some(self.annotation(number)?),
            };
            let (start_in_slab, len) = placed.ranges[index];
            self.graph.tasks.push(GraphTask {
                key,
                dependencies: start..end,
                run_spec: Some(RunSpec {
                    slab: placed.slab.clone(),
                    start: start_in_slab,
                    len,
                }),
                data_producer: chunk.flags[index] & DATA_PRODUCER != 0,
                is_barrier: chunk.flags[index] & BARRIER != 0,
                annotations,
            });
        }
        match dependency == chunk.dependencies.len() {
            true => Ok(()),
            false => Err(ReplyError::Column("dependency")),
        }
    }

    fn annotation(&self, number: u32) -> Result<Arc<Annotations>, ReplyError> {
        self.annotations
            .get(number as usize)
            .cloned()
            .ok_or(ReplyError::Missing("annotation", number))
    }
}

fn target(number: u32, total: usize, externals: &[Key]) -> Result<Dep, ReplyError> {
    match (number as usize).checked_sub(total) {
        None => Ok(Dep::Task(number)),
        Some(external) => {
            let key = externals
                .get(external)
                .ok_or(ReplyError::Missing("key", number))?;
            Ok(Dep::External(key.clone()))
        }
    }
}

/// One TASKS message, its columns checked against each other.
struct Chunk {
    keys: Vec<Key>,
    counts: Vec<usize>,
    dependencies: Vec<u32>,
    ends: Vec<usize>,
    /// Empty: all whole pickles.
    prefix_of: Vec<u32>,
    pickles: Bytes,
    flags: Bytes,
    /// Empty: the same for all.
    annotations: Vec<u32>,
    buffers: Vec<(usize, Vec<Bytes>)>,
}

/// Where a chunk's pickles have come to lie.
struct Placed {
    slab: Arc<SpecSlab>,
    ranges: Vec<(u32, u32)>,
}

impl Chunk {
    fn read(
        columns: &[Bytes],
        tasks: usize,
        buffers: Vec<(usize, Vec<Bytes>)>,
    ) -> Result<Self, ReplyError> {
        let mut keys = Vec::with_capacity(tasks.min(1 << 16));
        read_keys(&columns[0], tasks, &mut keys)?;
        let counts = u32_column(&columns[2])
            .map(|count| count as usize)
            .collect::<Vec<_>>();
        let ends = u64_column(&columns[4]).collect::<Vec<_>>();
        let chunk = Self {
            keys,
            counts,
            dependencies: u32_column(&columns[3]).collect(),
            ends,
            prefix_of: u32_column(&columns[5]).collect(),
            pickles: columns[6].clone(),
            flags: columns[7].clone(),
            annotations: u32_column(&columns[8]).collect(),
            buffers,
        };
        let full = |len: usize| len == tasks;
        let optional = |len: usize| len == 0 || len == tasks;
        let ordered = chunk.ends.is_sorted()
            && chunk
                .ends
                .last()
                .is_none_or(|end| *end == chunk.pickles.len());
        for (name, fits) in [
            ("dependency count", full(chunk.counts.len())),
            ("pickle", full(chunk.ends.len()) && ordered),
            ("prefix", optional(chunk.prefix_of.len())),
            ("flag", full(chunk.flags.len())),
            ("annotation", optional(chunk.annotations.len())),
        ] {
            if !fits {
                return Err(ReplyError::Column(name));
            }
        }
        Ok(chunk)
    }

    /// Copies the pickles into a slab of exactly their size: the message's buffer holds much else.
    fn place(&self, prefixes: &[Bytes]) -> Result<Placed, ReplyError> {
        let mut bytes = BytesMut::with_capacity(self.pickles.len());
        let mut ranges = Vec::with_capacity(self.ends.len());
        let mut runs: Vec<(u32, Bytes)> = Vec::new();
        let mut current = 0;
        let mut from = 0;
        for (index, end) in self.ends.iter().enumerate() {
            let offset = |bytes: &BytesMut| {
                u32::try_from(bytes.len()).map_err(|_| ReplyError::TooLarge(self.ends.len()))
            };
            let start = offset(&bytes)?;
            let pickle = &self.pickles[from..*end];
            from = *end;
            let number = self.prefix_of.get(index).copied().unwrap_or(0);
            if number != current {
                runs.push((start, prefix(prefixes, number)?));
                current = number;
            }
            match number {
                0 => bytes.extend_from_slice(pickle),
                _ => {
                    bytes.extend_from_slice(body_of(pickle).ok_or(ReplyError::Column("pickle"))?);
                    bytes.extend_from_slice(BUILD_STOP);
                }
            }
            ranges.push((start, offset(&bytes)? - start));
        }
        let buffers = self
            .buffers
            .iter()
            .map(|(index, buffers)| match ranges.get(*index) {
                Some((start, _)) => Ok((*start, buffers.clone())),
                None => Err(ReplyError::Column("buffer")),
            });
        let buffers = buffers.collect::<Result<Vec<_>, _>>()?;
        let bytes = Bytes::copy_from_slice(&bytes);
        Ok(Placed {
            slab: SpecSlab::with_prefixes(bytes, buffers, runs),
            ranges,
        })
    }
}

/// Ends a spliced pickle: gives the empty Task its state.
const BUILD_STOP: &[u8] = b"b.";

fn prefix(prefixes: &[Bytes], number: u32) -> Result<Bytes, ReplyError> {
    match number.checked_sub(1) {
        None => Ok(Bytes::new()),
        Some(index) => prefixes
            .get(index as usize)
            .cloned()
            .ok_or(ReplyError::Missing("prefix", number)),
    }
}

/// The pickle of a state without STOP and, where one frame covers it all, without protocol and frame.
fn body_of(pickle: &[u8]) -> Option<&[u8]> {
    const FRAME_BYTES: usize = 11;
    let (stop, body) = pickle.split_last()?;
    if *stop != b'.' {
        return None;
    }
    if let Some(mut rest) = pickle.strip_prefix(b"\x80\x05\x95")
        && rest.len() >= 8
        && rest.get_u64_le() == rest.len() as u64
    {
        return Some(&body[FRAME_BYTES..]);
    }
    Some(body)
}

fn read_keys(column: &Bytes, expected: usize, keys: &mut Vec<Key>) -> Result<(), ReplyError> {
    let mut reader = Reader::new(column);
    if reader.read_array_len()? != expected {
        return Err(ReplyError::Column("key"));
    }
    for _ in 0..expected {
        keys.push(Key::read(&mut reader)?);
    }
    Ok(())
}

/// The header's `[(task, [(bytes, writeable)…])…]` filled with the frames that follow.
fn buffers_of(header: &Value, frames: &[Bytes]) -> Result<Vec<(usize, Vec<Bytes>)>, ReplyError> {
    let wrong = || ReplyError::Column("buffer");
    let mut frames = frames.iter();
    let mut found = Vec::new();
    for entry in header
        .get("buffers")
        .and_then(Value::as_array)
        .unwrap_or_default()
    {
        let [index, count] = entry.as_array().ok_or_else(wrong)? else {
            return Err(wrong());
        };
        let index = index.as_u64().ok_or_else(wrong)? as usize;
        let count = count.as_u64().ok_or_else(wrong)? as usize;
        let of_task = frames
            .by_ref()
            .take(count)
            .map(|frame| Bytes::copy_from_slice(frame))
            .collect::<Vec<_>>();
        if of_task.len() != count {
            return Err(wrong());
        }
        found.push((index, of_task));
    }
    Ok(found)
}

fn u32_column(column: &Bytes) -> impl Iterator<Item = u32> {
    column.chunks_exact(4).map(|mut bytes| bytes.get_u32_le())
}

fn u64_column(column: &Bytes) -> impl Iterator<Item = usize> {
    column
        .chunks_exact(8)
        .map(|mut bytes| bytes.get_u64_le() as usize)
}
