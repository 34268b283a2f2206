//! One attempt: a fresh cluster and one try of the program.
//!
//! The scheduler first; when it answers, workers and program together. One loop hears of ended processes, of the
//! scheduler's numbers and of time passing; it ends when the program does, or when it no longer can.

mod endings;
mod memory;
mod questions;
mod starting;

use super::directories::Directories;
use super::environment::Environment;
use super::groups::{Group, SlotState};
use super::interpreter::Interpreter;
use super::logs::Tail;
use super::output::Passing;
use super::pace::Pace;
use super::process::{Exit, Who};
use super::progress::Progress;
use crate::clock;
use crate::control_groups::RunGroups;
use crate::supervise::process_tree;
use contract::Role;
use contract::status::{ConditionStatus, Failure, FailureClass, JobStatus, condition, reason};
use memory::{Cause, Watched};
use plan::{ResolvedJob, names};
use questions::Answer;
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use terminal::Console;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// How often time is looked at.
const TICK: Duration = Duration::from_millis(50);

/// What an attempt is made from.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    pub job: &'a ResolvedJob,
    pub number: u32,
    pub directories: &'a Directories,
    pub interpreter: &'a Interpreter,
    pub manifest_directory: &'a Path,
    pub shell: &'a Environment,
    pub console: &'a Arc<Console>,
    pub passing: &'a Passing,
    /// Where the system allows them.
    pub groups: Option<&'a RunGroups>,
    /// When the whole job must have finished.
    pub active_deadline: Option<Instant>,
}

/// How an attempt ended.
#[derive(Debug)]
pub enum AttemptEnd {
    /// The program ended with 0.
    Succeeded,
    /// An interactive cluster ended because nobody used it.
    Idle,
    Failed {
        failure: Failure,
        exit_code: u8,
    },
}

pub struct Attempt<'a> {
    setting: Setting<'a>,
    status: &'a mut JobStatus,
    begun: Instant,
    groups: Vec<Group>,
    scheduler: Scheduler,
    runner: Option<Runner>,
    progress: Progress,
    asked: Option<Instant>,
    adapted: Option<Instant>,
    pace: Pace,
    counted: Option<(Instant, u64)>,
    kernel_kills_at_begin: u64,
    /// The memory of processes that were started.
    watched: HashMap<Who, Watched>,
    /// The last worker that ran out of memory, and how.
    out_of_memory_last: Option<(String, Cause)>,
    exits: UnboundedSender<Exit>,
    answers: UnboundedSender<Answer>,
}

#[derive(Debug, PartialEq, Eq)]
enum Scheduler {
    NotStarted,
    Starting {
        pid: u32,
    },
    Answering {
        pid: u32,
        address: String,
        http_port: u16,
    },
    /// It ended with 0, because somebody told it to.
    Closed,
}

struct Runner {
    pid: u32,
    tail: Arc<Mutex<Tail>>,
}

/// Runs an attempt to its end. Its processes are ended by the caller.
pub async fn run(setting: Setting<'_>, status: &mut JobStatus) -> AttemptEnd {
    let (exits, mut ended) = unbounded_channel();
    let (answers, mut answered) = unbounded_channel();
    let begun = clock::monotonic();
    let mut attempt = Attempt {
        groups: Group::of_job(setting.job, setting.number, begun),
        setting,
        status,
        begun,
        scheduler: Scheduler::NotStarted,
        runner: None,
        progress: Progress::default(),
        asked: None,
        adapted: None,
        pace: Pace::default(),
        counted: None,
        kernel_kills_at_begin: memory::kernel_kills(),
        watched: HashMap::new(),
        out_of_memory_last: None,
        exits,
        answers,
    };
    attempt.begin();
    let end = match attempt.start_scheduler() {
        Ok(()) => attempt.until_end(&mut ended, &mut answered).await,
        Err(end) => *end,
    };
    attempt.finished();
    end
}

