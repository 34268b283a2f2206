//! Values on disk: one file each, frames one behind the other, compressed where it pays.
//!
//! The format is this program's own and lives as long as it. A file goes with the last [`Spilled`] that names it, so that
//! a reader never finds it gone.

use crate::executor::lent::Piece;
use crate::executor::segment::Segment;
use crate::executor::shared::{Region, SharedMemory};
use crate::requests::Serialized;
use bytes::Bytes;
use protocol::Payload;
use protocol::frames::{ALIGNMENT, FrameRegion};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use worker_core::ValueId;

/// Of a frame, this much is tried; what does not shrink to [`PAYS_AT`] is written as it is.
const SAMPLE_BYTES: usize = 64 * 1024;
const PAYS_AT: f64 = 0.7;
/// Below this a frame is not worth the try.
const SMALL_BYTES: usize = 10_000;
/// What is read and written at once.
const PART_BYTES: usize = 1 << 20;
/// Frames from this size on are read to shared memory.
const LARGE_BYTES: u64 = 64 * 1024;
const COMPRESSION_LEVEL: i32 = 1;

/// A value in a file.
#[derive(Clone, Debug)]
pub struct Spilled {
    file: Arc<SpillFile>,
    header: Bytes,
    frames: Arc<[Frame]>,
}

#[derive(Clone, Copy, Debug)]
struct Frame {
    len: u64,
    disk_len: u64,
    is_compressed: bool,
}

impl Frame {
    fn is_large(&self) -> bool {
        self.len >= LARGE_BYTES
    }

    fn read(&self, input: &mut File) -> io::Result<Bytes> {
        let mut content = vec![0; self.len as usize];
        self.read_to(input, &mut content)?;
        Ok(content.into())
    }

    fn read_to(&self, input: &mut File, into: &mut [u8]) -> io::Result<()> {
        if !self.is_compressed {
            return input.read_exact(into);
        }
        let mut compressed = input.take(self.disk_len);
        zstd::Decoder::new(&mut compressed)?.read_exact(into)?;
        // What is left of it, if anything, is the end of the compressed form.
        io::copy(&mut compressed, &mut io::sink()).map(drop)
    }
}

/// Room for the large frames of a value, one behind the other.
struct Large {
    region: Region,
    places: Vec<Range<usize>>,
    filled: usize,
}

impl Large {
    /// None if there are no large frames, or no shared memory is to be had.
    fn of(frames: &[Frame], memory: &SharedMemory) -> Option<Self> {
        let mut places = Vec::new();
        let mut end = 0_usize;
        for frame in frames.iter().filter(|frame| frame.is_large()) {
            let start = end.next_multiple_of(ALIGNMENT);
            end = start + frame.len as usize;
            places.push(start..end);
        }
        let region = (end > 0).then(|| memory.region(end).ok())??;
        Some(Self {
            region,
            places,
            filled: 0,
        })
    }

    fn next(&mut self) -> &mut [u8] {
        let place = self.places[self.filled].clone();
        self.filled += 1;
        self.region.part(place)
    }

    fn finish(self) -> impl Iterator<Item = Bytes> {
        let whole = Segment::whole(&self.region.into_segment());
        self.places.into_iter().map(move |place| whole.slice(place))
    }
}

#[derive(Debug)]
struct SpillFile(PathBuf);

impl Drop for SpillFile {
    fn drop(&mut self) {
        // The directory goes at the end in any case.
        let _left = std::fs::remove_file(&self.0);
    }
}

/// A value that goes to disk again has another file: somebody may still read the one before.
pub fn file_name(value: ValueId, time: u64) -> String {
    format!("{}-{time}.value", value.0)
}

