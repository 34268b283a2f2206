//! One attempt: a fresh cluster and one try of the program.
//!
//! The scheduler first; when it answers, workers and program together. One loop hears of ended processes, of the
//! scheduler's numbers and of time passing; it ends when the program does, or when it no longer can.

use super::commands::{self, LOOPBACK};
use super::console::{Console, Progress};
use super::directories::Directories;
use super::environment::{self, Environment, Place, Surroundings};
use super::groups::{Group, Loss, SlotState};
use super::http::{self, HttpError};
use super::interpreter::Interpreter;
use super::logs::{self, Tail};
use super::process::{Exit, Launch, Who, find_program};
use crate::clock;
use crate::supervise::process_tree;
use contract::Role;
use contract::http::Counts;
use contract::status::{
    ConditionStatus, Failure, FailureClass, GroupWorkers, JobStatus, condition, reason,
};
use plan::{ResolvedJob, names};
use serde::Deserialize;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// How often time is looked at.
const TICK: Duration = Duration::from_millis(50);

/// How often the scheduler is asked for its numbers, until all workers are there and afterwards.
const ASK_EVERY_AT_FIRST: Duration = Duration::from_millis(200);
const ASK_EVERY: Duration = Duration::from_secs(1);

/// How long a scheduler may take to answer.
const SCHEDULER_START: Duration = Duration::from_secs(120);

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
    counted: Option<(Instant, u64)>,
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

/// What the scheduler said.
struct Answer {
    counts: Counts,
    /// Names of the registered workers; `None` if it does not tell.
    workers: Option<Vec<String>>,
}

/// What the scheduler file holds of use here.
#[derive(Debug, Deserialize)]
struct SchedulerFile {
    address: String,
    services: Services,
}

#[derive(Debug, Deserialize)]
struct Services {
    dashboard: u16,
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
        counted: None,
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
                Some(answer) = answered.recv() => { self.heard_answer(answer); None }
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

