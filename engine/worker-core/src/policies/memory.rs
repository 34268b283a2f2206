//! What measured memory means: spill, pause, terminate. Fractions and hysteresis are those of stock workers.
//!
//! Spilling by measure begins above `spill` and ends at `target`; a pause begins above `pause` and ends at it; an executor
//! above `terminate` is asked to end and, if it is still there at the next measure, made to.

use crate::config::Config;
use crate::ids::Time;
use protocol::messages::WorkerStatus;

/// After the disk has failed, so long nothing is spilled.
const DISK_REST_SECONDS: f64 = 5.0;

pub(crate) struct MemoryPolicy {
    limit: Option<u64>,
    target: Option<u64>,
    spill: Option<u64>,
    pause: Option<u64>,
    terminate: Option<u64>,
    max_spill: Option<u64>,
    /// Measured memory is being brought down.
    spilling: bool,
    /// This pause came from here.
    pub paused: bool,
    terminating: bool,
    complained: bool,
    disk_rests_until: Time,
}

/// What one measure asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// So much should go to disk.
    pub excess_bytes: u64,
    pub above_pause: bool,
    /// To be changed to.
    pub status: Option<WorkerStatus>,
    /// The executor must end; by force if true.
    pub terminate: Option<bool>,
}

impl MemoryPolicy {
    pub fn new(config: &Config) -> Self {
        let part = |fraction: Option<f64>| Some((config.memory_limit? as f64 * fraction?) as u64);
        Self {
            limit: config.memory_limit,
            target: part(config.memory_target),
            spill: part(config.memory_spill),
            pause: part(config.memory_pause),
            terminate: part(config.memory_terminate),
            max_spill: config.max_spill,
            spilling: false,
            paused: false,
            terminating: false,
            complained: false,
            disk_rests_until: Time::default(),
        }
    }

    /// Values may be so big together, by their own account.
    pub fn target(&self) -> Option<u64> {
        self.target
    }

    /// Whether values on their way to disk still take so much memory that nothing is to begin before they are there: what
    /// tasks make would come faster than it goes.
    pub fn is_choked(&self, in_memory: u64, leaving: u64) -> bool {
        let most = self.spill.or(self.pause);
        leaving > 0 && most.is_some_and(|most| in_memory > most)
    }

    pub fn judge(&mut self, process_bytes: u64, status: WorkerStatus) -> Verdict {
        let above = |threshold: Option<u64>| threshold.is_some_and(|most| process_bytes > most);
        let enough = self.target.or(self.spill);
        self.spilling = above(self.spill) || (self.spilling && above(enough));
        self.complained &= self.spilling;
        let excess_bytes = match enough {
            Some(enough) if self.spilling => process_bytes.saturating_sub(enough),
            _ => 0,
        };
        let above_pause = above(self.pause);
        let status = match (above_pause, status) {
            (true, WorkerStatus::Running) => Some(WorkerStatus::Paused),
            (false, WorkerStatus::Paused) if self.paused => Some(WorkerStatus::Running),
            _ => None,
        };
        let terminate = (self.limit.is_some() && above(self.terminate))
            .then(|| std::mem::replace(&mut self.terminating, true));
        self.terminating &= terminate.is_some();
        Verdict {
            excess_bytes,
            above_pause,
            status,
            terminate,
        }
    }

    /// Whether a value of so many bytes may go to a disk that holds so many.
    pub fn may_spill(&self, nbytes: u64, on_disk: u64, now: Time) -> bool {
        let fits = |most: u64| on_disk.saturating_add(nbytes) <= most;
        now >= self.disk_rests_until && self.max_spill.is_none_or(fits)
    }

    pub fn disk_failed(&mut self, now: Time) {
        self.disk_rests_until = now.plus_seconds(DISK_REST_SECONDS);
    }

    /// True once for each time that memory is too high.
    pub fn complain(&mut self) -> bool {
        !std::mem::replace(&mut self.complained, true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> MemoryPolicy {
        MemoryPolicy::new(&Config {
            memory_limit: Some(100),
            ..Config::new("tcp://10.0.0.1:4000", 1)
        })
    }

    #[test]
    fn spilling_begins_above_spill_and_ends_at_target() {
        let mut policy = policy();
        let mut excess = |bytes| policy.judge(bytes, WorkerStatus::Running).excess_bytes;
        assert_eq!(
            [65, 70, 71, 65, 61, 60, 65].map(&mut excess),
            [0, 0, 11, 5, 1, 0, 0]
        );
    }

    #[test]
    fn a_pause_begins_above_its_threshold_and_ends_at_it() {
        let mut policy = policy();
        assert_eq!(policy.judge(80, WorkerStatus::Running).status, None);
        let paused = Some(WorkerStatus::Paused);
        assert_eq!(policy.judge(81, WorkerStatus::Running).status, paused);
        policy.paused = true;
        assert_eq!(policy.judge(81, WorkerStatus::Paused).status, None);
        let running = Some(WorkerStatus::Running);
        assert_eq!(policy.judge(80, WorkerStatus::Paused).status, running);
    }

    #[test]
    fn a_pause_that_somebody_else_ordered_is_not_ended() {
        let mut policy = policy();
        assert_eq!(policy.judge(10, WorkerStatus::Paused).status, None);
    }

    #[test]
    fn an_executor_above_the_last_threshold_is_asked_to_end_and_then_made_to() {
        let mut policy = policy();
        let mut terminate = |bytes| policy.judge(bytes, WorkerStatus::Paused).terminate;
        let told = [95, 96, 97, 90, 96].map(&mut terminate);
        assert_eq!(told, [None, Some(false), Some(true), None, Some(false)]);
    }

    #[test]
    fn without_a_limit_nothing_is_too_much() {
        let mut policy = MemoryPolicy::new(&Config::new("tcp://10.0.0.1:4000", 1));
        let verdict = policy.judge(u64::MAX, WorkerStatus::Running);
        assert_eq!((verdict.excess_bytes, verdict.terminate), (0, None));
        assert_eq!(policy.target(), None);
    }

    #[test]
    fn the_disk_takes_no_more_than_it_may_and_rests_after_a_failure() {
        let mut policy = policy();
        policy.max_spill = Some(50);
        let now = Time::from_seconds(10.0);
        assert!(policy.may_spill(10, 40, now) && !policy.may_spill(11, 40, now));
        policy.disk_failed(now);
        assert!(!policy.may_spill(1, 0, now.plus_seconds(4.9)));
        assert!(policy.may_spill(1, 0, now.plus_seconds(5.0)));
    }
}
