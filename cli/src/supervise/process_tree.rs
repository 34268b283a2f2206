//! All descendants of this process, and ending them.
//!
//! Invariant: once `adopt_orphans` was called, a process we started, directly or not, is a descendant
//! until it ends: the kernel gives orphans to the nearest reaper, whatever session they are in.

use crate::clock;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// How often to look whether a process has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// How long to go on killing; a process in an uninterruptible wait cannot be killed.
const KILLING: Duration = Duration::from_secs(10);

/// Makes this process the parent of descendants whose own parent ends.
pub fn adopt_orphans() -> std::io::Result<()> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    Ok(())
}

/// SIGTERM to every descendant, SIGKILL to those still there after the grace or when in a hurry. Returns how
/// many could not be ended.
pub fn end_descendants(grace: Duration, hurry: &AtomicBool) -> usize {
    let begun = clock::monotonic();
    let mut told = HashSet::new();
    loop {
        let remaining = descendants();
        if remaining.is_empty() {
            return 0;
        }
        let passed = begun.elapsed();
        let kill = passed >= grace || hurry.load(Ordering::Relaxed);
        if passed >= grace + KILLING {
            return remaining.len();
        }
        for pid in remaining {
            if kill {
                let _ = kill_process(pid, Signal::KILL);
            } else if told.insert(pid) {
                let _ = kill_process(pid, Signal::TERM);
            }
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Descendants that still run. Our own children that have ended are reaped on the way.
fn descendants() -> Vec<Pid> {
    let mut found = Vec::new();
    let children = children_by_parent();
    let mut parents = vec![rustix::process::getpid()];
    while let Some(parent) = parents.pop() {
        for child in children.get(&parent).into_iter().flatten() {
            if child.ended {
                // Only our own can be reaped, of others their parent is told.
                let _ = waitpid(Some(child.pid), WaitOptions::NOHANG);
            } else {
                found.push(child.pid);
            }
            parents.push(child.pid);
        }
    }
    found
}

/// Reaps adopted children that have ended, other than those whose end somebody else waits for.
pub fn reap_adopted(known: &HashSet<u32>) {
    let children = children_by_parent();
    for child in children
        .get(&rustix::process::getpid())
        .into_iter()
        .flatten()
    {
        if child.ended && !known.contains(&child.pid.as_raw_nonzero().get().cast_unsigned()) {
            let _ = waitpid(Some(child.pid), WaitOptions::NOHANG);
        }
    }
}

struct Process {
    pid: Pid,
    /// A zombie: ended, but not reaped.
    ended: bool,
}

fn children_by_parent() -> HashMap<Pid, Vec<Process>> {
    let mut children: HashMap<Pid, Vec<Process>> = HashMap::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name
            .to_str()
            .and_then(|name| name.parse().ok())
            .and_then(Pid::from_raw)
        else {
            continue;
        };
        // It may have ended since the directory was read.
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else {
            continue;
        };
        if let Some((ended, parent)) = state_and_parent(&stat) {
            children
                .entry(parent)
                .or_default()
                .push(Process { pid, ended });
        }
    }
    children
}

/// From `pid (name) state parent …`; the name may hold anything, also brackets.
fn state_and_parent(stat: &str) -> Option<(bool, Pid)> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut words = rest.split_whitespace();
    let state = words.next()?;
    let parent = words.next()?.parse().ok().and_then(Pid::from_raw)?;
    Some((matches!(state, "Z" | "X"), parent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_and_parent_are_read_whatever_the_name_of_the_program_is() {
        let parent = Pid::from_raw(17);
        assert_eq!(
            state_and_parent("42 (a) b) c) S 17 42 42 0").map(|(ended, pid)| (ended, Some(pid))),
            Some((false, parent))
        );
        assert_eq!(
            state_and_parent("42 (x) Z 17 1").map(|(ended, pid)| (ended, Some(pid))),
            Some((true, parent))
        );
        assert!(state_and_parent("42 (kthreadd) S 0 0").is_none());
        assert!(state_and_parent("").is_none());
    }

    #[test]
    fn a_child_of_ours_is_found() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let pid = Pid::from_child(&child);
        let children = children_by_parent();
        let found = children[&rustix::process::getpid()]
            .iter()
            .any(|process| process.pid == pid && !process.ended);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(found);
    }
}
