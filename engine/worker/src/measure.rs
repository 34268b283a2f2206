//! What the kernel says of memory and processor time, of this process, the executor and the machine.
//!
//! Memory is proportional set size: what worker and executor share through memfds counts once.

use std::fs;
use std::path::Path;

/// Bytes that the processes hold together; those that are gone count nothing.
pub fn memory_bytes(processes: &[u32]) -> u64 {
    processes.iter().filter_map(|id| proportional(*id)).sum()
}

fn proportional(process: u32) -> Option<u64> {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok();
    let pss = rollup.as_deref().and_then(|text| field_kib(text, "Pss:"));
    pss.or_else(|| {
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        field_kib(&status, "VmRSS:")
    })
}

fn field_kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}

/// Processor time of the processes so far.
pub fn cpu_seconds(processes: &[u32]) -> f64 {
    processes.iter().filter_map(|id| cpu_of(*id)).sum()
}

fn cpu_of(process: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name may hold anything, also parentheses.
    let fields = &stat[stat.rfind(')')? + 2..];
    let mut times = fields.split(' ').skip(11);
    let ticks: u64 = times.next()?.parse::<u64>().ok()? + times.next()?.parse::<u64>().ok()?;
    Some(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

pub fn open_files(process: u32) -> usize {
    fs::read_dir(format!("/proc/{process}/fd")).map_or(0, Iterator::count)
}

/// What the machine has, or the container lets us have.
pub fn memory_of_machine() -> Option<u64> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let total = field_kib(&info, "MemTotal:")?;
    let limits = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ];
    let limits = limits.iter().filter_map(|path| number_in(Path::new(path)));
    Some(limits.fold(total, u64::min))
}

fn number_in(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_holds_memory_and_a_process_that_is_gone_holds_none() {
        let own = std::process::id();
        assert!(memory_bytes(&[own]) > 1 << 20);
        assert_eq!(memory_bytes(&[u32::MAX - 1]), 0);
        assert!(open_files(own) >= 3);
        assert!(memory_of_machine().unwrap() > 1 << 20);
    }
}
