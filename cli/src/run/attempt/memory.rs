//! What happens to the memory of an attempt's processes: control groups made before these start, what workers of ours leave
//! when they lose their Python process, and what stock nannies write.
//!
//! Each loss of a worker is told and counted once, whoever noticed it: the kernel's count, the worker or nanny that ended its
//! Python process, or the worker's own end.

use super::{Attempt, Scheduler};
use crate::clock;
use crate::control_groups::{Leaf, Limits, MemoryRecord};
use crate::run::commands;
use crate::run::left::{Left, LeftBehind};
use crate::run::nanny::NannyLog;
use crate::run::process::{Exit, Who};
use contract::Role;
use contract::status::{FailureClass, MemoryUse};
use contract::termination::TerminationMessage;
use crd::Engine;
use plan::ResolvedRole;
use std::time::{Duration, Instant};

/// A nanny whose first worker ends before it has reported ends too, at once or after asking in vain.
const NANNY_END: Duration = Duration::from_secs(30);

/// A process's group, what else tells of it if it is a worker, and how much of all that was passed on.
pub(super) struct Watched {
    /// Where there are groups.
    leaf: Option<Leaf>,
    witness: Option<Witness>,
    kills_told: u64,
    told: Option<(Instant, Cause)>,
}

/// Who tells of what becomes of a worker's Python process.
enum Witness {
    /// The worker, which is ours.
    Left(LeftBehind),
    /// The log of a stock nanny.
    Nanny(NannyLog),
}

/// Why a worker was lost, for people and for programs.
#[derive(Debug, Clone)]
pub(super) struct Cause {
    pub sentence: String,
    /// Of one that ran out of memory.
    pub memory: Option<MemoryUse>,
}

impl Cause {
    pub(super) fn kernel(record: Option<MemoryRecord>) -> Self {
        Cause {
            sentence: sentence(record),
            memory: Some(in_status(record)),
        }
    }

    fn nanny(percent: &str, record: Option<MemoryRecord>, limit_bytes: Option<u64>) -> Self {
        let limit = limit_bytes.map_or_else(String::new, |bytes| format!(" of {}", amount(bytes)));
        Cause {
            sentence: format!(
                "it ran out of memory (ended by its nanny beyond {percent} of the limit{limit})"
            ),
            memory: Some(in_status(Some(MemoryRecord {
                limit_bytes,
                ..record.unwrap_or_default()
            }))),
        }
    }

    /// In the worker's own words.
    fn left(message: TerminationMessage) -> Self {
        let mut cause = match message.class {
            FailureClass::OutOfMemory => Cause {
                sentence: format!("it ran out of memory: {}", message.message),
                memory: Some(message.memory.unwrap_or_default()),
            },
            _ => Cause {
                sentence: message.message,
                memory: None,
            },
        };
        cause.while_it_ran(message.task.as_deref());
        cause
    }

    fn while_it_ran(&mut self, task: Option<&str>) {
        if let Some(task) = task {
            self.sentence.push_str(&format!(", while it ran {task}"));
        }
    }
}

/// What a worker that has ended leaves to be told.
#[derive(Debug)]
pub(super) struct Remains {
    record: Option<MemoryRecord>,
    /// What was not passed on before its end.
    untold: Option<Cause>,
    told_shortly_before: Option<Cause>,
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

impl Watched {
    fn record(&self) -> Option<MemoryRecord> {
        self.leaf.as_ref().map(Leaf::memory)
    }

    /// What happened since the last look, one cause for each worker process that ended.
    fn look(&mut self, limit_bytes: Option<u64>) -> Vec<Cause> {
        let record = self.record();
        let kills = record.and_then(|record| record.kills).unwrap_or(0);
        let new_kills = kills.saturating_sub(self.kills_told);
        self.kills_told = kills;
        let mut causes: Vec<Cause> = (0..new_kills).map(|_| Cause::kernel(record)).collect();
        match &mut self.witness {
            None => {}
            Some(Witness::Nanny(nanny)) => {
                let by_nanny = nanny.ended_for_memory(new_kills);
                let by_nanny = by_nanny.iter();
                causes.extend(by_nanny.map(|percent| Cause::nanny(percent, record, limit_bytes)));
            }
            Some(Witness::Left(left)) => match left.look(new_kills) {
                None => {}
                Some(Left {
                    message,
                    is_counted: true,
                }) => {
                    if let Some(cause) = causes.last_mut() {
                        cause.while_it_ran(message.task.as_deref());
                    }
                }
                Some(Left { message, .. }) => causes.push(Cause::left(message)),
            },
        }
        if let Some(cause) = causes.last() {
            self.told = Some((clock::monotonic(), cause.clone()));
        }
        causes
    }
}

impl Attempt<'_> {
    /// Watches a process that is about to start: in a group of its own where there are groups, a worker also by what it
    /// leaves or its nanny writes.
    pub(super) fn watch(&mut self, who: Who, name: &str, role: Role, spec: &ResolvedRole) {
        let witness = match who {
            Who::Worker { group, slot } => self.witness(&self.groups[group].slots[slot].name),
            Who::Scheduler | Who::Runner => None,
        };
        let watched = Watched {
            leaf: self.make_leaf(name, role, spec),
            witness,
            kills_told: 0,
            told: None,
        };
        self.watched.insert(who, watched);
    }

