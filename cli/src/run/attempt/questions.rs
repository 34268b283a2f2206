//! What the scheduler is asked while the job runs, and what its answers change: progress, the status, and the size of
//! groups that adapt to their load.

use super::Attempt;
use super::Scheduler;
use crate::clock;
use crate::run::groups::{Adaptation, Group, Slot, SlotState, targets};
use crate::run::http::{self, HttpError};
use contract::http::Counts;
use contract::status::{ConditionStatus, GroupWorkers, condition, reason};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often the scheduler is asked for its numbers, until all workers are there and afterwards.
const ASK_EVERY_AT_FIRST: Duration = Duration::from_millis(200);
const ASK_EVERY: Duration = Duration::from_secs(1);

/// What the scheduler said.
pub enum Answer {
    Counted {
        counts: Counts,
        /// Names of the registered workers; `None` if it does not tell.
        workers: Option<Vec<String>>,
    },
    /// So many workers would do.
    Target(u32),
    /// It closes the workers of these names.
    Retired(Vec<String>),
}

impl Attempt<'_> {
    pub(super) fn ask_when_due(&mut self, http_port: u16, now: Instant) {
        let every = if self.status.timeline.all_workers.is_some() {
            ASK_EVERY
        } else {
            ASK_EVERY_AT_FIRST
        };
        if self.asked.is_some_and(|asked| now < asked + every) {
            return;
        }
        self.asked = Some(now);
        self.look_at_memory_of_workers();
        let answers = self.answers.clone();
        tokio::spawn(async move {
            // A scheduler that is busy answers late; the next question comes anyway.
            if let Ok(answer) = ask(http_port).await {
                let _ = answers.send(answer);
            }
        });
    }

    /// Asks how many workers would do, where a group adapts.
    pub(super) fn adapt_when_due(&mut self, http_port: u16, now: Instant) {
        let adapts = self.groups.iter().any(|group| group.scaling.is_some());
        if !adapts
            || self
                .adapted
                .is_some_and(|adapted| now < adapted + self.pace.interval)
        {
            return;
        }
        self.adapted = Some(now);
        let answers = self.answers.clone();
        tokio::spawn(async move {
            if let Ok(target) =
                http::get_json::<AdaptiveTarget>(http_port, contract::http::ADAPTIVE_TARGET).await
            {
                let _ = answers.send(Answer::Target(target.workers));
            }
        });
    }

    pub(super) fn heard(&mut self, answer: Answer) {
        match answer {
            Answer::Counted { counts, workers } => self.heard_counts(counts, workers.as_deref()),
            Answer::Target(target) => self.adapt(target),
            Answer::Retired(names) => {
                for name in &names {
                    self.groups.iter_mut().for_each(|group| group.retire(name));
                }
                self.groups.iter_mut().for_each(Group::shrunk);
                self.count_wanted();
            }
        }
    }

    fn adapt(&mut self, target: u32) {
        let Scheduler::Answering { http_port, .. } = self.scheduler else {
            return;
        };
        let now = clock::monotonic();
        let targets = targets(target, &self.groups);
        for (index, target) in targets.into_iter().enumerate() {
            if self.groups[index].scaling.is_none() {
                continue;
            }
            match self.groups[index].adapt(target, self.pace.wait_count) {
                Adaptation::Keep => {}
                Adaptation::Grow(count) => self.groups[index].grow(count, now),
                Adaptation::Shrink(count) => self.shrink(index, count, http_port),
            }
        }
    }

    /// Workers are only ever given up through the scheduler, which moves their data first.
    fn shrink(&mut self, group: usize, count: u32, http_port: u16) {
        let answers = self.answers.clone();
        let group = &mut self.groups[group];
        group.shrinking = true;
        let of_this_group: Vec<String> = group.wanted().map(|slot| slot.name.clone()).collect();
        let only_group = self.groups.len() == 1;
        tokio::spawn(async move {
            // It answers once their data has moved. Refused, nobody is retired; the next look at the load asks again.
            let names = retire(http_port, count, &of_this_group, only_group)
                .await
                .unwrap_or_default();
            let _ = answers.send(Answer::Retired(names));
        });
    }

    fn heard_counts(&mut self, counts: Counts, workers: Option<&[String]>) {
        let now = clock::monotonic();
        let finished = counts.memory + counts.released + counts.erred;
        if let Some((before, finished_before)) = self.counted.replace((now, finished)) {
            let seconds = now.duration_since(before).as_secs_f64().max(0.001);
            let rate = finished.saturating_sub(finished_before) as f64 / seconds;
            self.progress.rate = if self.progress.rate > 0.0 {
                0.5 * self.progress.rate + 0.5 * rate
            } else {
                rate
            };
        }
        self.progress.counts = counts;
        self.update_workers(Some((counts, workers)));
        self.progress.workers_ready = self.status.workers.ready;
        self.progress.workers_desired = self.status.workers.desired;
        self.setting.console.progress(&self.progress.line(), now);
    }

    /// The size groups should have, after it changed.
    pub(super) fn count_wanted(&mut self) {
        for (known, group) in self.status.workers.groups.iter_mut().zip(&self.groups) {
            known.desired = count(group.wanted().count());
        }
        self.status.workers.desired = self
            .status
            .workers
            .groups
            .iter()
            .map(|group| group.desired)
            .sum();
    }

    /// Losses, after there was one.
    pub(super) fn count_lost(&mut self) {
        for (known, group) in self.status.workers.groups.iter_mut().zip(&self.groups) {
            known.lost = group.lost + group.started_again;
        }
        self.status.workers.lost = self
            .status
            .workers
            .groups
            .iter()
            .map(|group| group.lost)
            .sum();
    }

    pub(super) fn update_workers(&mut self, told: Option<(Counts, Option<&[String]>)>) {
        let registered = |slot: &&Slot| match told {
            Some((_, Some(names))) => names.contains(&slot.name),
            Some((_, None)) => matches!(slot.state, SlotState::Running { .. }),
            None => false,
        };
        for group in &mut self.groups {
            group.has_lived |= told.is_some() && group.slots.iter().any(|slot| registered(&slot));
        }
        let workers = &mut self.status.workers;
        workers.groups = self
            .groups
            .iter()
            .map(|group| GroupWorkers {
                name: group.name.clone(),
                desired: count(group.wanted().count()),
                ready: count(group.slots.iter().filter(registered).count()),
                lost: group.lost + group.started_again,
                ..GroupWorkers::default()
            })
            .collect();
        workers.desired = workers.groups.iter().map(|group| group.desired).sum();
        workers.lost = workers.groups.iter().map(|group| group.lost).sum();
        workers.ready = told.map_or(0, |(counts, _)| {
            u32::try_from(counts.workers).unwrap_or(u32::MAX)
        });
        let (ready, desired) = (workers.ready, workers.desired);
        if ready > 0 && self.status.timeline.first_worker.is_none() {
            self.status.timeline.first_worker = Some(clock::now());
        }
        if ready >= desired && told.is_some() && self.status.timeline.all_workers.is_none() {
            self.status.timeline.all_workers = Some(clock::now());
            self.set_condition(
                condition::CLUSTER_READY,
                ConditionStatus::True,
                reason::WORKERS_REGISTERED,
                "every worker has registered",
            );
        }
    }
}

