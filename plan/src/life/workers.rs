//! How many workers a group should have, which are lost, which go, which are made.
//!
//! A worker's number is used once in an attempt. Each number given out is in exactly one place: alive, retiring,
//! retired or lost. What is lost is thus counted from what is seen and what is stored, never kept by itself: a plan
//! made twice counts nothing twice.

use super::Time;
use super::observed::{Facts, Observed, Pod, PodPhase, WorkerFact};
use crate::{ResolvedJob, ResolvedWorkerGroup};
use contract::status::{GroupWorkers, JobStatus};

/// A target falls at most this often: workers that go and come again cost more than idle ones.
const SHRINK_EVERY_SECONDS: u64 = 15;
/// What a scheduler said is believed for this long.
const FACTS_LAST_SECONDS: u64 = 60;
/// Ended workers that are kept for whoever looks for the cause.
const ENDED_KEPT: usize = 3;
/// A group may lose this many workers, and more in proportion to its size.
const LOSSES_FREE: u32 = 10;
const LOSSES_EACH: u32 = 3;
/// The first delay before lost workers are replaced again; it doubles up to the second.
const REPLACE_AFTER_SECONDS: (u64, u64) = (10, 300);

/// One group in this round.
pub(super) struct Group<'a> {
    pub spec: &'a ResolvedWorkerGroup,
    pub status: GroupWorkers,
    pub alive: Vec<(u32, &'a Pod)>,
    pub retiring: Vec<(u32, &'a Pod)>,
    /// Lost ones whose pods are still there, newest first.
    pub ended: Vec<&'a Pod>,
    /// When a target that is to fall may.
    pub shrink_at: Option<Time>,
}

/// What a group asks for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Wishes<'a> {
    /// Numbers of workers to make.
    pub make: Vec<u32>,
    /// Addresses of workers to empty and close.
    pub retire: Vec<String>,
    /// Pods that may go.
    pub remove: Vec<&'a Pod>,
    /// When to look again for a delayed replacement.
    pub again: Option<Time>,
}

/// What the scheduler of this attempt says, if it is recent enough to act on.
pub(super) fn usable_facts(seen: &Observed, attempt: u32, now: Time) -> Option<&Facts> {
    seen.facts
        .as_ref()
        .filter(|facts| facts.attempt == attempt && now.since(facts.at) <= FACTS_LAST_SECONDS)
}

/// All groups of the present attempt, counted.
pub(super) fn count<'a>(
    job: &'a ResolvedJob,
    stored: &JobStatus,
    seen: &'a Observed,
    now: Time,
) -> Vec<Group<'a>> {
    let facts = usable_facts(seen, stored.attempt, now);
    let mut groups: Vec<Group<'a>> = job
        .worker_groups
        .iter()
        .map(|spec| Group::new(spec, stored, seen, facts))
        .collect();
    set_targets(&mut groups, facts, now);
    groups
}

impl<'a> Group<'a> {
    fn new(
        spec: &'a ResolvedWorkerGroup,
        stored: &JobStatus,
        seen: &'a Observed,
        facts: Option<&Facts>,
    ) -> Self {
        let known = stored
            .workers
            .groups
            .iter()
            .find(|group| group.name == spec.name);
        let mut status = known.cloned().unwrap_or_else(|| GroupWorkers {
            name: spec.name.clone(),
            ..GroupWorkers::default()
        });
        let (mut alive, mut retiring, mut ended) = (Vec::new(), Vec::new(), Vec::new());
        for (number, pod) in seen.workers(stored.attempt, &spec.name) {
            status.issued = status.issued.max(number + 1);
            if status.retiring.contains(&number) {
                retiring.push((number, pod));
            } else if pod.is_over() || pod.deleting {
                ended.push((number, pod));
            } else {
                alive.push((number, pod));
            }
        }
        alive.sort_by_key(|(number, _)| *number);
        ended.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
        let before = status.retiring.len();
        status
            .retiring
            .retain(|number| retiring.iter().any(|(own, _)| own == number));
        status.retired += size(before - status.retiring.len());
        let accounted = size(alive.len() + retiring.len()) + status.retired;
        status.lost = status.issued.saturating_sub(accounted);
        status.ready = count_ready(&alive, facts);
        Group {
            spec,
            status,
            alive,
            retiring,
            ended: ended.into_iter().map(|(_, pod)| pod).collect(),
            shrink_at: None,
        }
    }

    /// More are lost than may be.
    pub fn lost_too_many(&self) -> bool {
        self.status.lost > LOSSES_FREE + LOSSES_EACH * self.status.desired.max(1)
    }

