//! Process 1 inherits every orphan of its container, and must take leave of those that end.
//!
//! Invariant: a child that somebody waits for is left to whoever does: only what had ended by the last look already, and
//! still nobody has taken leave of, is taken leave of here.

use rustix::process::{Pid, WaitOptions, getpid, waitpid};
use std::collections::HashSet;
use std::fs;

/// Children that had ended when they were last looked for.
#[derive(Debug, Default)]
pub struct Orphans {
    ended: HashSet<Pid>,
}

impl Orphans {
    /// To be called now and then, some seconds apart.
    pub fn bury(&mut self) {
        let ended: HashSet<Pid> = ended_children(getpid()).collect();
        for child in ended.intersection(&self.ended) {
            // Somebody may have taken leave of it just now.
            let _gone = waitpid(Some(*child), WaitOptions::NOHANG);
        }
        self.ended = ended;
    }
}

fn ended_children(parent: Pid) -> impl Iterator<Item = Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(move |entry| {
        let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        is_ended_child(&stat, parent).then_some(pid)
    })
}

/// From `pid (name) state parent …`; the name may hold anything, also brackets.
fn is_ended_child(stat: &str, parent: Pid) -> bool {
    let Some((_, rest)) = stat.rsplit_once(')') else {
        return false;
    };
    let mut words = rest.split_whitespace();
    let is_ended = words.next() == Some("Z");
    is_ended
        && words.next().and_then(|word| word.parse().ok()) == Some(parent.as_raw_nonzero().get())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn has_ended(child: Pid) -> bool {
        ended_children(getpid()).any(|ended| ended == child)
    }

    #[test]
    #[expect(clippy::zombie_processes, reason = "who buries it is what is tested")]
    fn a_child_is_buried_at_the_second_look_after_its_end() {
        let child = Command::new("true").spawn().unwrap();
        let child = Pid::from_child(&child);
        while !has_ended(child) {
            std::thread::yield_now();
        }
        let mut orphans = Orphans::default();
        orphans.bury();
        assert!(has_ended(child), "whoever waits for it comes first");
        orphans.bury();
        assert!(!has_ended(child));
    }

    #[test]
    fn only_own_children_that_have_ended_count() {
        let parent = Pid::from_raw(17).unwrap();
        for (stat, expected) in [
            ("42 (a) b) c) Z 17 42", true),
            ("42 (x) S 17 1", false),
            ("42 (x) Z 1 1", false),
            ("", false),
        ] {
            assert_eq!(is_ended_child(stat, parent), expected, "{stat}");
        }
    }
}