#[derive(Debug, Deserialize)]
struct AdaptiveTarget {
    workers: u32,
}

#[derive(Debug, Deserialize)]
struct RegisteredWorkers {
    workers: Vec<RegisteredWorker>,
}

#[derive(Debug, Deserialize)]
struct RegisteredWorker {
    /// Text, or a number where a worker was started by hand.
    name: serde_json::Value,
    #[serde(default)]
    address: String,
}

impl RegisteredWorker {
    fn name(&self) -> String {
        self.name
            .as_str()
            .map_or_else(|| self.name.to_string(), str::to_owned)
    }
}

async fn ask(http_port: u16) -> Result<Answer, HttpError> {
    let counts: Counts = http::get_json(http_port, contract::http::COUNTS).await?;
    let registered = http::get_json::<RegisteredWorkers>(http_port, contract::http::GET_WORKERS)
        .await
        .ok();
    let workers = registered.map(|registered| {
        registered
            .workers
            .iter()
            .map(RegisteredWorker::name)
            .collect()
    });
    Ok(Answer::Counted { counts, workers })
}

/// Has the scheduler close so many workers of a group: those it can best do without when there is no other group, else
/// the youngest. Gives their names.
async fn retire(
    http_port: u16,
    count: u32,
    of_group: &[String],
    only_group: bool,
) -> Result<Vec<String>, HttpError> {
    let wish = if only_group {
        serde_json::json!({ "n": count })
    } else {
        let registered: RegisteredWorkers =
            http::get_json(http_port, contract::http::GET_WORKERS).await?;
        let youngest: Vec<&String> = of_group.iter().rev().take(count as usize).collect();
        let chosen = registered
            .workers
            .iter()
            .filter(|worker| youngest.contains(&&worker.name()));
        serde_json::json!({ "workers": chosen.map(|worker| &worker.address).collect::<Vec<_>>() })
    };
    let retired: BTreeMap<String, RegisteredWorker> =
        http::post_json(http_port, contract::http::RETIRE_WORKERS, &wish).await?;
    Ok(retired.values().map(RegisteredWorker::name).collect())
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
