//! Which results to move so that workers end up with about the same memory in use.
//!
//! Greedy: again and again the worker farthest above the mean gives its oldest movable result to the one farthest below.
//! Nobody is moved past the mean, so that results do not wander back and forth. Plans only; the shell moves.

use crate::ids::WorkerId;
use crate::scheduler::Scheduler;
use crate::task::{TaskId, UNKNOWN_SIZE};
use crate::worker::Worker;
use protocol::Key;
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

/// How memory in use is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryMeasure {
    Process,
    Managed,
    Unmanaged,
    UnmanagedOld,
    /// Without what has appeared lately.
    Optimistic,
}

impl MemoryMeasure {
    /// The measure that Dask's configuration calls so.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "process" => Some(Self::Process),
            "managed" | "managed_in_memory" => Some(Self::Managed),
            "unmanaged" => Some(Self::Unmanaged),
            "unmanaged_old" => Some(Self::UnmanagedOld),
            "optimistic" => Some(Self::Optimistic),
            _ => None,
        }
    }

    fn of(self, worker: &Worker) -> u64 {
        let managed = worker.managed_in_memory();
        let unmanaged = worker.memory.process - managed;
        match self {
            Self::Process => worker.memory.process,
            Self::Managed => managed,
            Self::Unmanaged => unmanaged,
            Self::UnmanagedOld => worker.memory.unmanaged_old.min(unmanaged),
            Self::Optimistic => worker.optimistic_memory(),
        }
    }
}

/// `worker.memory.rebalance`; shares are of a worker's memory limit.
#[derive(Clone, Copy, Debug)]
pub struct RebalanceRules {
    pub measure: MemoryMeasure,
    /// Workers below this give nothing.
    pub sender_min: f64,
    /// Workers above this take nothing.
    pub recipient_max: f64,
    /// Half of it around the mean is balanced enough.
    pub gap: f64,
}

/// What to move.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RebalancePlan {
    pub moves: Vec<Move>,
    /// How many workers had too much, and how many too little.
    pub senders: usize,
    pub recipients: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Move {
    pub key: Key,
    pub from: WorkerId,
    pub to: WorkerId,
}

/// One worker's memory, and what it holds from the oldest on.
struct Load {
    used: i64,
    /// Zero is no limit.
    limit: u64,
    items: Vec<(TaskId, i64)>,
}

/// How many bytes to lose or gain, at most and at least, as negative numbers: the most comes first. Then whose they are.
type Need = Reverse<(i64, i64, usize)>;

impl Scheduler {
    /// The moves that balance these workers, or all, with these keys, or all.
    pub fn plan_rebalance(
        &self,
        keys: Option<&[Key]>,
        workers: Option<&[WorkerId]>,
        rules: &RebalanceRules,
    ) -> RebalancePlan {
        let chosen = |worker: &&Worker| workers.is_none_or(|chosen| chosen.contains(&worker.id));
        let workers: Vec<&Worker> = self.workers.iter().filter(chosen).collect();
        let movable: Option<BTreeSet<TaskId>> =
            keys.map(|keys| keys.iter().filter_map(|key| self.tasks.find(key)).collect());
        let size = |task: TaskId| match self.tasks[task].nbytes {
            UNKNOWN_SIZE => -1,
            known => i64::try_from(known).unwrap_or(i64::MAX),
        };
        let load = |worker: &&Worker| Load {
            used: i64::try_from(rules.measure.of(worker)).unwrap_or(i64::MAX),
            limit: worker.memory_limit,
            items: worker
                .has_what
                .iter()
                .map(|task| (task, size(task)))
                .collect(),
        };
        let loads: Vec<Load> = workers.iter().map(load).collect();
        let mut balance = Balance::new(&loads, rules);
        let (senders, recipients) = (balance.senders.len(), balance.recipients.len());
        let holds =
            |worker: usize, task: TaskId| self.tasks[task].who_has.contains(workers[worker].id);
        let may_move = |task: TaskId| {
            movable
                .as_ref()
                .is_none_or(|movable| movable.contains(&task))
        };
        let moves = balance.moves(&loads, holds, may_move).into_iter();
        let named = moves.map(|(from, to, task)| Move {
            key: self.tasks[task].key.clone(),
            from: workers[from].id,
            to: workers[to].id,
        });
        RebalancePlan {
            moves: named.collect(),
            senders,
            recipients,
        }
    }
}

/// Who has too much and who too little, while moves are being planned.
struct Balance {
    senders: BinaryHeap<Need>,
    recipients: BinaryHeap<Need>,
    /// How many of each worker's items have been looked at.
    looked_at: Vec<usize>,
}

