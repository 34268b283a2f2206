//! The workers of an attempt: who should run, who does, and when a lost one is replaced. Decides only; starts nothing.

use plan::{ResolvedJob, names};
use std::time::{Duration, Instant};

/// The first wait before a lost worker is replaced; doubles with each loss in its group.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// Losses a group may have beside two for each of its workers.
const LOSSES_ALLOWED: u32 = 3;

/// The workers of one group.
#[derive(Debug)]
pub struct Group {
    pub name: String,
    pub slots: Vec<Slot>,
    pub lost: u32,
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
}

/// What a lost worker means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// It is replaced after a while.
    Replaced,
    /// Its group has lost too many.
    TooMany,
}

impl Group {
    /// Every group of a job, all workers due now.
    pub fn of_job(job: &ResolvedJob, attempt: u32, now: Instant) -> Vec<Group> {
        job.worker_groups
            .iter()
            .map(|group| Group {
                name: group.name.clone(),
                slots: (0..group.count)
                    .map(|number| Slot {
                        name: names::worker(job.name.as_str(), attempt, &group.name, number),
                        state: SlotState::Due(now),
                    })
                    .collect(),
                lost: 0,
            })
            .collect()
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

    /// A worker has ended.
    pub fn lose(&mut self, slot: usize, now: Instant) -> Loss {
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
        LOSSES_ALLOWED + 2 * u32::try_from(self.slots.len()).unwrap_or(u32::MAX / 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn group(workers: usize, now: Instant) -> Group {
        let slot = |number: usize| Slot {
            name: number.to_string(),
            state: SlotState::Due(now),
        };
        Group {
            name: "default".to_owned(),
            slots: (0..workers).map(slot).collect(),
            lost: 0,
        }
    }

    #[test]
    fn a_lost_worker_is_replaced_after_a_wait_that_doubles_up_to_a_bound() {
        let now = clock::monotonic();
        let mut group = group(20, now);
        group.slots[0].state = SlotState::Running { pid: 1 };
        let mut waits = Vec::new();
        for _ in 0..9 {
            assert_eq!(group.lose(0, now), Loss::Replaced);
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
        let mut group = group(1, now);
        let losses: Vec<Loss> = (0..6).map(|_| group.lose(0, now)).collect();
        assert_eq!(
            losses
                .iter()
                .filter(|loss| **loss == Loss::Replaced)
                .count(),
            5
        );
        assert_eq!(losses[5], Loss::TooMany);
    }
}
