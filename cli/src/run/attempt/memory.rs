//! The control groups of an attempt's processes: made before these start, asked when memory may have run out.

use super::{Attempt, Scheduler};
use crate::control_groups::{Leaf, Limits, MemoryRecord};
use crate::run::process::{Exit, Who};
use contract::Role;
use contract::status::MemoryUse;
use plan::ResolvedRole;

/// A process's group, and how much of what it tells was passed on.
pub(super) struct Held {
    leaf: Leaf,
    kills_told: u64,
}

/// How often the kernel has killed a process of this machine because memory ran out.
pub(super) fn kernel_kills() -> u64 {
    let statistics = std::fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let count = statistics
        .lines()
        .find_map(|line| line.strip_prefix("oom_kill "));
    count
        .and_then(|count| count.trim().parse().ok())
        .unwrap_or(0)
}

impl Attempt<'_> {
    /// The group of a process that is about to start, where there are groups.
    pub(super) fn make_leaf(&mut self, who: Who, name: &str, role: Role, spec: &ResolvedRole) {
        let Some(groups) = self.setting.groups else {
            return;
        };
        match groups.leaf(name, &Limits::of_role(role, &spec.resources)) {
            Ok(leaf) => {
                let held = Held {
                    leaf,
                    kills_told: 0,
                };
                self.leaves.insert(who, held);
            }
            Err(error) => self.setting.console.say(&format!(
                "note: the limits of {name} are not enforced: {error}"
            )),
        }
    }

    pub(super) fn leaf(&self, who: Who) -> Option<&Leaf> {
        self.leaves.get(&who).map(|held| &held.leaf)
    }

    /// What happened to the memory of a process and its descendants.
    pub(super) fn memory_of(&self, who: Who) -> Option<MemoryRecord> {
        self.leaf(who).map(Leaf::memory)
    }

    /// The process is gone, and so is what it left behind. Kills that were passed on already are not in the record.
    pub(super) fn leave(&mut self, who: Who) -> Option<MemoryRecord> {
        let held = self.leaves.remove(&who)?;
        let mut record = held.leaf.memory();
        record.kills = record
            .kills
            .map(|kills| kills.saturating_sub(held.kills_told));
        tokio::task::spawn_blocking(move || held.leaf.end());
        Some(record)
    }

    /// Without a group of its own, the machine is asked.
    pub(super) fn ran_out_of_memory(&self, record: Option<MemoryRecord>, exit: Exit) -> bool {
        record.map_or_else(
            || exit.killed() && kernel_kills() > self.kernel_kills_at_begin,
            |record| record.ran_out(exit.killed()),
        )
    }

    /// The kernel ends the process that holds a worker's data and not its nanny, which starts another: a worker is
    /// lost, although no process of ours has ended.
    pub(super) fn look_at_memory_of_workers(&mut self) {
        if self.scheduler == Scheduler::Closed {
            return;
        }
        let mut lost = Vec::new();
        for (who, held) in &mut self.leaves {
            let Who::Worker { group, slot } = *who else {
                continue;
            };
            let record = held.leaf.memory();
            let kills = record.kills.unwrap_or(0);
            if kills > held.kills_told {
                lost.push((group, slot, kills - held.kills_told, record));
                held.kills_told = kills;
            }
        }
        for (group, slot, times, record) in lost {
            let group = &mut self.groups[group];
            group.started_again += u32::try_from(times).unwrap_or(u32::MAX);
            self.setting.console.say(&format!(
                "worker {}: {}; its nanny starts it again",
                group.slots[slot].name,
                sentence(Some(record))
            ));
        }
    }
}

/// What happened, for people.
pub(super) fn sentence(record: Option<MemoryRecord>) -> String {
    let MemoryRecord {
        limit_bytes,
        peak_bytes,
        ..
    } = record.unwrap_or_default();
    match (limit_bytes, peak_bytes) {
        (Some(limit), Some(peak)) => format!(
            "it ran out of memory (limit {}, at most {} used)",
            amount(limit),
            amount(peak)
        ),
        (Some(limit), None) => format!("it ran out of memory (limit {})", amount(limit)),
        (None, Some(peak)) => {
            format!(
                "the machine ran out of memory (at most {} used)",
                amount(peak)
            )
        }
        (None, None) => "the machine ran out of memory".to_owned(),
    }
}

/// The same for programs.
pub(super) fn in_status(record: Option<MemoryRecord>) -> MemoryUse {
    let record = record.unwrap_or_default();
    let number = |bytes: Option<u64>| bytes.and_then(|bytes| i64::try_from(bytes).ok());
    MemoryUse {
        limit_bytes: number(record.limit_bytes),
        peak_bytes: number(record.peak_bytes),
    }
}

fn amount(bytes: u64) -> String {
    let mebibytes = bytes as f64 / f64::from(1 << 20);
    if mebibytes >= 1024.0 {
        format!("{:.1} GiB", mebibytes / 1024.0)
    } else {
        format!("{mebibytes:.0} MiB")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_and_peak_are_told_as_far_as_they_are_known() {
        let record = |limit_bytes, peak_bytes| {
            Some(MemoryRecord {
                limit_bytes,
                peak_bytes,
                ..MemoryRecord::default()
            })
        };
        assert_eq!(
            sentence(record(Some(64 << 20), Some(3 << 30))),
            "it ran out of memory (limit 64 MiB, at most 3.0 GiB used)"
        );
        assert_eq!(sentence(None), "the machine ran out of memory");
        assert_eq!(
            in_status(record(Some(5), None)),
            MemoryUse {
                limit_bytes: Some(5),
                peak_bytes: None
            }
        );
    }
}