/// Writes a value; to be called where waiting for the disk hurts nobody.
pub fn write(path: &Path, value: &Serialized) -> io::Result<Spilled> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let file = Arc::new(SpillFile(path.to_owned()));
    let mut out = File::create(path)?;
    let mut frames = Vec::with_capacity(value.frames.len());
    let mut disk_len = 0;
    for frame in &value.frames {
        let is_compressed = shrinks(frame)?;
        if is_compressed {
            let mut encoder = zstd::Encoder::new(&mut out, COMPRESSION_LEVEL)?;
            copy(frame, &mut encoder)?;
            encoder.finish()?;
        } else {
            copy(frame, &mut out)?;
        }
        let end = out.stream_position()?;
        frames.push(Frame {
            len: frame.len() as u64,
            disk_len: end - disk_len,
            is_compressed,
        });
        disk_len = end;
    }
    Ok(Spilled {
        file,
        header: Bytes::copy_from_slice(&value.header),
        frames: frames.into(),
    })
}

/// Part by part: memory is short when values are spilled.
fn copy(frame: &Piece, out: &mut impl Write) -> io::Result<()> {
    if let Piece::Here(content) = frame {
        return out.write_all(content);
    }
    let mut part = vec![0; PART_BYTES.min(frame.len())];
    for at in (0..frame.len()).step_by(PART_BYTES) {
        let part = &mut part[..PART_BYTES.min(frame.len() - at)];
        frame.read(at, part)?;
        out.write_all(part)?;
    }
    Ok(())
}

/// Whether a frame is worth compressing, by a sample from its middle.
fn shrinks(frame: &Piece) -> io::Result<bool> {
    let len = frame.len();
    if len < SMALL_BYTES {
        return Ok(false);
    }
    let mut sample = vec![0; len.min(SAMPLE_BYTES)];
    frame.read((len - sample.len()) / 2, &mut sample)?;
    let tried = zstd::bulk::compress(&sample, COMPRESSION_LEVEL)?;
    Ok((tried.len() as f64) < (sample.len() as f64) * PAYS_AT)
}

impl Spilled {
    pub fn disk_bytes(&self) -> u64 {
        self.frames.iter().map(|frame| frame.disk_len).sum()
    }

    /// Reads the value back; to be called where waiting for the disk hurts nobody.
    pub fn read(&self, memory: &SharedMemory) -> io::Result<Payload> {
        let mut input = File::open(&self.file.0)?;
        // Large frames go to shared memory, where the executor takes them from; without any to be had to the heap.
        let mut large = Large::of(&self.frames, memory);
        let mut frames = Vec::with_capacity(self.frames.len());
        for frame in self.frames.iter() {
            frames.push(match &mut large {
                Some(large) if frame.is_large() => {
                    frame.read_to(&mut input, large.next())?;
                    None
                }
                _ => Some(frame.read(&mut input)?),
            });
        }
        let mut large = large.map(Large::finish).into_iter().flatten();
        let frames = frames.into_iter();
        let frames = frames.filter_map(|frame| frame.or_else(|| large.next()));
        Ok(Payload::new(self.header.clone(), frames.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::lent::Place;

    #[test]
    fn a_value_that_the_executor_lends_is_written_from_where_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let noise: Vec<u8> = (0..3_000_000_u32)
            .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        let place = Place {
            address: noise.as_ptr() as u64,
            len: noise.len() as u64,
        };
        let process = std::process::id() as i32;
        let value = Serialized {
            header: Bytes::from_static(b"header"),
            frames: vec![Piece::Lent { process, place }],
        };
        let spilled = write(&directory.path().join("1.value"), &value).unwrap();
        let back = spilled.read(&SharedMemory::new(None)).unwrap();
        assert_eq!(back.frames(), [Bytes::from(noise)]);
    }

    #[test]
    fn a_value_comes_back_as_it_was_and_its_file_goes_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("storage").join("1.value");
        let noise: Vec<u8> = (0..100_000_u32)
            .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        let frames = vec![Bytes::from(vec![7; 500_000]), Bytes::new(), noise.into()];
        let payload = Payload::new(Bytes::from_static(b"header"), frames);
        let memory = SharedMemory::new(None);
        let spilled = write(&path, &Serialized::from(&payload)).unwrap();
        assert!(spilled.disk_bytes() < 200_000, "{}", spilled.disk_bytes());
        assert_eq!(spilled.read(&memory).unwrap(), payload);
        drop(spilled);
        assert!(!path.exists());
    }
}