    fn surroundings(&self) -> Surroundings<'_> {
        let setting = self.setting;
        Surroundings {
            job: setting.job,
            attempt: setting.number,
            directories: setting.directories,
            interpreter: setting.interpreter,
            manifest_directory: setting.manifest_directory,
            shell: setting.shell,
        }
    }

    fn log_of(&self, name: &str) -> PathBuf {
        self.setting.directories.logs.join(format!("{name}.log"))
    }

    fn start_scheduler(&mut self) -> Result<(), Box<AttemptEnd>> {
        let Setting {
            job,
            directories,
            interpreter,
            number,
            ..
        } = self.setting;
        let command = commands::scheduler_command(
            job.engine,
            interpreter,
            directories,
            job.deadlines.idle_timeout_seconds,
        );
        let name = names::scheduler(job.name.as_str(), number);
        let place = Place {
            role: Role::Scheduler,
            name: &name,
            worker_group: None,
            scheduler_address: None,
        };
        let (environment, _) =
            environment::of_process(self.surroundings(), place, &job.scheduler.env);
        let launch = Launch {
            who: Who::Scheduler,
            command: &command,
            environment: &environment,
            directory: &directories.files,
        };
        let pid = launch
            .logged(&self.log_of(Role::Scheduler.as_str()), &self.exits)
            .map_err(|error| {
                Box::new(self.not_started(Role::Scheduler, &name, &error.to_string()))
            })?;
        self.scheduler = Scheduler::Starting { pid };
        Ok(())
    }

    fn not_started(&self, role: Role, name: &str, why: &str) -> AttemptEnd {
        self.infrastructure_failure(
            role,
            name,
            FailureClass::Image,
            reason::START_FAILED,
            format!("the {role} could not be started: {why}"),
        )
    }

    fn infrastructure_failure(
        &self,
        role: Role,
        name: &str,
        class: FailureClass,
        reason: &str,
        message: String,
    ) -> AttemptEnd {
        let log = match role {
            Role::Runner => self
                .runner
                .as_ref()
                .map(|runner| runner.tail.lock().expect("no holder panics").text()),
            Role::Scheduler => Some(logs::tail_of(&self.log_of(role.as_str()))),
            Role::Worker => Some(logs::tail_of(&self.log_of(name))),
        };
        AttemptEnd::Failed {
            failure: Failure {
                role,
                pod: Some(name.to_owned()),
                class,
                reason: reason.to_owned(),
                message,
                exit_code: None,
                log: log.filter(|log| !log.is_empty()),
            },
            exit_code: if class == FailureClass::Deadline {
                contract::exit_code::DEADLINE
            } else {
                contract::exit_code::INFRASTRUCTURE
            },
        }
    }

    // ---- time -------------------------------------------------------------------------------------------------

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
                SlotState::Running { pid } => Some(pid),
                SlotState::Due(_) => None,
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

    /// The scheduler answers when its file is complete: it writes it after it listens.
    fn look_for_scheduler(&mut self, now: Instant) -> Option<AttemptEnd> {
        let Scheduler::Starting { pid } = self.scheduler else {
            return None;
        };
        let written = std::fs::read(&self.setting.directories.scheduler_file).ok();
        let Some(file) =
            written.and_then(|bytes| serde_json::from_slice::<SchedulerFile>(&bytes).ok())
        else {
            if now < self.begun + SCHEDULER_START {
                return None;
            }
            let name = names::scheduler(self.setting.job.name.as_str(), self.setting.number);
            return Some(self.not_started(
                Role::Scheduler,
                &name,
                &format!("it did not answer within {} s", SCHEDULER_START.as_secs()),
            ));
        };
        self.scheduler = Scheduler::Answering {
            pid,
            address: file.address.clone(),
            http_port: file.services.dashboard,
        };
        self.status.scheduler_address = Some(file.address.clone());
        self.status.timeline.scheduler_ready = Some(clock::now());
        self.set_condition(
            condition::CLUSTER_READY,
            ConditionStatus::False,
            reason::STARTED,
            "waiting for workers",
        );
        if self.setting.job.job.is_none() {
            self.setting.console.say(&format!(
                "scheduler at {}, status page at http://{LOOPBACK}:{}/status. Ctrl-C ends the cluster",
                file.address, file.services.dashboard
            ));
        }
        self.start_runner(&file.address)
    }

    fn start_due_workers(&mut self, now: Instant) -> Option<AttemptEnd> {
        for group in 0..self.groups.len() {
            for slot in self.groups[group].due(now) {
                if let Err(end) = self.start_worker(group, slot) {
                    return Some(*end);
                }
            }
        }
        None
    }

    fn start_worker(&mut self, group: usize, slot: usize) -> Result<(), Box<AttemptEnd>> {
        let Scheduler::Answering { address, .. } = &self.scheduler else {
            return Ok(());
        };
        let Setting {
            job,
            directories,
            interpreter,
            ..
        } = self.setting;
        let spec = &job.worker_groups[group];
        let name = self.groups[group].slots[slot].name.clone();
        let command =
            commands::worker_command(job.engine, interpreter, directories, spec, &name, address);
        let place = Place {
            role: Role::Worker,
            name: &name,
            worker_group: Some(&spec.name),
            scheduler_address: Some(address),
        };
        let (environment, _) = environment::of_process(self.surroundings(), place, &spec.role.env);
        let launch = Launch {
            who: Who::Worker { group, slot },
            command: &command,
            environment: &environment,
            directory: &directories.files,
        };
        let pid = launch
            .logged(&self.log_of(&name), &self.exits)
            .map_err(|error| Box::new(self.not_started(Role::Worker, &name, &error.to_string())))?;
        self.groups[group].slots[slot].state = SlotState::Running { pid };
        Ok(())
    }

    fn start_runner(&mut self, address: &str) -> Option<AttemptEnd> {
        let Setting {
            job,
            directories,
            manifest_directory,
            console,
            number,
            ..
        } = self.setting;
        let runner = job.job.as_ref()?;
        let name = names::runner(job.name.as_str(), number);
        let place = Place {
            role: Role::Runner,
            name: &name,
            worker_group: None,
            scheduler_address: Some(address),
        };
        let (environment, known) =
            environment::of_process(self.surroundings(), place, &runner.role.env);
        // A job without files works where the manifest is, as one from an image works where its files are.
        let directory = if runner.files.is_empty() {
            manifest_directory
        } else {
            &directories.work
        };
        let mut words = runner
            .command
            .iter()
            .chain(&runner.args)
            .map(|word| plan::expand(word, &known));
        let program = words.next().unwrap_or_default();
        let Some(path) = find_program(&program, &environment, directory) else {
            return Some(self.program_not_found(&program, &name));
        };
        let command = commands::CommandLine {
            program: path.into(),
            called: None,
            arguments: words.map(Into::into).collect(),
        };
        let launch = Launch {
            who: Who::Runner,
            command: &command,
            environment: &environment,
            directory,
        };
        match launch.shown(console, &self.exits) {
            Ok((pid, tail)) => self.runner = Some(Runner { pid, tail }),
            Err(error) => return Some(self.not_started(Role::Runner, &name, &error.to_string())),
        }
        self.status.timeline.runner_started = Some(clock::now());
        self.set_condition(
            condition::RUNNING,
            ConditionStatus::True,
            reason::STARTED,
            "the program runs",
        );
        None
    }

    fn program_not_found(&self, program: &str, name: &str) -> AttemptEnd {
        let message = format!("the program {program} (spec.job.command[0]) was not found");
        match self.infrastructure_failure(
            Role::Runner,
            name,
            FailureClass::Image,
            reason::START_FAILED,
            message,
        ) {
            AttemptEnd::Failed { failure, .. } => AttemptEnd::Failed {
                failure,
                exit_code: contract::exit_code::NOT_FOUND,
            },
            other @ (AttemptEnd::Succeeded | AttemptEnd::Idle) => other,
        }
    }

    // ---- the scheduler's numbers ------------------------------------------------------------------------------

    fn ask_when_due(&mut self, http_port: u16, now: Instant) {
        let every = if self.status.timeline.all_workers.is_some() {
            ASK_EVERY
        } else {
            ASK_EVERY_AT_FIRST
        };
        if self.asked.is_some_and(|asked| now < asked + every) {
            return;
        }
        self.asked = Some(now);
        let answers = self.answers.clone();
        tokio::spawn(async move {
            // A scheduler that is busy answers late; the next question comes anyway.
            if let Ok(answer) = ask(http_port).await {
                let _ = answers.send(answer);
            }
        });
    }

    fn heard_answer(&mut self, answer: Answer) {
        let now = clock::monotonic();
        let finished = answer.counts.memory + answer.counts.released + answer.counts.erred;
        if let Some((before, finished_before)) = self.counted.replace((now, finished)) {
            let seconds = now.duration_since(before).as_secs_f64().max(0.001);
            let rate = finished.saturating_sub(finished_before) as f64 / seconds;
            self.progress.rate = if self.progress.rate > 0.0 {
                0.5 * self.progress.rate + 0.5 * rate
            } else {
                rate
            };
        }
        self.progress.counts = answer.counts;
        self.update_workers(Some(&answer));
        self.progress.workers_ready = self.status.workers.ready;
        self.progress.workers_desired = self.status.workers.desired;
        self.setting.console.progress(&self.progress, now);
    }

    fn update_workers(&mut self, answer: Option<&Answer>) {
        let registered = |slot: &super::groups::Slot| match answer.map(|answer| &answer.workers) {
            Some(Some(names)) => names.contains(&slot.name),
            Some(None) | None => {
                answer.is_some() && matches!(slot.state, SlotState::Running { .. })
            }
        };
        let workers = &mut self.status.workers;
        workers.groups = self
            .groups
            .iter()
            .map(|group| GroupWorkers {
                name: group.name.clone(),
                desired: count(group.slots.len()),
                ready: count(group.slots.iter().filter(|slot| registered(slot)).count()),
                lost: group.lost,
            })
            .collect();
        workers.desired = workers.groups.iter().map(|group| group.desired).sum();
        workers.lost = workers.groups.iter().map(|group| group.lost).sum();
        workers.ready = answer.map_or(0, |answer| {
            u32::try_from(answer.counts.workers).unwrap_or(u32::MAX)
        });
        let (ready, desired) = (workers.ready, workers.desired);
        if ready > 0 && self.status.timeline.first_worker.is_none() {
            self.status.timeline.first_worker = Some(clock::now());
        }
        if ready >= desired && answer.is_some() && self.status.timeline.all_workers.is_none() {
            self.status.timeline.all_workers = Some(clock::now());
            self.set_condition(
                condition::CLUSTER_READY,
                ConditionStatus::True,
                reason::WORKERS_REGISTERED,
                "every worker has registered",
            );
        }
    }

    // ---- ended processes --------------------------------------------------------------------------------------

    fn heard_of_end(&mut self, exit: Exit) -> Option<AttemptEnd> {
        match exit.who {
            Who::Runner => Some(self.runner_ended(exit)),
            Who::Scheduler => self.scheduler_ended(exit),
            Who::Worker { group, slot } => self.worker_ended(exit, group, slot),
        }
    }

    fn runner_ended(&mut self, exit: Exit) -> AttemptEnd {
        let code = exit.code();
        if code == 0 {
            return AttemptEnd::Succeeded;
        }
        let reason = if exit.status.code().is_some() {
            reason::NON_ZERO_EXIT
        } else {
            reason::KILLED_BY_SIGNAL
        };
        let mut message = format!("the program {}", exit.description());
        if self.status.workers.lost > 0 {
            message.push_str(&format!(
                "; {} workers were lost before",
                self.status.workers.lost
            ));
        }
        let tail = self
            .runner
            .as_ref()
            .map(|runner| runner.tail.lock().expect("no holder panics").text());
        AttemptEnd::Failed {
            failure: Failure {
                role: Role::Runner,
                pod: Some(names::runner(
                    self.setting.job.name.as_str(),
                    self.setting.number,
                )),
                class: FailureClass::Application,
                reason: reason.to_owned(),
                message,
                exit_code: Some(i32::from(code)),
                log: tail.filter(|tail| !tail.is_empty()),
            },
            exit_code: code,
        }
    }

    fn scheduler_ended(&mut self, exit: Exit) -> Option<AttemptEnd> {
        let name = names::scheduler(self.setting.job.name.as_str(), self.setting.number);
        let answered = matches!(self.scheduler, Scheduler::Answering { .. });
        let closed = exit.code() == 0 && answered;
        self.scheduler = Scheduler::Closed;
        self.status.scheduler_address = None;
        match (closed, &self.setting.job.job) {
            // The program said `client.shutdown()`, and decides by its own end.
            (true, Some(_)) => None,
            (true, None) => Some(AttemptEnd::Idle),
            (false, _) => {
                let (class, reason) = if answered {
                    (FailureClass::SchedulerLost, reason::SCHEDULER_LOST)
                } else {
                    (FailureClass::Image, reason::START_FAILED)
                };
                Some(self.infrastructure_failure(
                    Role::Scheduler,
                    &name,
                    class,
                    reason,
                    format!("the scheduler {}", exit.description()),
                ))
            }
        }
    }

    fn worker_ended(&mut self, exit: Exit, group: usize, slot: usize) -> Option<AttemptEnd> {
        let name = self.groups[group].slots[slot].name.clone();
        let outcome = self.groups[group].lose(slot, clock::monotonic());
        // With the scheduler its workers end too.
        if self.scheduler == Scheduler::Closed {
            return None;
        }
        self.status.workers.lost += 1;
        self.setting.console.say(&format!(
            "worker {name} {}; it is replaced",
            exit.description()
        ));
        match outcome {
            Loss::Replaced => None,
            Loss::TooMany => {
                let message = format!(
                    "group {} lost more than {} workers; the last one, {name}, {}",
                    self.groups[group].name,
                    self.groups[group].losses_allowed(),
                    exit.description()
                );
                Some(self.infrastructure_failure(
                    Role::Worker,
                    &name,
                    FailureClass::WorkersLost,
                    reason::WORKERS_LOST,
                    message,
                ))
            }
        }
    }
}

#[derive(Debug, Deserialize)]
struct WorkerNames {
    workers: Vec<WorkerName>,
}

#[derive(Debug, Deserialize)]
struct WorkerName {
    name: serde_json::Value,
}

async fn ask(http_port: u16) -> Result<Answer, HttpError> {
    let counts: Counts = http::get_json(http_port, contract::http::COUNTS).await?;
    let workers = http::get_json::<WorkerNames>(http_port, contract::http::GET_WORKERS)
        .await
        .ok();
    let name = |worker: WorkerName| {
        worker
            .name
            .as_str()
            .map_or_else(|| worker.name.to_string(), str::to_owned)
    };
    Ok(Answer {
        counts,
        workers: workers.map(|workers| workers.workers.into_iter().map(name).collect()),
    })
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