    fn witness(&self, worker: &str) -> Option<Witness> {
        match self.setting.job.engine {
            Engine::Dask => Some(Witness::Nanny(NannyLog::from_now(&self.log_of(worker)))),
            Engine::Native => {
                let file = commands::left_behind(self.setting.directories, worker);
                // Without it the exit code tells what there is to tell.
                LeftBehind::new(&file).ok().map(Witness::Left)
            }
        }
    }

    fn make_leaf(&self, name: &str, role: Role, spec: &ResolvedRole) -> Option<Leaf> {
        let made = self
            .setting
            .groups?
            .leaf(name, &Limits::of_role(role, &spec.resources));
        made.inspect_err(|error| {
            self.setting.console.say(&format!(
                "note: the limits of {name} are not enforced: {error}"
            ));
        })
        .ok()
    }

    pub(super) fn leaf(&self, who: Who) -> Option<&Leaf> {
        self.watched.get(&who)?.leaf.as_ref()
    }

    /// What happened to the memory of a process and its descendants.
    pub(super) fn memory_of(&self, who: Who) -> Option<MemoryRecord> {
        self.leaf(who).map(Leaf::memory)
    }

    /// A worker is gone with its nanny, and so is what it left behind.
    pub(super) fn leave(&mut self, group: usize, slot: usize) -> Remains {
        let limit_bytes = self.setting.job.worker_groups[group].memory_limit_bytes;
        let Some(mut watched) = self.watched.remove(&Who::Worker { group, slot }) else {
            return Remains {
                record: None,
                untold: None,
                told_shortly_before: None,
            };
        };
        let before = watched.told.clone();
        let record = watched.record();
        let untold = watched.look(limit_bytes).pop();
        if let Some(leaf) = watched.leaf {
            tokio::task::spawn_blocking(move || leaf.end());
        }
        let now = clock::monotonic();
        Remains {
            record,
            untold,
            told_shortly_before: before
                .filter(|(at, _)| now < *at + NANNY_END)
                .map(|(_, cause)| cause),
        }
    }

    /// Why a worker ended, if memory is why. A nanny ends with an error when its first worker ends before it has reported;
    /// then what was told of that worker explains this end, and is the same loss.
    pub(super) fn memory_ended(
        &mut self,
        group: usize,
        remains: Remains,
        exit: Exit,
    ) -> Option<Cause> {
        let failed = exit.status.code().is_some_and(|code| code != 0);
        if remains.untold.is_some() {
            return remains.untold;
        }
        if let Some(cause) = remains.told_shortly_before.filter(|_| failed) {
            let started_again = &mut self.groups[group].started_again;
            *started_again = started_again.saturating_sub(1);
            return Some(cause);
        }
        // Kills that were told before explain ends before, not this one.
        let record = remains.record.map(|record| MemoryRecord {
            kills: record.kills.map(|_| 0),
            ..record
        });
        (exit.killed() && self.ran_out_of_memory(record, exit))
            .then(|| Cause::kernel(remains.record))
    }

    /// Without a group of its own, the machine is asked.
    pub(super) fn ran_out_of_memory(&self, record: Option<MemoryRecord>, exit: Exit) -> bool {
        record.map_or_else(
            || exit.killed() && kernel_kills() > self.kernel_kills_at_begin,
            |record| record.ran_out(exit.killed()),
        )
    }

    /// Where a process that holds a worker's data has ended, the worker or its nanny starts another, or ends and is replaced: a
    /// worker is lost, although no process of ours has ended.
    pub(super) fn look_at_memory_of_workers(&mut self) {
        if self.scheduler == Scheduler::Closed {
            return;
        }
        for (who, watched) in &mut self.watched {
            let Who::Worker { group, slot } = *who else {
                continue;
            };
            let limit_bytes = self.setting.job.worker_groups[group].memory_limit_bytes;
            let group = &mut self.groups[group];
            let name = &group.slots[slot].name;
            for cause in watched.look(limit_bytes) {
                group.started_again = group.started_again.saturating_add(1);
                let sentence = &cause.sentence;
                self.setting
                    .console
                    .say(&format!("worker {name}: {sentence}; it is started again"));
                if cause.memory.is_some() {
                    self.out_of_memory_last = Some((name.clone(), cause));
                }
            }
        }
    }
}

/// What happened, for people.
fn sentence(record: Option<MemoryRecord>) -> String {
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
    fn a_nanny_s_end_of_its_worker_is_told_with_the_limit() {
        let cause = Cause::nanny("95%", None, Some(400 << 20));
        assert_eq!(
            cause.sentence,
            "it ran out of memory (ended by its nanny beyond 95% of the limit of 400 MiB)"
        );
        assert_eq!(cause.memory.unwrap().limit_bytes, Some(400 << 20));
    }

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
