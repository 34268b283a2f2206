//! Looks where this process is among the machine's control groups, and what it may do there.
//!
//! The reading of `/proc` is apart from the files, so that any machine's can be tested.

use super::limits::Controller;
use super::site::{Facts, Hierarchy, Unified};
use rustix::fs::{Access, access};
use std::path::{Component, Path, PathBuf};

/// A mounted hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mount {
    /// The group that is seen at the mount point.
    root: String,
    point: PathBuf,
    /// Version two.
    unified: bool,
    /// Controllers of a hierarchy of version one, among other options.
    options: Vec<String>,
}

/// What is so on this machine, for this process.
pub fn facts() -> Facts {
    let read = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
    let membership = read("/proc/self/cgroup");
    let mounts = mounts(&read("/proc/self/mountinfo"));
    let of_one = Controller::ALL
        .into_iter()
        .filter_map(|controller| {
            let directory = existing(places_in_one(&membership, &mounts, controller))?;
            Some(Hierarchy {
                controller,
                writable: may_write(&directory),
                directory,
            })
        })
        .collect();
    Facts {
        of_one,
        of_two: existing(places_in_two(&membership, &mounts)).map(unified),
        superuser: rustix::process::geteuid().is_root(),
        systemd: Path::new("/run/systemd/system").is_dir(),
    }
}

/// A mount may be hidden by a later one.
fn existing(places: Vec<PathBuf>) -> Option<PathBuf> {
    places
        .into_iter()
        .find(|directory| directory.join("cgroup.procs").exists())
}

fn unified(directory: PathBuf) -> Unified {
    let available = std::fs::read_to_string(directory.join("cgroup.controllers"));
    let available = available.unwrap_or_default();
    Unified {
        writable: may_write(&directory)
            && may_write(&directory.join("cgroup.procs"))
            && may_write(&directory.join("cgroup.subtree_control")),
        // Every group has this file but the one at the very top.
        top: !directory.join("cgroup.type").exists(),
        available: Controller::ALL
            .into_iter()
            .filter(|controller| {
                available
                    .split_whitespace()
                    .any(|name| name == controller.as_str())
            })
            .collect(),
        others: processes(&directory)
            .iter()
            .filter(|pid| !ours().contains(pid))
            .count(),
        directory,
    }
}

/// The two processes of a run that watch each other.
pub fn ours() -> [i32; 2] {
    let parent = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get());
    [
        rustix::process::getpid().as_raw_nonzero().get(),
        if parent > 1 { parent } else { -1 },
    ]
}

/// The processes of a group, without those of groups in it. One that this process cannot see is 0.
pub fn processes(group: &Path) -> Vec<i32> {
    std::fs::read_to_string(group.join("cgroup.procs"))
        .unwrap_or_default()
        .lines()
        .filter_map(|line| line.parse().ok())
        .collect()
}

fn may_write(path: &Path) -> bool {
    access(path, Access::WRITE_OK).is_ok()
}

/// From `id:controllers:path` lines: the path of this process in the hierarchy of a controller, at each mount.
fn places_in_one(membership: &str, mounts: &[Mount], controller: Controller) -> Vec<PathBuf> {
    let name = controller.as_str();
    let path = membership.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        controllers
            .split(',')
            .any(|each| each == name)
            .then_some(path)
    });
    mounts
        .iter()
        .filter(|mount| !mount.unified && mount.options.iter().any(|option| option == name))
        .filter_map(|mount| seen_at(mount, path?))
        .collect()
}

/// From the line `0::path`.
fn places_in_two(membership: &str, mounts: &[Mount]) -> Vec<PathBuf> {
    let path = membership.lines().find_map(|line| line.strip_prefix("0::"));
    mounts
        .iter()
        .filter(|mount| mount.unified)
        .filter_map(|mount| seen_at(mount, path?))
        .collect()
}

