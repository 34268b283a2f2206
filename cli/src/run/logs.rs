//! The ends of logs: what is shown and kept of a failure.

use std::collections::VecDeque;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// The last lines of a text.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// The end of a log file, as much as a failure keeps. A file that is not there has none.
pub fn tail_of(file: &Path) -> String {
    read_end(file)
        .map(|bytes| contract::status::log_tail(&String::from_utf8_lossy(&bytes)))
        .unwrap_or_default()
}

fn read_end(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut file = std::fs::File::open(file)?;
    let length = file.metadata()?.len();
    let kept = Tail::KEPT as u64;
    file.seek(SeekFrom::Start(length.saturating_sub(kept)))?;
    let mut bytes = Vec::new();
    file.take(kept).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// From the first warning, error or traceback of a log's end on; empty where there is none.
pub fn complaints(end: &str) -> &str {
    let lines = end.split_inclusive('\n');
    let mut start = 0;
    for line in lines {
        if [
            "WARN",
            "ERROR",
            "CRITICAL",
            "Traceback (most recent call last)",
        ]
        .iter()
        .any(|sign| line.contains(sign))
        {
            return &end[start..];
        }
        start += line.len();
    }
    ""
}

/// The last bytes of what went by.
#[derive(Debug, Default)]
pub struct Tail {
    bytes: VecDeque<u8>,
}

impl Tail {
    /// A little more than is used, so that a cut first line is recognised although line ends are dropped at the end.
    const KEPT: usize = contract::status::LOG_TAIL_MAXIMUM_BYTES + 64;

    pub fn add(&mut self, chunk: &[u8]) {
        let chunk = &chunk[chunk.len().saturating_sub(Self::KEPT)..];
        let excess = (self.bytes.len() + chunk.len()).saturating_sub(Self::KEPT);
        self.bytes.drain(..excess);
        self.bytes.extend(chunk);
    }

    pub fn text(&self) -> String {
        let bytes: Vec<u8> = self.bytes.iter().copied().collect();
        contract::status::log_tail(&String::from_utf8_lossy(&bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_holds_the_end_of_what_went_by() {
        let mut tail = Tail::default();
        for line in 0..2_000 {
            tail.add(format!("line {line}\n").as_bytes());
        }
        let text = tail.text();
        assert!(text.len() <= contract::status::LOG_TAIL_MAXIMUM_BYTES && text.len() > 4_000);
        assert!(text.starts_with("line ") && text.ends_with("line 1999"));
        tail.add(&[b'x'; 100_000]);
        assert_eq!(tail.text().len(), contract::status::LOG_TAIL_MAXIMUM_BYTES);
    }

    #[test]
    fn a_log_complains_from_its_first_warning_on() {
        assert_eq!(complaints("INFO a\nINFO b\n"), "");
        assert_eq!(
            complaints("INFO a\n2026 - WARNING - b\nINFO c\n"),
            "2026 - WARNING - b\nINFO c\n"
        );
    }

    #[test]
    fn the_end_of_a_file_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("log");
        assert_eq!(tail_of(&file), "");
        std::fs::write(&file, "a\nb\n").unwrap();
        assert_eq!(tail_of(&file), "a\nb");
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
    }
}