impl Balance {
    fn new(loads: &[Load], rules: &RebalanceRules) -> Self {
        let total: i128 = loads.iter().map(|load| i128::from(load.used)).sum();
        let mean = (total / loads.len().max(1) as i128) as i64;
        let mut balance = Self {
            senders: BinaryHeap::new(),
            recipients: BinaryHeap::new(),
            looked_at: vec![0; loads.len()],
        };
        for (at, load) in loads.iter().enumerate() {
            let share = |of_limit: f64| of_limit * load.limit as f64;
            let half_gap = share(rules.gap / 2.0) as i64;
            let most = if load.limit == 0 {
                f64::INFINITY
            } else {
                share(rules.recipient_max)
            };
            let used = load.used as f64;
            if !load.items.is_empty()
                && load.used >= mean + half_gap
                && used >= share(rules.sender_min)
            {
                let bytes = mean - load.used;
                balance.senders.push(Reverse((bytes, bytes + half_gap, at)));
            } else if load.used < mean - half_gap && used < most {
                let bytes = load.used - mean;
                balance
                    .recipients
                    .push(Reverse((bytes, bytes + half_gap, at)));
            }
        }
        balance
    }

    fn moves(
        &mut self,
        loads: &[Load],
        holds: impl Fn(usize, TaskId) -> bool,
        may_move: impl Fn(TaskId) -> bool,
    ) -> Vec<(usize, usize, TaskId)> {
        let mut moves = Vec::new();
        while let Some(Reverse((most, least, sender))) = self.senders.pop() {
            let Some((task, nbytes)) = loads[sender].items.get(self.looked_at[sender]).copied()
            else {
                continue;
            };
            self.looked_at[sender] += 1;
            let fits = may_move(task) && nbytes + most <= 0;
            let recipient = if fits {
                self.take_recipient(nbytes, |worker| holds(worker, task))
            } else {
                None
            };
            let Some(Reverse((rec_most, rec_least, recipient))) = recipient else {
                self.senders.push(Reverse((most, least, sender)));
                continue;
            };
            moves.push((sender, recipient, task));
            if least + nbytes < 0 {
                self.senders
                    .push(Reverse((most + nbytes, least + nbytes, sender)));
            }
            if rec_least + nbytes < 0 {
                self.recipients
                    .push(Reverse((rec_most + nbytes, rec_least + nbytes, recipient)));
            }
        }
        moves
    }

    /// The worker farthest below the mean that has room for so many bytes and does not hold the result yet.
    fn take_recipient(&mut self, nbytes: i64, holds: impl Fn(usize) -> bool) -> Option<Need> {
        let mut skipped = Vec::new();
        let mut found = None;
        while let Some(Reverse((most, least, worker))) = self.recipients.pop() {
            let need = Reverse((most, least, worker));
            if nbytes + most > 0 {
                // The others have even less room.
                skipped.push(need);
                break;
            }
            if !holds(worker) {
                found = Some(need);
                break;
            }
            skipped.push(need);
        }
        self.recipients.extend(skipped);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: RebalanceRules = RebalanceRules {
        measure: MemoryMeasure::Managed,
        sender_min: 0.3,
        recipient_max: 0.6,
        gap: 0.1,
    };

    /// A worker that holds so many results of ten bytes each.
    fn load(first: u32, count: u32) -> Load {
        Load {
            used: i64::from(count) * 10,
            limit: 100,
            items: (first..first + count)
                .map(|task| (TaskId(task), 10))
                .collect(),
        }
    }

    fn moves(loads: &[Load]) -> Vec<(usize, usize, u32)> {
        let mut balance = Balance::new(loads, &RULES);
        let moves = balance.moves(loads, |_, _| false, |_| true).into_iter();
        moves.map(|(from, to, task)| (from, to, task.0)).collect()
    }

    #[test]
    fn the_oldest_results_go_until_both_are_near_the_mean() {
        assert_eq!(
            moves(&[load(0, 8), load(8, 0)]),
            [(0, 1, 0), (0, 1, 1), (0, 1, 2), (0, 1, 3)]
        );
    }

    #[test]
    fn a_worker_below_the_minimum_gives_nothing() {
        assert_eq!(moves(&[load(0, 2), load(2, 0)]), []);
    }

    #[test]
    fn what_is_nearly_balanced_stays() {
        assert_eq!(moves(&[load(0, 5), load(5, 4)]), []);
    }

    #[test]
    fn a_result_that_would_carry_its_worker_past_the_mean_stays() {
        let mut heavy = load(0, 1);
        heavy.used = 80;
        heavy.items[0].1 = 80;
        assert_eq!(moves(&[heavy, load(1, 0)]), []);
    }

    #[test]
    fn a_worker_that_holds_a_copy_already_gets_none() {
        let loads = [load(0, 8), load(8, 0), load(9, 0)];
        let mut balance = Balance::new(&loads, &RULES);
        let moves = balance.moves(&loads, |worker, _| worker == 1, |_| true);
        assert!(!moves.is_empty());
        assert!(moves.iter().all(|(_, to, _)| *to == 2));
    }
}
