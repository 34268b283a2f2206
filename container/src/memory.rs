//! Whether the kernel killed something in this container for want of memory.
//!
//! The kernel kills an executor or a grandchild, not the first process, and where that ends as an ordinary failure nobody
//! outside can tell. The container's control group counts such kills; it is looked at before, while and after the command
//! runs. Where there is no control group to see, nothing is claimed.

use contract::status::MemoryUse;
use std::fs;
use std::path::{Path, PathBuf};

/// No limit, in version one: the largest multiple of a page.
const NO_LIMIT: u64 = 1 << 62;

/// A peak this near the limit reached it.
const REACHED_PERCENT: u64 = 95;

/// The container's memory, as its control group has it.
#[derive(Debug, Clone)]
pub struct Memory {
    group: Option<Group>,
    /// Kills at the look before the last, and at the last.
    before: u64,
    latest: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Group {
    directory: PathBuf,
    version: Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// What ran short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shortage {
    pub limit_bytes: Option<u64>,
    pub peak_bytes: Option<u64>,
}

impl Memory {
    pub fn of_container() -> Self {
        let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::of(Group::find(&membership, Path::new("/sys/fs/cgroup")))
    }

    fn of(group: Option<Group>) -> Self {
        let kills = group.as_ref().map_or(0, Group::kills);
        Memory {
            group,
            before: kills,
            latest: kills,
        }
    }

    /// To be called now and then, so that an old kill is not taken for the cause of a later end.
    pub fn look(&mut self) {
        self.before = self.latest;
        self.latest = self.group.as_ref().map_or(0, Group::kills);
    }

    /// What ran short of late, if anything did.
    pub fn shortage(&self) -> Option<Shortage> {
        let group = self.group.as_ref()?;
        (group.kills() > self.before).then(|| group.shortage())
    }
}

impl Memory {
    /// Limit and peak, whoever killed what; nothing where there is no control group.
    pub fn figures(&self) -> Option<Shortage> {
        self.group.as_ref().map(Group::shortage)
    }
}

impl Group {
    /// From `id:controllers:path` lines. In a container the path may be that of the machine, and the container's own group
    /// is what is mounted.
    fn find(membership: &str, mounted: &Path) -> Option<Self> {
        let paths = |wanted: &dyn Fn(&str) -> bool| {
            membership.lines().find_map(|line| {
                let (_, rest) = line.split_once(':')?;
                let (controllers, path) = rest.split_once(':')?;
                wanted(controllers).then(|| path.trim_start_matches('/').to_owned())
            })
        };
        let of_one = paths(&|controllers| controllers.split(',').any(|each| each == "memory"));
        let of_two = paths(&str::is_empty);
        let one = of_one
            .into_iter()
            .flat_map(|path| [mounted.join("memory").join(path), mounted.join("memory")])
            .map(|directory| (directory, Version::One));
        let two = of_two
            .into_iter()
            .flat_map(|path| [mounted.join(path), mounted.to_owned()])
            .map(|directory| (directory, Version::Two));
        one.chain(two)
            .map(|(directory, version)| Group { directory, version })
            .find(|group| group.directory.join(group.counter()).exists())
    }

    fn counter(&self) -> &'static str {
        match self.version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        }
    }

    /// Processes killed for want of memory since the group was made.
    fn kills(&self) -> u64 {
        let text = fs::read_to_string(self.directory.join(self.counter())).unwrap_or_default();
        text.lines()
            .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
            .unwrap_or(0)
    }

    fn shortage(&self) -> Shortage {
        let (limit, peak) = match self.version {
            Version::One => ("memory.limit_in_bytes", "memory.max_usage_in_bytes"),
            Version::Two => ("memory.max", "memory.peak"),
        };
        Shortage {
            limit_bytes: self.number(limit).filter(|bytes| *bytes < NO_LIMIT),
            peak_bytes: self.number(peak),
        }
    }

    /// `max` is no number.
    fn number(&self, file: &str) -> Option<u64> {
        let text = fs::read_to_string(self.directory.join(file)).ok()?;
        text.trim().parse().ok()
    }
}

impl Shortage {
    /// The figures for programs.
    pub fn figures(self) -> MemoryUse {
        let number = |bytes: Option<u64>| bytes.and_then(|bytes| i64::try_from(bytes).ok());
        MemoryUse {
            limit_bytes: number(self.limit_bytes),
            peak_bytes: number(self.peak_bytes),
        }
    }

