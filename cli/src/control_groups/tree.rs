//! Ending whatever runs in a control group, whoever its parent is, and removing the group.

use super::observe;
use crate::clock;
use rustix::process::{Pid, Signal, kill_process};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long to go on killing; a process in an uninterruptible wait cannot be killed.
const KILLING: Duration = Duration::from_secs(5);

/// How often to look whether they have ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Moves a process, with all its threads, into a group.
pub fn enter(group: &Path, pid: i32) -> io::Result<()> {
    std::fs::write(group.join("cgroup.procs"), pid.to_string())
}

/// Ends every process of a group and of those in it, and removes them. A group that is not there is removed already.
pub fn end(group: &Path) {
    let begun = clock::monotonic();
    loop {
        kill(group);
        remove(group);
        if !group.exists() || begun.elapsed() > KILLING {
            return;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// The same for all groups in this one but one.
pub fn end_children(group: &Path, but: &str) {
    for child in children(group) {
        if child.file_name().is_none_or(|name| name != but) {
            end(&child);
        }
    }
}

/// How many processes are in the groups below this one, but one.
pub fn processes_below(group: &Path, but: &str) -> usize {
    children(group)
        .iter()
        .filter(|child| child.file_name().is_none_or(|name| name != but))
        .map(|child| observe::processes(child).len() + processes_below(child, ""))
        .sum()
}

/// Removes groups that hold no process, the innermost first.
pub fn remove(group: &Path) {
    for child in children(group) {
        remove(&child);
    }
    // Refused while something runs in it.
    let _ = std::fs::remove_dir(group);
}

/// Version two kills a whole tree at once. Version one one by one, and again until none is left.
fn kill(group: &Path) {
    let whole = group.join("cgroup.kill");
    if whole.exists() && std::fs::write(whole, "1").is_ok() {
        return;
    }
    for child in children(group) {
        kill(&child);
    }
    for pid in observe::processes(group) {
        if let Some(pid) = Pid::from_raw(pid) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}

fn children(group: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(group)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}
