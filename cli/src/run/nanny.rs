//! What the log of a worker tells of its nanny's watch over memory: a nanny ends a worker that uses nearly all of its
//! limit, starts another, and says so nowhere else. Reads lines; knows neither control groups nor what a loss means.
//!
//! A worker counts as ended by its nanny when the nanny wrote first that it uses too much and then how it ended. One that
//! the kernel ended first is left to whoever asks the kernel.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// How much of a log is read at once; of a worker that writes more between two looks, the last of it.
const READ_AT_ONCE_BYTES: u64 = 256 * 1024;

const SIGTERM: u32 = 15;
const SIGKILL: u32 = 9;

/// The log of a worker and its nanny, read as it grows.
#[derive(Debug)]
pub struct NannyLog {
    file: PathBuf,
    read_to: u64,
    /// The beginning of a line whose end is not written yet.
    rest: Vec<u8>,
    watch: Watch,
}

impl NannyLog {
    /// From what is written after now; the file may hold what earlier workers wrote.
    pub fn from_now(file: &Path) -> Self {
        NannyLog {
            file: file.to_owned(),
            read_to: file.metadata().map_or(0, |metadata| metadata.len()),
            rest: Vec::new(),
            watch: Watch::default(),
        }
    }

    /// The workers that ended for their memory since the last look: for each how much of its limit it used, as written.
    /// `kernel_kills` is how many processes of this worker the kernel has ended since then.
    pub fn ended_for_memory(&mut self, kernel_kills: u64) -> Vec<String> {
        self.watch.kernel_kills += kernel_kills;
        // A log that cannot be read tells nothing.
        let bytes = self.new_bytes().unwrap_or_default();
        self.rest.extend(bytes);
        let whole = self
            .rest
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        let lines: Vec<u8> = self.rest.drain(..whole).collect();
        if self.rest.len() as u64 > READ_AT_ONCE_BYTES {
            self.rest.clear();
        }
        String::from_utf8_lossy(&lines)
            .lines()
            .filter_map(|line| self.watch.line(line))
            .collect()
    }

    fn new_bytes(&mut self) -> std::io::Result<Vec<u8>> {
        let mut file = File::open(&self.file)?;
        let length = file.metadata()?.len();
        if length <= self.read_to {
            return Ok(Vec::new());
        }
        let from = self.read_to.max(length.saturating_sub(READ_AT_ONCE_BYTES));
        if from > self.read_to {
            self.rest.clear();
        }
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(length - from).read_to_end(&mut bytes)?;
        self.read_to = from + bytes.len() as u64;
        Ok(bytes)
    }
}

/// What is known of the processes a nanny watches.
#[derive(Debug, Default)]
struct Watch {
    /// Told to end: the process, how much of its limit it used, and whether it had to be killed.
    told_to_end: Vec<(u32, String, bool)>,
    /// Ends by the kernel that no line was found for yet.
    kernel_kills: u64,
}

impl Watch {
    /// How much of its limit a worker used that its nanny has ended, when this line says that it has ended.
    fn line(&mut self, line: &str) -> Option<String> {
        if let Some((process, percent)) = over_its_limit(line) {
            self.told_to_end.push((process, percent.to_owned(), false));
            return None;
        }
        if let Some(process) = slow_to_end(line) {
            for told in self.told_to_end.iter_mut().filter(|told| told.0 == process) {
                told.2 = true;
            }
            return None;
        }
        let (process, signal) = ended_by_signal(line)?;
        let known = self.told_to_end.iter().position(|told| told.0 == process);
        let told = known.map(|index| self.told_to_end.swap_remove(index));
        if signal == SIGKILL && self.kernel_kills > 0 {
            self.kernel_kills -= 1;
            return None;
        }
        let (_, percent, killed) = told?;
        (signal == SIGTERM || signal == SIGKILL && killed).then_some(percent)
    }
}

/// `Worker tcp://… (pid=7) exceeded 95% memory budget. …`
fn over_its_limit(line: &str) -> Option<(u32, &str)> {
    let (before, after) = line.split_once(") exceeded ")?;
    let (percent, _) = after.split_once(" memory budget")?;
    let (_, process) = before.rsplit_once("(pid=")?;
    Some((process.parse().ok()?, percent))
}

/// `Worker tcp://… (pid=7) is slow to accept SIGTERM; …`
fn slow_to_end(line: &str) -> Option<u32> {
    let (before, _) = line.split_once(") is slow to accept SIGTERM")?;
    let (_, process) = before.rsplit_once("(pid=")?;
    process.parse().ok()
}

/// `Worker process 7 was killed by signal 15`
fn ended_by_signal(line: &str) -> Option<(u32, u32)> {
    let (_, after) = line.split_once("Worker process ")?;
    let (process, signal) = after.split_once(" was killed by signal ")?;
    Some((process.parse().ok()?, signal.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const OVER: &str = "2026-11-21 12:00:00,000 - distributed.nanny.memory - WARNING - Worker tcp://127.0.0.1:40001 (pid=7) exceeded 95% memory budget. Restarting...";
    const SLOW: &str =
        "… - Worker tcp://127.0.0.1:40001 (pid=7) is slow to accept SIGTERM; sending SIGKILL";

    fn ended(by: &str) -> String {
        format!("… - distributed.nanny - INFO - Worker process 7 was killed by signal {by}")
    }

    fn told(kernel_kills: u64, lines: &[&str]) -> Vec<String> {
        let mut watch = Watch {
            kernel_kills,
            ..Watch::default()
        };
        lines.iter().filter_map(|line| watch.line(line)).collect()
    }

    #[test]
    fn a_worker_over_its_limit_that_then_ends_was_ended_by_its_nanny() {
        let (terminated, killed) = (ended("15"), ended("9"));
        assert_eq!(told(0, &[OVER, &terminated]), ["95%"]);
        assert_eq!(told(0, &[OVER, SLOW, &killed]), ["95%"]);
        for other in [
            vec![OVER],
            vec![&terminated],
            vec![SLOW, &killed],
            vec![OVER, &killed],
        ] {
            assert_eq!(told(0, &other), [""; 0], "{other:?}");
        }
    }

    #[test]
    fn a_worker_the_kernel_ended_first_is_not_told_twice() {
        let killed = ended("9");
        assert_eq!(told(1, &[OVER, SLOW, &killed]), [""; 0]);
        assert_eq!(
            told(1, &[&killed, OVER, SLOW, &killed]),
            ["95%"],
            "each end by the kernel stands for one line"
        );
    }

    #[test]
    fn a_log_is_read_as_it_grows_from_the_start_of_its_worker_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("worker.log");
        let earlier = format!("{OVER}\n{}\n", ended("15"));
        std::fs::write(&path, &earlier).unwrap();
        let mut log = NannyLog::from_now(&path);
        assert_eq!(log.ended_for_memory(0), [""; 0]);
        let mut file = File::options().append(true).open(&path).unwrap();
        let (begin, end) = earlier.split_at(earlier.len() - 3);
        file.write_all(begin.as_bytes()).unwrap();
        assert_eq!(log.ended_for_memory(0), [""; 0], "half a line");
        file.write_all(end.as_bytes()).unwrap();
        assert_eq!(log.ended_for_memory(0), ["95%"]);
        file.write_all("x".repeat(1 << 20).as_bytes()).unwrap();
        file.write_all(format!("\n{earlier}").as_bytes()).unwrap();
        assert_eq!(
            log.ended_for_memory(0),
            ["95%"],
            "after more than is read at once"
        );
        assert_eq!(
            NannyLog::from_now(&directory.path().join("none")).ended_for_memory(0),
            [""; 0]
        );
    }
}