    /// What is to happen now. `facts` as of this attempt.
    pub fn wishes(&mut self, facts: Option<&Facts>, now: Time) -> Wishes<'a> {
        let mut wishes = Wishes {
            again: self.shrink_at,
            ..Wishes::default()
        };
        let alive = size(self.alive.len());
        if alive < self.status.desired {
            match self.replace_at() {
                Some(at) if at > now => {
                    wishes.again = Some(wishes.again.map_or(at, |known| known.min(at)));
                }
                Some(_) | None => {
                    let first = self.status.issued;
                    wishes.make = (first..first + self.status.desired - alive).collect();
                }
            }
        } else if alive > self.status.desired {
            self.choose_to_retire((alive - self.status.desired) as usize, facts);
        }
        for (_, pod) in &self.retiring {
            match registered(pod, facts) {
                _ if pod.is_over() || pod.deleting => wishes.remove.push(pod),
                Some(worker) => wishes.retire.push(worker.address.clone()),
                // Never registered: nothing to hand over. Without facts nobody knows.
                None if facts.is_some() || pod.phase == PodPhase::Pending => {
                    wishes.remove.push(pod);
                }
                None => {}
            }
        }
        wishes.remove.extend(self.ended.iter().skip(ENDED_KEPT));
        wishes
    }

    /// Those with the least to hand over go first, the youngest first among equals.
    fn choose_to_retire(&mut self, count: usize, facts: Option<&Facts>) {
        let mut order = std::mem::take(&mut self.alive);
        order.sort_by_key(|(number, pod)| {
            let worker = registered(pod, facts);
            (
                worker.is_some() || (facts.is_none() && pod.phase != PodPhase::Pending),
                worker.map_or(0, |worker| worker.processing),
                worker.map_or(0, |worker| worker.result_bytes),
                std::cmp::Reverse(*number),
            )
        });
        self.alive = order.split_off(count.min(order.len()));
        self.alive.sort_by_key(|(number, _)| *number);
        self.status
            .retiring
            .extend(order.iter().map(|(number, _)| *number));
        self.status.retiring.sort_unstable();
        self.retiring.extend(order);
        self.status.ready = count_ready(&self.alive, facts);
    }

    /// Losses are replaced at once until there are as many as workers, then with growing delay.
    fn replace_at(&self) -> Option<Time> {
        let rounds = self.status.lost.saturating_sub(1) / self.status.desired.max(1);
        let latest = self
            .ended
            .iter()
            .filter_map(|pod| pod.terminated()?.finished)
            .max()?;
        let (first, longest) = REPLACE_AFTER_SECONDS;
        let delay = match rounds {
            0 => 0,
            rounds => first.saturating_mul(1 << (rounds - 1).min(16)).min(longest),
        };
        Some(latest.plus(delay))
    }
}

/// Wanted counts: as the manifest says, or for groups that adapt, as the scheduler could use.
fn set_targets(groups: &mut [Group<'_>], facts: Option<&Facts>, now: Time) {
    let fixed: u32 = groups
        .iter()
        .filter(|group| group.spec.scaling.is_none())
        .map(|group| group.spec.count)
        .sum();
    let floor: u32 = groups
        .iter()
        .filter_map(|group| group.spec.scaling)
        .map(|bounds| bounds.minimum)
        .sum();
    let useful = facts.and_then(|facts| facts.desired_workers);
    // What the groups that adapt may share beyond their minimum.
    let mut spare = useful.map(|useful| useful.saturating_sub(fixed).saturating_sub(floor));
    for group in groups {
        let Some(bounds) = group.spec.scaling else {
            group.status.target = None;
            group.status.target_since = None;
            group.status.desired = group.spec.count;
            continue;
        };
        let present = group.status.target.unwrap_or(group.spec.count);
        let present = present.clamp(bounds.minimum, bounds.maximum);
        let wanted = spare.as_mut().map_or(present, |spare| {
            let more = (*spare).min(bounds.maximum - bounds.minimum);
            *spare -= more;
            bounds.minimum + more
        });
        let since = Time::of(group.status.target_since.as_ref());
        let may_fall_at = since.map_or(now, |since| since.plus(SHRINK_EVERY_SECONDS));
        let next = if wanted > present || may_fall_at <= now {
            wanted
        } else {
            present
        };
        if wanted < next {
            group.shrink_at = Some(may_fall_at);
        }
        if group.status.target != Some(next) {
            group.status.target = Some(next);
            group.status.target_since = Some(now.timestamp());
        }
        group.status.desired = next;
    }
}

fn registered<'f>(pod: &Pod, facts: Option<&'f Facts>) -> Option<&'f WorkerFact> {
    facts?.workers.get(&pod.name)
}

/// Those that have registered, or where the scheduler cannot be asked, that run.
fn count_ready(workers: &[(u32, &Pod)], facts: Option<&Facts>) -> u32 {
    let is_ready = |pod: &Pod| match facts {
        Some(_) => registered(pod, facts).is_some(),
        None => pod.phase == PodPhase::Running && pod.ready,
    };
    size(workers.iter().filter(|(_, pod)| is_ready(pod)).count())
}

fn size(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