impl Attempt<'_> {
    async fn until_end(
        &mut self,
        ended: &mut UnboundedReceiver<Exit>,
        answered: &mut UnboundedReceiver<Answer>,
    ) -> AttemptEnd {
        let mut tick = tokio::time::interval(TICK);
        loop {
            let end = tokio::select! {
                Some(exit) = ended.recv() => self.heard_of_end(exit),
                Some(answer) = answered.recv() => { self.heard(answer); None }
                _ = tick.tick() => self.time_passed(),
            };
            if let Some(end) = end {
                return end;
            }
        }
    }

    fn begin(&mut self) {
        self.status.attempt = self.setting.number;
        self.status.timeline = contract::status::Timeline {
            created: Some(clock::now()),
            ..Default::default()
        };
        self.status.workers.lost = 0;
        self.set_condition(
            condition::CLUSTER_READY,
            ConditionStatus::False,
            reason::STARTED,
            "the scheduler is starting",
        );
        self.update_workers(None);
    }

    fn finished(&mut self) {
        self.status.timeline.finished = Some(clock::now());
        self.status.scheduler_address = None;
        self.set_condition(
            condition::RUNNING,
            ConditionStatus::False,
            reason::FINISHED,
            "",
        );
        self.set_condition(
            condition::CLUSTER_READY,
            ConditionStatus::False,
            reason::FINISHED,
            "",
        );
    }

    fn set_condition(&mut self, type_: &str, status: ConditionStatus, reason: &str, message: &str) {
        self.status
            .set_condition(type_, status, reason, message, &clock::now());
        self.status.job_status = self.status.phase();
    }

    fn time_passed(&mut self) -> Option<AttemptEnd> {
        let now = clock::monotonic();
        process_tree::reap_adopted(&self.known_pids());
        if let Some(end) = self.deadline_passed(now) {
            return Some(end);
        }
        if matches!(self.scheduler, Scheduler::Starting { .. })
            && let Some(end) = self.look_for_scheduler(now)
        {
            return Some(end);
        }
        if let Scheduler::Answering { http_port, .. } = self.scheduler {
            self.ask_when_due(http_port, now);
            self.adapt_when_due(http_port, now);
            return self.start_due_workers(now);
        }
        None
    }

    fn known_pids(&self) -> HashSet<u32> {
        let of_scheduler = match &self.scheduler {
            Scheduler::Starting { pid } | Scheduler::Answering { pid, .. } => Some(*pid),
            Scheduler::NotStarted | Scheduler::Closed => None,
        };
        let of_workers = self
            .groups
            .iter()
            .flat_map(|group| &group.slots)
            .filter_map(|slot| match slot.state {
                SlotState::Running { pid } | SlotState::Retiring { pid } => Some(pid),
                SlotState::Due(_) | SlotState::Gone => None,
            });
        of_workers
            .chain(of_scheduler)
            .chain(self.runner.as_ref().map(|runner| runner.pid))
            .collect()
    }

    fn deadline_passed(&self, now: Instant) -> Option<AttemptEnd> {
        let name = names::runner(self.setting.job.name.as_str(), self.setting.number);
        if self
            .setting
            .active_deadline
            .is_some_and(|deadline| now >= deadline)
        {
            let seconds = self
                .setting
                .job
                .deadlines
                .active_deadline_seconds
                .unwrap_or_default();
            let message =
                format!("the job had not finished after {seconds} s (activeDeadlineSeconds)");
            return Some(self.infrastructure_failure(
                Role::Runner,
                &name,
                FailureClass::Deadline,
                reason::ACTIVE_DEADLINE_EXCEEDED,
                message,
            ));
        }
        let seconds = self.setting.job.deadlines.start_deadline_seconds?;
        let started = self.status.timeline.first_worker.is_some()
            && (self.runner.is_some() || self.setting.job.job.is_none());
        if started || now < self.begun + Duration::from_secs(seconds) {
            return None;
        }
        let message = format!(
            "after {seconds} s (startDeadlineSeconds) the program did not run with a worker beside it: {}",
            self.what_is_missing()
        );
        Some(self.infrastructure_failure(
            Role::Runner,
            &name,
            FailureClass::Deadline,
            reason::START_DEADLINE_EXCEEDED,
            message,
        ))
    }

    fn what_is_missing(&self) -> &'static str {
        match self.scheduler {
            Scheduler::NotStarted | Scheduler::Starting { .. } => "the scheduler does not answer",
            Scheduler::Answering { .. } => "no worker has registered",
            Scheduler::Closed => "the scheduler has closed",
        }
    }
}
