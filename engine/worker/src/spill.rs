//! Values on disk: one file each, frames one behind the other, compressed where it pays.
//!
//! The format is this program's own and lives as long as it. A file goes with the last [`Spilled`] that names it, so that
//! a reader never finds it gone.

use crate::executor::segment::Filling;
use bytes::Bytes;
use protocol::Payload;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use worker_core::ValueId;

/// Of a frame, this much is tried first; what does not shrink to [`PAYS_AT`] is written as it is.
const SAMPLE_BYTES: usize = 64 * 1024;
const PAYS_AT: f64 = 0.7;
/// Below this a frame is not worth the try.
const SMALL_BYTES: usize = 10_000;
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
        let mut content = vec![0; self.disk_len as usize];
        input.read_exact(&mut content)?;
        if self.is_compressed {
            content = zstd::bulk::decompress(&content, self.len as usize)?;
        }
        Ok(content.into())
    }

    fn copy(&self, input: &mut File, shared: &mut Filling) -> io::Result<()> {
        let len = self.len as usize;
        match self.is_compressed {
            true => shared.add(len, self.read(input)?.as_ref()),
            false => shared.add(len, input),
        }
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

pub fn file_name(value: ValueId) -> String {
    format!("{}.value", value.0)
}

/// Writes a value; to be called where waiting for the disk hurts nobody.
pub fn write(path: &Path, payload: &Payload) -> io::Result<Spilled> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let file = Arc::new(SpillFile(path.to_owned()));
    let mut out = File::create(path)?;
    let mut frames = Vec::with_capacity(payload.frames().len());
    for frame in payload.frames() {
        let compressed = compress(frame)?;
        let content: &[u8] = compressed.as_deref().unwrap_or(frame);
        out.write_all(content)?;
        frames.push(Frame {
            len: frame.len() as u64,
            disk_len: content.len() as u64,
            is_compressed: compressed.is_some(),
        });
    }
    Ok(Spilled {
        file,
        header: Bytes::copy_from_slice(payload.header()),
        frames: frames.into(),
    })
}

fn compress(frame: &Bytes) -> io::Result<Option<Vec<u8>>> {
    if frame.len() < SMALL_BYTES {
        return Ok(None);
    }
    let pays = |from: usize, to: usize| (to as f64) < (from as f64) * PAYS_AT;
    let middle = (frame.len() - frame.len().min(SAMPLE_BYTES)) / 2;
    let sample = &frame[middle..frame.len().min(middle + SAMPLE_BYTES)];
    let tried = zstd::bulk::compress(sample, COMPRESSION_LEVEL)?;
    if !pays(sample.len(), tried.len()) {
        return Ok(None);
    }
    let compressed = zstd::bulk::compress(frame, COMPRESSION_LEVEL)?;
    Ok(pays(frame.len(), compressed.len()).then_some(compressed))
}

impl Spilled {
    pub fn disk_bytes(&self) -> u64 {
        self.frames.iter().map(|frame| frame.disk_len).sum()
    }

    /// Reads the value back; to be called where waiting for the disk hurts nobody.
    pub fn read(&self) -> io::Result<Payload> {
        let mut input = File::open(&self.file.0)?;
        let has_large = self.frames.iter().any(Frame::is_large);
        // Large frames go to shared memory, where the executor takes them from; without any to be had to the heap.
        let mut shared = has_large.then(Filling::new).and_then(Result::ok);
        let mut frames = Vec::with_capacity(self.frames.len());
        for frame in self.frames.iter() {
            let heap = match &mut shared {
                Some(shared) if frame.is_large() => {
                    frame.copy(&mut input, shared)?;
                    None
                }
                _ => Some(frame.read(&mut input)?),
            };
            frames.push(heap);
        }
        let mut large = shared
            .map_or_else(|| Ok(Vec::new()), Filling::finish)?
            .into_iter();
        let frames = frames
            .into_iter()
            .filter_map(|frame| frame.or_else(|| large.next()));
        Ok(Payload::new(self.header.clone(), frames.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_as_it_was_and_its_file_goes_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("storage").join("1.value");
        let noise: Vec<u8> = (0..100_000_u32)
            .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect();
        let frames = vec![Bytes::from(vec![7; 500_000]), Bytes::new(), noise.into()];
        let payload = Payload::new(Bytes::from_static(b"header"), frames);
        let spilled = write(&path, &payload).unwrap();
        assert!(spilled.disk_bytes() < 200_000, "{}", spilled.disk_bytes());
        assert_eq!(spilled.read().unwrap(), payload);
        drop(spilled);
        assert!(!path.exists());
    }
}