    /// The figures, and whose memory it was, after "was killed: ".
    pub fn explanation(self) -> String {
        let peak = self.peak_bytes.map(gibibytes);
        match (self.limit_bytes, peak) {
            (Some(limit), Some(peak)) => {
                let reached = self.peak_bytes.unwrap_or(0) >= limit / 100 * REACHED_PERCENT;
                let limit = gibibytes(limit);
                if reached {
                    format!(
                        "out of memory: the container used {peak} of its {limit}; raise limits.memory"
                    )
                } else {
                    format!(
                        "out of memory on the node or in the pod as a whole: the container used {peak} at most, its limit is {limit}"
                    )
                }
            }
            (Some(limit), None) => {
                format!(
                    "out of memory: the container's limit is {}; raise limits.memory",
                    gibibytes(limit)
                )
            }
            (None, Some(peak)) => format!(
                "out of memory on the node: the container used {peak} at most and has no limit; set limits.memory"
            ),
            (None, None) => "out of memory on the node; set limits.memory".to_owned(),
        }
    }
}

fn gibibytes(bytes: u64) -> String {
    const MEBI: u64 = 1 << 20;
    if bytes >= 1 << 30 {
        let tenths = (bytes * 10) >> 30;
        format!("{}.{} GiB", tenths / 10, tenths % 10)
    } else {
        format!("{} MiB", bytes.div_ceil(MEBI))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(place: &Path, file: &str, text: &str) {
        let file = place.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    #[test]
    fn a_container_of_version_two_sees_its_own_group_at_the_top() {
        let place = tempfile::tempdir().unwrap();
        let events = |kills: u32| format!("low 0\nhigh 0\nmax 9\noom 1\noom_kill {kills}\n");
        write(place.path(), "memory.events", &events(0));
        write(place.path(), "memory.max", "1073741824\n");
        write(place.path(), "memory.peak", "1073741824\n");
        let group = Group::find("0::/\n", place.path());
        let memory = Memory::of(group);
        assert_eq!(memory.shortage(), None);
        write(place.path(), "memory.events", &events(1));
        let shortage = memory.shortage().unwrap();
        assert_eq!(shortage.limit_bytes, Some(1 << 30));
        assert!(
            shortage
                .explanation()
                .contains("used 1.0 GiB of its 1.0 GiB")
        );
    }

    #[test]
    fn a_container_of_version_one_may_see_the_machines_path() {
        let place = tempfile::tempdir().unwrap();
        let control = "memory/memory.oom_control";
        write(
            place.path(),
            control,
            "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
        );
        write(
            place.path(),
            "memory/memory.limit_in_bytes",
            "9223372036854771712\n",
        );
        let membership = "5:cpu,cpuacct:/kubepods/x\n4:memory:/kubepods/x\n0::/kubepods/x\n";
        let memory = Memory::of(Group::find(membership, place.path()));
        assert_eq!(memory.shortage(), None);
        write(
            place.path(),
            control,
            "oom_kill_disable 0\nunder_oom 0\noom_kill 4\n",
        );
        assert_eq!(memory.shortage().unwrap().limit_bytes, None);
    }

    #[test]
    fn a_kill_of_long_ago_is_not_the_cause() {
        let place = tempfile::tempdir().unwrap();
        write(place.path(), "memory.events", "oom_kill 0\n");
        let mut memory = Memory::of(Group::find("0::/\n", place.path()));
        write(place.path(), "memory.events", "oom_kill 1\n");
        memory.look();
        assert!(memory.shortage().is_some());
        memory.look();
        assert_eq!(memory.shortage(), None);
    }

    #[test]
    fn without_a_control_group_nothing_is_claimed() {
        let place = tempfile::tempdir().unwrap();
        let group = Group::find("0::/\n", place.path());
        assert_eq!(group, None);
        assert_eq!(Memory::of(group).shortage(), None);
    }

    #[test]
    fn a_peak_below_the_limit_blames_the_node() {
        let shortage = Shortage {
            limit_bytes: Some(4 << 30),
            peak_bytes: Some(300 << 20),
        };
        let text = shortage.explanation();
        assert!(
            text.contains("on the node") && text.contains("300 MiB") && text.contains("4.0 GiB")
        );
    }
}
