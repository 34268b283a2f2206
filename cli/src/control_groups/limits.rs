//! Which file of a control group holds which figure, in both versions of control groups. Pure.

use contract::Role;
use plan::Resources;
use serde::{Deserialize, Serialize};

/// The time a processor quota is a share of: the kernel's own default, and Kubernetes'.
const PERIOD_US: u64 = 100_000;

/// The smallest quota the kernel takes.
const SMALLEST_QUOTA_US: u64 = 1_000;

/// Which interface of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Version {
    One,
    Two,
}

/// What can be limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Controller {
    Memory,
    Cpu,
}

impl Controller {
    pub const ALL: [Controller; 2] = [Controller::Memory, Controller::Cpu];

    /// The kernel's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Controller::Memory => "memory",
            Controller::Cpu => "cpu",
        }
    }
}

/// What the processes of one role may use together.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Limits {
    pub memory_bytes: Option<u64>,
    pub cores: Option<f64>,
    /// Whether all of them end when memory runs out, not only the largest.
    pub end_together: bool,
}

impl Limits {
    /// The limits of a manifest. A program ends as a whole, as its container would; of a worker only the process that
    /// holds the data, so that its nanny starts another, and of a scheduler the graph helper that took too much.
    pub fn of_role(role: Role, resources: &Resources) -> Self {
        let limit = |name: &str| {
            resources
                .limits
                .get(name)
                .filter(|amount| !amount.is_zero())
        };
        Limits {
            memory_bytes: limit("memory").map(|amount| amount.rounded_up()),
            cores: limit("cpu").map(|amount| amount.as_f64()),
            end_together: role == Role::Runner,
        }
    }

    pub fn wants(&self, controller: Controller) -> bool {
        match controller {
            Controller::Memory => self.memory_bytes.is_some(),
            Controller::Cpu => self.cores.is_some(),
        }
    }
}

/// A figure to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Figure {
    pub controller: Controller,
    pub file: &'static str,
    pub value: String,
    /// Whether the limit holds without it: then a kernel that lacks the file is no obstacle.
    pub optional: bool,
}

/// The figures of a group, in the order in which they must be written.
pub fn figures(version: Version, limits: &Limits) -> Vec<Figure> {
    let mut figures = Vec::new();
    if let Some(bytes) = limits.memory_bytes {
        figures.extend(memory_figures(version, bytes));
    }
    if version == Version::Two && limits.end_together {
        figures.push(figure(Controller::Memory, "memory.oom.group", 1, true));
    }
    if let Some(cores) = limits.cores {
        figures.extend(cpu_figures(version, cores));
    }
    figures
}

/// Nothing is swapped out: a limit that swap makes soft is none.
fn memory_figures(version: Version, bytes: u64) -> [Figure; 2] {
    let memory = Controller::Memory;
    match version {
        // The second is of memory and swap together, and may not be below the first.
        Version::One => [
            figure(memory, "memory.limit_in_bytes", bytes, false),
            figure(memory, "memory.memsw.limit_in_bytes", bytes, true),
        ],
        Version::Two => [
            figure(memory, "memory.max", bytes, false),
            figure(memory, "memory.swap.max", 0, true),
        ],
    }
}

fn cpu_figures(version: Version, cores: f64) -> Vec<Figure> {
    let cpu = Controller::Cpu;
    let quota_us = ((cores * PERIOD_US as f64).round() as u64).max(SMALLEST_QUOTA_US);
    match version {
        Version::One => vec![
            figure(cpu, "cpu.cfs_period_us", PERIOD_US, false),
            figure(cpu, "cpu.cfs_quota_us", quota_us, false),
        ],
        Version::Two => vec![figure(
            cpu,
            "cpu.max",
            format!("{quota_us} {PERIOD_US}"),
            false,
        )],
    }
}

fn figure(
    controller: Controller,
    file: &'static str,
    value: impl ToString,
    optional: bool,
) -> Figure {
    Figure {
        controller,
        file,
        value: value.to_string(),
        optional,
    }
}

