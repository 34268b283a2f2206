//! What the kernel says of memory and processor time, of this process, the executor and the machine.
//!
//! Memory is proportional set size: what worker and executor share through memfds counts once, also what neither has mapped.

use std::fs;
use std::path::Path;

/// Bytes that the processes hold together, so much of it in shared memory of theirs; those that are gone count nothing.
pub fn memory_bytes(processes: &[u32], shared: u64) -> u64 {
    let parts = processes.iter().filter_map(|id| proportional(*id));
    let (all, mapped) = parts.fold((0, 0), |(all, mapped), part| {
        (all + part.all, mapped + part.shared)
    });
    all - mapped + mapped.max(shared)
}

/// Of one process, in proportion to how many share it.
struct Proportional {
    all: u64,
    /// Of which in memfds and the like.
    shared: u64,
}

fn proportional(process: u32) -> Option<Proportional> {
    let rollup = fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok();
    if let Some(text) = rollup.as_deref()
        && let Some(all) = field_kib(text, "Pss:")
    {
        let shared = field_kib(text, "Pss_Shmem:").unwrap_or(0).min(all);
        return Some(Proportional { all, shared });
    }
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let all = field_kib(&status, "VmRSS:")?;
    let shared = field_kib(&status, "RssShmem:").unwrap_or(0).min(all);
    Some(Proportional { all, shared })
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
        assert!(memory_bytes(&[own], 0) > 1 << 20);
        assert_eq!(memory_bytes(&[u32::MAX - 1], 0), 0);
        assert_eq!(memory_bytes(&[u32::MAX - 1], 5), 5);
        assert!(open_files(own) >= 3);
        assert!(memory_of_machine().unwrap() > 1 << 20);
    }
}
