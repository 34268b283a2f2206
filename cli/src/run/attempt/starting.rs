//! Starting the processes of an attempt: the scheduler, and when it answers, workers and program.

use super::{Attempt, AttemptEnd, Runner, Scheduler, Setting};
use crate::clock;
use crate::run::commands::{self, LOOPBACK};
use crate::run::environment::{self, Place, Surroundings};
use crate::run::groups::SlotState;
use crate::run::pace::Pace;
use crate::run::process::{Launch, Who, find_program};
use contract::Role;
use contract::status::{ConditionStatus, condition, reason};
use plan::names;
use serde::Deserialize;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How long a scheduler may take to answer.
const SCHEDULER_START: Duration = Duration::from_secs(120);

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

impl Attempt<'_> {
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

    pub(super) fn log_of(&self, name: &str) -> PathBuf {
        self.setting.directories.logs.join(format!("{name}.log"))
    }

    pub(super) fn start_scheduler(&mut self) -> Result<(), Box<AttemptEnd>> {
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
        self.pace = Pace::of(&environment);
        self.watch(Who::Scheduler, &name, Role::Scheduler, &job.scheduler);
        let launch = Launch {
            who: Who::Scheduler,
            command: &command,
            environment: &environment,
            directory: &directories.files,
            leaf: self.leaf(Who::Scheduler),
        };
        let pid = launch
            .logged(&self.log_of(Role::Scheduler.as_str()), &self.exits)
            .map_err(|error| {
                Box::new(self.not_started(Role::Scheduler, &name, &error.to_string()))
            })?;
        self.scheduler = Scheduler::Starting { pid };
        Ok(())
    }

    /// The scheduler answers when its file is complete: it writes it after it listens.
    pub(super) fn look_for_scheduler(&mut self, now: Instant) -> Option<AttemptEnd> {
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

    pub(super) fn start_due_workers(&mut self, now: Instant) -> Option<AttemptEnd> {
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
        let address = address.clone();
        let who = Who::Worker { group, slot };
        let Setting {
            job,
            directories,
            interpreter,
            ..
        } = self.setting;
        let spec = &job.worker_groups[group];
        let name = self.groups[group].slots[slot].name.clone();
        let command =
            commands::worker_command(job.engine, interpreter, directories, spec, &name, &address);
        let place = Place {
            role: Role::Worker,
            name: &name,
            worker_group: Some(&spec.name),
            scheduler_address: Some(&address),
        };
        let (environment, _) = environment::of_process(self.surroundings(), place, &spec.role.env);
        let group_name = match self.groups[group].lost {
            0 => name.clone(),
            // A worker that is replaced keeps its name; what it left in its group may still be ending.
            lost => format!("{name}.{lost}"),
        };
        self.watch(who, &group_name, Role::Worker, &spec.role);
        let launch = Launch {
            who,
            command: &command,
            environment: &environment,
            directory: &directories.files,
            leaf: self.leaf(who),
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
            passing,
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
        self.watch(Who::Runner, &name, Role::Runner, &runner.role);
        let launch = Launch {
            who: Who::Runner,
            command: &command,
            environment: &environment,
            directory,
            leaf: self.leaf(Who::Runner),
        };
        match launch.shown(console, passing, &self.exits) {
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
}
