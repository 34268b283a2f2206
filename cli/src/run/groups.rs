//! The workers of an attempt: who should run, who does, when a lost one is replaced, and how groups that adapt to their
//! load share what the scheduler could use. Decides only; starts nothing.

use plan::{ResolvedJob, Scaling, names};
use std::time::{Duration, Instant};

/// The first wait before a lost worker is replaced; doubles with each loss in its group.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Losses a group may have beside two for each of its workers, and all it may have before one has ever registered: what
/// cannot live is not tried for long.
const LOSSES_ALLOWED: u32 = 3;

/// The workers of one group.
#[derive(Debug)]
pub struct Group {
    pub name: String,
    /// Ever more, never fewer: a slot keeps its index, and a name is not used twice.
    pub slots: Vec<Slot>,
    pub lost: u32,
    /// Workers that ran out of memory under nannies that went on. Dask itself bounds these: a task that costs too many
    /// workers is given up.
    pub started_again: u32,
    /// Whether one of its workers has ever registered.
    pub has_lived: bool,
    pub scaling: Option<Scaling>,
    job: String,
    attempt: u32,
    /// How often in a row fewer workers would have done.
    fewer: u32,
    /// The scheduler was asked to retire some, and has not answered yet.
    pub shrinking: bool,
}

/// The place of one worker.
#[derive(Debug)]
pub struct Slot {
    /// The name it has at the scheduler.
    pub name: String,
    pub state: SlotState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotState {
    /// To be started at this time.
    Due(Instant),
    Running {
        pid: u32,
    },
    /// The scheduler was asked to empty and close it.
    Retiring {
        pid: u32,
    },
    /// Ended, and not to be replaced.
    Gone,
}

/// What a lost worker means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// It is replaced after a while.
    Replaced,
    /// Its group has lost too many.
    TooMany,
    /// It was retired: nothing is lost.
    Retired,
}

/// What a group that adapts should do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adaptation {
    Keep,
    Grow(u32),
    Shrink(u32),
}

impl Group {
    /// Every group of a job, all workers due now.
    pub fn of_job(job: &ResolvedJob, attempt: u32, now: Instant) -> Vec<Group> {
        let group_of = |group: &plan::ResolvedWorkerGroup| {
            let mut made = Group::new(&group.name, group.scaling, job.name.as_str(), attempt);
            made.grow(group.count, now);
            made
        };
        job.worker_groups.iter().map(group_of).collect()
    }

    fn new(name: &str, scaling: Option<Scaling>, job: &str, attempt: u32) -> Self {
        Group {
            name: name.to_owned(),
            slots: Vec::new(),
            lost: 0,
            started_again: 0,
            has_lived: false,
            scaling,
            job: job.to_owned(),
            attempt,
            fewer: 0,
            shrinking: false,
        }
    }

    /// So many workers more.
    pub fn grow(&mut self, count: u32, now: Instant) {
        for _ in 0..count {
            let number = u32::try_from(self.slots.len()).unwrap_or(u32::MAX);
            let name = names::worker(&self.job, self.attempt, &self.name, number);
            self.slots.push(Slot {
                name,
                state: SlotState::Due(now),
            });
        }
    }

    /// Slots that should have a worker.
    pub fn wanted(&self) -> impl Iterator<Item = &Slot> {
        self.slots
            .iter()
            .filter(|slot| matches!(slot.state, SlotState::Due(_) | SlotState::Running { .. }))
    }

    /// The scheduler closes the worker of this name; it is not replaced.
    pub fn retire(&mut self, name: &str) {
        for slot in self.slots.iter_mut().filter(|slot| slot.name == name) {
            if let SlotState::Running { pid } = slot.state {
                slot.state = SlotState::Retiring { pid };
            }
        }
    }

    /// What to do when this many workers would do. More at once; fewer only after they would have done several
    /// times in a row, because load comes in waves.
    pub fn adapt(&mut self, target: u32, wait_count: u32) -> Adaptation {
        let wanted = u32::try_from(self.wanted().count()).unwrap_or(u32::MAX);
        if target >= wanted {
            self.fewer = 0;
            return if target == wanted {
                Adaptation::Keep
            } else {
                Adaptation::Grow(target - wanted)
            };
        }
        self.fewer += 1;
        if self.fewer < wait_count || self.shrinking {
            return Adaptation::Keep;
        }
        self.fewer = 0;
        Adaptation::Shrink(wanted - target)
    }

