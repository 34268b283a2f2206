//! The life of a task: which state follows which, one file for the states left.
//!
//! A transition changes one task, says what else should change (recommendations) and whom to tell (effects).
//! [`Scheduler::settle`] works recommendations off, last in first out, until none is left.

mod erred;
mod forgotten;
mod memory;
mod processing;
mod ready;
mod released;
mod waiting;

pub(crate) use erred::Fault;
pub(crate) use processing::Finished;

use crate::config::Check;
use crate::effects::{Effects, LogLevel};
use crate::scheduler::Scheduler;
use crate::story::Transition;
use crate::task::{Phase, TaskId};

impl Scheduler {
    /// Works off all recommendations.
    pub(crate) fn settle(&mut self, fx: &mut Effects) {
        let mut steps = 0;
        while let Some((task, target)) = self.recommendations.pop(&mut self.tasks) {
            self.transition(task, target, fx);
            steps += 1;
            if self.check == Check::EveryEvent {
                self.check_settling(steps);
            }
        }
    }

    /// Recommendations that never end are a bug.
    fn check_settling(&self, steps: usize) {
        const FAR_TOO_MANY: usize = 100_000;
        if steps > FAR_TOO_MANY {
            let told: Vec<_> = self
                .story
                .iter()
                .rev()
                .take(40)
                .map(Transition::describe)
                .collect();
            panic!("recommendations without end, latest first: {told:#?}");
        }
    }

    /// Recommends one thing and works everything off.
    pub(crate) fn settle_one(&mut self, task: TaskId, target: Phase, fx: &mut Effects) {
        self.recommend(task, target);
        self.settle(fx);
    }

    /// Brings a task to a state, or as near as it gets; what follows is recommended.
    pub(crate) fn transition(&mut self, task: TaskId, finish: Phase, fx: &mut Effects) {
        let start = self.tasks[task].phase();
        if start == Phase::Forgotten || start == finish {
            return;
        }
        self.counters.transitions += 1;
        let mark = self.recommendations.journal.len();
        if !self.step(task, start, finish, fx) {
            self.detour(task, start, finish, fx);
            return;
        }
        self.record(task, start, mark);
        self.drop_empty_group(task);
    }

    /// A transition that the table has; false if it has none.
    fn step(&mut self, task: TaskId, start: Phase, finish: Phase, fx: &mut Effects) -> bool {
        match (start, finish) {
            (Phase::Released, Phase::Waiting) => self.released_to_waiting(task),
            (Phase::Released, Phase::Erred) => self.released_to_erred(task, fx),
            (Phase::Released | Phase::Memory, Phase::Forgotten) => self.forget(task, fx),
            (Phase::Waiting, Phase::Released) => self.waiting_to_released(task),
            (Phase::Waiting, Phase::Processing) => self.waiting_to_processing(task, fx),
            (Phase::Waiting, Phase::NoWorker) => self.waiting_to_no_worker(task),
            (Phase::Waiting, Phase::Queued) => self.waiting_to_queued(task),
            // A result of a run that has been given up; the worker is being told to drop it.
            (Phase::Waiting, Phase::Memory) => {}
            (Phase::Queued, Phase::Released) => self.queued_to_released(task),
            (Phase::Queued, Phase::Processing) => self.queued_to_processing(task, fx),
            (Phase::NoWorker, Phase::Released) => self.no_worker_to_released(task),
            (Phase::NoWorker, Phase::Processing) => self.no_worker_to_processing(task, fx),
            (Phase::Processing, Phase::Released) => self.processing_to_released(task, fx),
            (Phase::Queued | Phase::NoWorker | Phase::Processing, Phase::Erred) => {
                if let Some(worker) = self.tasks[task].processing_on() {
                    // It has an order to run it, and an input that is no more.
                    self.free_key(worker, &self.tasks[task].key, fx);
                }
                self.leave_for_erred(task);
                self.propagate_erred(task, None, fx);
            }
            (Phase::Memory, Phase::Released) => self.memory_to_released(task, fx),
            (Phase::Memory, Phase::Erred) => self.memory_to_erred(task, fx),
            (Phase::Erred, Phase::Released) => self.erred_to_released(task, fx),
            _ => return false,
        }
        true
    }

    /// From one state to another through released.
    fn detour(&mut self, task: TaskId, start: Phase, finish: Phase, fx: &mut Effects) {
        if start == Phase::Released || finish == Phase::Released {
            self.log(
                LogLevel::Error,
                "impossible transition",
                &self.tasks[task].key,
                fx,
            );
            return;
        }
        self.transition(task, Phase::Released, fx);
        if self.tasks[task].phase() != Phase::Released {
            // An actor that is still wanted: it stays in memory and has been recommended to err.
            return;
        }
        let next = self.recommendations.of(&self.tasks, task).unwrap_or(finish);
        self.transition(task, next, fx);
    }

    fn record(&mut self, task: TaskId, start: Phase, mark: usize) {
        if !self.story.keeps_anything() {
            return;
        }
        let own = &self.tasks[task];
        let tasks = &self.tasks;
        let recommended = &self.recommendations.journal[mark..];
        self.story.push(Transition {
            key: own.key.clone(),
            start,
            finish: own.phase(),
            recommendations: recommended
                .iter()
                .map(|(other, target)| (tasks[*other].key.clone(), *target))
                .collect(),
            stimulus_id: self.stimulus.clone(),
            at: self.now,
        });
    }

    fn drop_empty_group(&mut self, task: TaskId) {
        if self.tasks[task].phase() == Phase::Forgotten {
            self.groups.remove_if_forgotten(self.tasks[task].group);
        }
    }
}
