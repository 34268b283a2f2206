//! Out of memory: told apart from every other end, with figures.

use crate::harness::{Place, is_root, skip_unless};
use std::path::{Path, PathBuf};
use std::process::Command;

const LIMIT_BYTES: u64 = 48 << 20;

/// A group of version one for memory, gone when dropped.
struct Group(PathBuf);

impl Group {
    fn new(name: &str) -> Option<Self> {
        let mounted = Path::new("/sys/fs/cgroup/memory");
        if !is_root() || !mounted.join("cgroup.procs").exists() {
            return None;
        }
        let directory = mounted.join(format!("daskjob-launch-{name}-{}", std::process::id()));
        std::fs::create_dir(&directory).ok()?;
        let group = Group(directory);
        std::fs::write(
            group.0.join("memory.limit_in_bytes"),
            LIMIT_BYTES.to_string(),
        )
        .ok()?;
        Some(group)
    }

    /// A launcher inside the group.
    fn launcher(&self, place: &Place, command: &[&str]) -> Command {
        self.launcher_with(place, &[], command)
    }

    fn launcher_with(&self, place: &Place, flags: &[&str], command: &[&str]) -> Command {
        let enter = format!("echo $$ > {}/cgroup.procs; exec \"$@\"", self.0.display());
        let mut shell = Command::new("sh");
        shell
            .args(["-c", &enter, "sh", crate::harness::program()])
            .args(place.words(flags, command))
            .current_dir(place.path());
        shell
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        crate::harness::until("the group is empty", || {
            std::fs::remove_dir(&self.0).is_ok()
        });
    }
}

const LACKS: &str = "a memory control group of version one that root may write to";

/// Doubles a variable until there is no more memory.
const GREEDY: &str = "x=0123456789abcdef; while :; do x=$x$x; done";

#[test]
fn a_command_the_kernel_killed_for_memory_says_so_with_limit_and_use() {
    let group = Group::new("command");
    skip_unless!(group.is_some(), LACKS);
    let (group, place) = (group.unwrap(), Place::new());
    let ended = place
        .start(group.launcher(&place, &["sh", "-c", GREEDY]))
        .end();
    let message = ended.message();
    assert_eq!(
        (ended.code, message["exitCode"].as_i64()),
        (137, Some(137)),
        "{ended:?}"
    );
    assert_eq!(
        (message["class"].as_str(), message["reason"].as_str()),
        (Some("OutOfMemory"), Some("OutOfMemory"))
    );
    let text = message["message"].as_str().unwrap();
    assert_eq!(
        text,
        "sh was killed: out of memory: the container used 48 MiB of its 48 MiB; raise limits.memory"
    );
}

#[test]
fn a_child_of_the_command_that_was_killed_for_memory_counts_too() {
    let group = Group::new("grandchild");
    skip_unless!(group.is_some(), LACKS);
    let (group, place) = (group.unwrap(), Place::new());
    let script = format!("sh -c '{GREEDY}' || exit 1");
    let ended = place
        .start(group.launcher(&place, &["sh", "-c", &script]))
        .end();
    assert_eq!(ended.code, 1, "{ended:?}");
    assert_eq!(ended.message()["class"], "OutOfMemory");
}

#[test]
fn a_command_that_outlives_its_killed_child_is_ended_where_that_is_asked_for() {
    let group = Group::new("outlives");
    skip_unless!(group.is_some(), LACKS);
    let (group, place) = (group.unwrap(), Place::new());
    let script = format!("sh -c '{GREEDY}'; exec sleep 600");
    let flags = ["--end-when-out-of-memory"];
    let ended = place
        .start(group.launcher_with(&place, &flags, &["sh", "-c", &script]))
        .end();
    let message = ended.message();
    assert_eq!(
        (ended.code, message["class"].as_str()),
        (137, Some("OutOfMemory")),
        "{ended:?}"
    );
}

#[test]
fn a_kill_by_hand_in_a_limited_group_is_not_out_of_memory() {
    let group = Group::new("hand");
    skip_unless!(group.is_some(), LACKS);
    let (group, place) = (group.unwrap(), Place::new());
    let ended = place
        .start(group.launcher(&place, &["sh", "-c", "kill -KILL $$"]))
        .end();
    assert_eq!(ended.message()["reason"], "KilledBySignal");
}