/// What a group tells about its memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryRecord {
    /// Processes the kernel has ended because memory ran out; old kernels do not tell in version one.
    pub kills: Option<u64>,
    /// Whether the limit was ever met, which may have cost cached pages only.
    pub limit_met: bool,
    pub peak_bytes: Option<u64>,
    pub limit_bytes: Option<u64>,
}

impl MemoryRecord {
    /// Whether the end of a process has this cause.
    pub fn ran_out(&self, killed: bool) -> bool {
        self.kills
            .map_or(killed && self.limit_met, |kills| kills > 0)
    }
}

/// The file with the number of kills, and the one with the most memory there ever was.
pub fn record_files(version: Version) -> (&'static str, &'static str) {
    match version {
        Version::One => ("memory.oom_control", "memory.max_usage_in_bytes"),
        Version::Two => ("memory.events", "memory.peak"),
    }
}

/// How often the kernel has ended a process. Before 4.13 it did not tell in version one.
pub fn kills(text: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix("oom_kill "))
        .and_then(|count| count.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(version: Version, limits: Limits) -> Vec<(&'static str, String)> {
        figures(version, &limits)
            .into_iter()
            .map(|figure| (figure.file, figure.value))
            .collect()
    }

    const BOTH: Limits = Limits {
        memory_bytes: Some(64 << 20),
        cores: Some(1.5),
        end_together: true,
    };

    #[test]
    fn version_one_has_a_file_for_memory_one_for_memory_with_swap_and_two_for_processors() {
        assert_eq!(
            written(Version::One, BOTH),
            [
                ("memory.limit_in_bytes", "67108864".to_owned()),
                ("memory.memsw.limit_in_bytes", "67108864".to_owned()),
                ("cpu.cfs_period_us", "100000".to_owned()),
                ("cpu.cfs_quota_us", "150000".to_owned()),
            ]
        );
    }

    #[test]
    fn version_two_has_swap_apart_and_ends_a_group_as_a_whole() {
        assert_eq!(
            written(Version::Two, BOTH),
            [
                ("memory.max", "67108864".to_owned()),
                ("memory.swap.max", "0".to_owned()),
                ("memory.oom.group", "1".to_owned()),
                ("cpu.max", "150000 100000".to_owned()),
            ]
        );
    }

    #[test]
    fn a_tiny_share_of_a_core_is_the_smallest_the_kernel_takes() {
        let tiny = Limits {
            cores: Some(0.001),
            ..Limits::default()
        };
        assert_eq!(
            written(Version::Two, tiny),
            [("cpu.max", "1000 100000".to_owned())]
        );
        assert_eq!(written(Version::One, tiny)[1].1, "1000");
    }

    #[test]
    fn without_limits_nothing_is_written() {
        for version in [Version::One, Version::Two] {
            assert_eq!(written(version, Limits::default()), []);
        }
    }

    #[test]
    fn swap_may_be_unknown_to_a_kernel_but_memory_may_not() {
        for version in [Version::One, Version::Two] {
            let optional: Vec<bool> = figures(version, &BOTH)
                .iter()
                .filter(|figure| figure.controller == Controller::Memory)
                .map(|figure| figure.optional)
                .collect();
            assert!(!optional[0] && optional[1..].iter().all(|optional| *optional));
        }
    }

    #[test]
    fn where_kills_are_not_told_a_killed_process_that_met_its_limit_ran_out_of_memory() {
        let record = MemoryRecord {
            limit_met: true,
            ..MemoryRecord::default()
        };
        assert!(record.ran_out(true) && !record.ran_out(false));
        let told = MemoryRecord {
            kills: Some(0),
            ..record
        };
        assert!(!told.ran_out(true));
    }

    #[test]
    fn kills_are_read_in_both_versions() {
        assert_eq!(
            kills("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
            Some(2)
        );
        assert_eq!(
            kills("low 0\nhigh 0\nmax 17\noom 4\noom_kill 3\noom_group_kill 1\n"),
            Some(3)
        );
        assert_eq!(kills("oom_kill_disable 0\nunder_oom 0\n"), None);
    }
}