    /// Slots whose worker is to be started.
    pub fn due(&self, now: Instant) -> Vec<usize> {
        let due = |slot: &Slot| matches!(slot.state, SlotState::Due(at) if at <= now);
        self.slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| due(slot))
            .map(|(index, _)| index)
            .collect()
    }

    /// The scheduler has answered which ones it retires.
    pub fn shrunk(&mut self) {
        self.shrinking = false;
    }

    /// A worker has ended, by itself or not.
    pub fn lose(&mut self, slot: usize, by_itself: bool, now: Instant) -> Loss {
        // One that is retired may be gone before the scheduler's answer is here.
        let retired = matches!(self.slots[slot].state, SlotState::Retiring { .. })
            || (self.shrinking && by_itself);
        if retired {
            self.slots[slot].state = SlotState::Gone;
            return Loss::Retired;
        }
        let wait = FIRST_WAIT
            .saturating_mul(1 << self.lost.min(16))
            .min(LONGEST_WAIT);
        self.slots[slot].state = SlotState::Due(now + wait);
        self.lost += 1;
        if self.lost > self.losses_allowed() {
            Loss::TooMany
        } else {
            Loss::Replaced
        }
    }

    /// How many workers the group may lose in an attempt.
    pub fn losses_allowed(&self) -> u32 {
        if !self.has_lived {
            return LOSSES_ALLOWED;
        }
        LOSSES_ALLOWED + 2 * u32::try_from(self.wanted().count()).unwrap_or(u32::MAX / 4)
    }
}

/// How many workers each group should have when `target` would do in all: groups that do not adapt keep theirs, the
/// others get their minimum, and what is left goes to them in order.
pub fn targets(target: u32, groups: &[Group]) -> Vec<u32> {
    let mut targets: Vec<u32> = groups
        .iter()
        .map(|group| {
            group.scaling.map_or_else(
                || u32::try_from(group.wanted().count()).unwrap_or(u32::MAX),
                |scaling| scaling.minimum,
            )
        })
        .collect();
    let mut left = target.saturating_sub(targets.iter().sum());
    for (group, own) in groups.iter().zip(&mut targets) {
        if let Some(scaling) = group.scaling {
            let more = left.min(scaling.maximum.saturating_sub(*own));
            *own += more;
            left -= more;
        }
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn group(workers: u32, now: Instant) -> Group {
        let mut group = Group::new("default", None, "job", 1);
        group.grow(workers, now);
        group
    }

    fn adaptive(minimum: u32, maximum: u32) -> Group {
        Group {
            scaling: Some(Scaling { minimum, maximum }),
            ..group(minimum, clock::monotonic())
        }
    }

    #[test]
    fn a_lost_worker_is_replaced_after_a_wait_that_doubles_up_to_a_bound() {
        let now = clock::monotonic();
        let mut group = group(20, now);
        group.has_lived = true;
        group.slots[0].state = SlotState::Running { pid: 1 };
        let mut waits = Vec::new();
        for _ in 0..9 {
            assert_eq!(group.lose(0, false, now), Loss::Replaced);
            let SlotState::Due(at) = group.slots[0].state else {
                panic!()
            };
            waits.push((at - now).as_millis());
        }
        assert_eq!(
            waits,
            [
                500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000
            ]
        );
        assert!(!group.due(now).contains(&0));
        assert!(group.due(now + LONGEST_WAIT).contains(&0));
    }

    #[test]
    fn a_group_may_lose_only_so_many() {
        let now = clock::monotonic();
        for (has_lived, replaced) in [(true, 5), (false, 3)] {
            let mut group = group(1, now);
            group.has_lived = has_lived;
            let losses = (0..=replaced).map(|_| group.lose(0, false, now));
            let mut expected = vec![Loss::Replaced; replaced];
            expected.push(Loss::TooMany);
            assert_eq!(losses.collect::<Vec<_>>(), expected, "{has_lived}");
        }
    }

    #[test]
    fn groups_that_adapt_share_what_is_left_in_order() {
        let groups = [
            group(2, clock::monotonic()),
            adaptive(1, 4),
            adaptive(0, 10),
        ];
        for (target, expected) in [
            (0, [2, 1, 0]),
            (5, [2, 3, 0]),
            (9, [2, 4, 3]),
            (100, [2, 4, 10]),
        ] {
            assert_eq!(targets(target, &groups), expected, "{target}");
        }
    }

    #[test]
    fn a_group_grows_at_once_and_shrinks_after_a_while() {
        let now = clock::monotonic();
        let mut group = adaptive(1, 5);
        assert_eq!(group.adapt(4, 3), Adaptation::Grow(3));
        group.grow(3, now);
        assert_eq!(
            [1, 1, 4, 1, 1].map(|target| group.adapt(target, 3)),
            [Adaptation::Keep; 5],
            "a wave resets the count"
        );
        assert_eq!(group.adapt(1, 3), Adaptation::Shrink(3));
    }

    #[test]
    fn a_retired_worker_is_neither_lost_nor_replaced_and_its_name_is_not_used_again() {
        let now = clock::monotonic();
        let mut group = adaptive(2, 5);
        group.slots[1].state = SlotState::Running { pid: 1 };
        group.retire("job-1-worker-default-1");
        assert_eq!(group.lose(1, true, now), Loss::Retired);
        assert_eq!(
            (group.lost, group.wanted().count(), group.slots[1].state),
            (0, 1, SlotState::Gone)
        );
        group.grow(1, now);
        assert_eq!(group.slots[2].name, "job-1-worker-default-2");
    }
}
