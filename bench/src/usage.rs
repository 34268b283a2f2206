//! CPU time and memory of a process and everything below it, from the kernel.
//!
//! CPU is read from the processes' own clocks (nanoseconds, threads that ended included), children that ended from
//! their parents. Memory is the proportional set size, so that shared pages count once.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

/// What a process tree has used.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub cpu_seconds: f64,
    pub processes: usize,
}

/// Fields of /proc/PID/stat that are of interest.
struct Stat {
    parent: u32,
    /// CPU of children that ended and were waited for, in clock ticks.
    ended_children_ticks: u64,
}

/// CPU seconds of the tree below and including `root`.
pub fn cpu(root: u32) -> Usage {
    let ticks_per_second = ticks_per_second();
    let mut usage = Usage::default();
    for (pid, stat) in tree(root) {
        let ended = stat.ended_children_ticks as f64 / ticks_per_second;
        usage.cpu_seconds += process_clock_seconds(pid).unwrap_or(0.0) + ended;
        usage.processes += 1;
    }
    usage
}

/// Proportional set size of the tree in bytes.
pub fn proportional_bytes(root: u32) -> u64 {
    tree(root)
        .into_iter()
        .map(|(pid, _)| own_proportional_bytes(pid))
        .sum()
}

/// Proportional set size of one process in bytes; 0 when it is gone.
pub fn own_proportional_bytes(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
    let kib = rollup.ok().and_then(|rollup| pss_kib(&rollup));
    kib.unwrap_or(0) * 1024
}

/// Of the last minute; 0 where the kernel does not tell.
pub fn load_average() -> f64 {
    fs::read_to_string("/proc/loadavg")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .unwrap_or(0.0)
}

fn pss_kib(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// `root` and its descendants.
fn tree(root: u32) -> Vec<(u32, Stat)> {
    let mut stats = all_processes();
    let mut members = Vec::new();
    let mut wanted = vec![root];
    while let Some(pid) = wanted.pop() {
        wanted.extend(
            stats
                .iter()
                .filter(|(_, stat)| stat.parent == pid)
                .map(|(child, _)| *child),
        );
        if let Some(stat) = stats.remove(&pid) {
            members.push((pid, stat));
        }
    }
    members
}

fn all_processes() -> HashMap<u32, Stat> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return HashMap::new();
    };
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            Some((pid, read_stat(&entry.path())?))
        })
        .collect()
}

fn read_stat(directory: &Path) -> Option<Stat> {
    let text = fs::read_to_string(directory.join("stat")).ok()?;
    // The name may hold spaces and parentheses; what follows its end does not.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Stat {
        parent: u32::try_from(number(1)?).ok()?,
        ended_children_ticks: number(13)? + number(14)?,
    })
}

fn ticks_per_second() -> f64 {
    // SAFETY: takes no pointer and has no precondition.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    if ticks > 0 { ticks as f64 } else { 100.0 }
}

/// CPU seconds of one living process with all its threads, also those that ended.
fn process_clock_seconds(pid: u32) -> Option<f64> {
    let pid = libc::pid_t::try_from(pid).ok()?;
    let mut clock = 0;
    // SAFETY: `clock` is writable for the call; a pid that is gone is an error code.
    if unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) } != 0 {
        return None;
    }
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is writable for the call; a clock of a process that is gone is an error code.
    if unsafe { libc::clock_gettime(clock, &raw mut time) } != 0 {
        return None;
    }
    Some(time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9)
}

#[cfg(test)]
mod tests {
    use super::{cpu, proportional_bytes, pss_kib};

    #[test]
    fn own_process_has_used_cpu_and_memory() {
        let pid = std::process::id();
        let before = cpu(pid).cpu_seconds;
        let mut sum = 0u64;
        for i in 0..200_000_000u64 {
            sum = std::hint::black_box(sum.wrapping_add(i));
        }
        assert!(cpu(pid).cpu_seconds > before, "{sum}");
        assert!(proportional_bytes(pid) > 100_000);
    }

    #[test]
    fn a_child_belongs_to_the_tree() {
        let mut child = std::process::Command::new("sleep")
            .arg("5")
            .spawn()
            .expect("sleep starts");
        let with_child = cpu(std::process::id()).processes;
        child.kill().expect("the child lives");
        child.wait().expect("the child ends");
        assert!(with_child >= 2);
    }

    #[test]
    fn proportional_size_is_read_from_its_line() {
        assert_eq!(
            pss_kib("Rss:   9 kB\nPss:     123 kB\nPss_Dirty: 5 kB\n"),
            Some(123)
        );
        assert_eq!(pss_kib("Rss: 9 kB\n"), None);
    }
}