/// Where a group is seen through a mount, which may show a part of the hierarchy only.
fn seen_at(mount: &Mount, path: &str) -> Option<PathBuf> {
    let below = Path::new(path).strip_prefix(&mount.root).ok()?;
    // A group outside of this process's namespace is shown as `/../…`.
    let plain = below
        .components()
        .all(|component| matches!(component, Component::Normal(_)));
    plain.then(|| mount.point.join(below))
}

/// From `/proc/self/mountinfo`: `id parent device root point options… - type source options`.
fn mounts(mountinfo: &str) -> Vec<Mount> {
    let mount_of = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let mut words = before.split(' ').skip(3);
        let (root, point) = (words.next()?, words.next()?);
        let mut words = after.split(' ');
        let kind = words.next()?;
        let options = words.nth(1).unwrap_or_default();
        matches!(kind, "cgroup" | "cgroup2").then(|| Mount {
            root: unescaped(root),
            point: unescaped(point).into(),
            unified: kind == "cgroup2",
            options: options.split(',').map(str::to_owned).collect(),
        })
    };
    mountinfo.lines().filter_map(mount_of).collect()
}

/// Blanks and backslashes are written as `\040` and so on.
fn unescaped(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let code = after
            .get(..3)
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                plain.push(char::from(code));
                rest = &after[3..];
            }
            None => {
                plain.push('\\');
                rest = after;
            }
        }
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn each_controller_of_version_one_has_a_place_of_its_own() {
        let membership = "9:name=systemd:/\n4:memory:/jobs/a b\n1:cpu,cpuacct:/\n0::/\n";
        let mounts = mounts(HYBRID);
        assert_eq!(
            places_in_one(membership, &mounts, Controller::Memory),
            [Path::new("/sys/fs/cgroup/memory/jobs/a b")]
        );
        assert_eq!(
            places_in_one(membership, &mounts, Controller::Cpu),
            [Path::new("/sys/fs/cgroup/cpu,cpuacct")]
        );
        assert_eq!(
            places_in_two(membership, &mounts),
            [Path::new("/sys/fs/cgroup/unified")]
        );
    }

    #[test]
    fn a_session_of_systemd_has_one_place_for_all() {
        let mountinfo = "28 22 0:25 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n";
        let membership =
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/run-u1.scope\n";
        let mounts = mounts(mountinfo);
        assert_eq!(
            places_in_two(membership, &mounts),
            [Path::new(
                "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice/run-u1.scope"
            )]
        );
        assert!(places_in_one(membership, &mounts, Controller::Memory).is_empty());
    }

    #[test]
    fn a_container_sees_its_own_part_of_the_hierarchy() {
        let mountinfo = "736 735 0:32 /docker/abc /sys/fs/cgroup/memory ro,nosuid master:15 - cgroup cgroup rw,memory\n";
        let mounts = mounts(mountinfo);
        assert_eq!(
            places_in_one("4:memory:/docker/abc/x\n", &mounts, Controller::Memory),
            [Path::new("/sys/fs/cgroup/memory/x")]
        );
        for outside in ["4:memory:/elsewhere\n", "4:memory:/docker/abcd\n"] {
            assert!(places_in_one(outside, &mounts, Controller::Memory).is_empty());
        }
    }

    #[test]
    fn a_group_outside_of_the_namespace_is_not_guessed_at() {
        let mounts = mounts("28 22 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");
        assert!(places_in_two("0::/../other\n", &mounts).is_empty());
    }

    #[test]
    fn names_with_blanks_are_read() {
        assert_eq!(unescaped(r"/a\040b\134c"), r"/a b\c");
        assert_eq!(unescaped(r"/a\"), r"/a\");
    }

    #[test]
    fn nonsense_is_no_mount() {
        for line in ["", "a b c", "1 2 3 4 - cgroup", "- cgroup cgroup rw"] {
            assert_eq!(mounts(line), [], "{line}");
        }
    }
}
