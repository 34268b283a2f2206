//! One run, from the manifest to the exit code.
//!
//! Invariant: whatever happens, the status ends in exactly one of Complete and Failed.

use super::args::RunArgs;
use super::attempt::{self, AttemptEnd, Setting};
use super::directories::Directories;
use super::environment::Environment;
use super::interpreter::{self, Interpreter, Wishes};
use super::manifest::{self, Refused};
use super::output::{LAST_OUTPUT, Passing};
use super::{logs, notes};
use crate::clock;
use crate::control_groups::{self, RunGroups};
use crate::supervise::{End, process_tree};
use contract::status::{
    ConditionStatus, Failure, FailureClass, JobStatus, Teardown, condition, reason,
};
use contract::{Role, exit_code};
use plan::{Files, ResolvedJob};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use terminal::{Console, refusals_text};

/// How long processes of an attempt get to end before the next begins.
const GRACE_BETWEEN_ATTEMPTS: Duration = Duration::from_secs(2);

/// How often a lost scheduler is made good by a fresh attempt, whatever `backoffLimit` says.
const SCHEDULER_LOSSES_ALLOWED: u32 = 3;

/// The first wait before a fresh attempt, doubling up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A run and what is known about it.
pub struct Session {
    pub(super) arguments: RunArgs,
    pub(super) directory: PathBuf,
    pub(super) console: Arc<Console>,
    /// The program's output, on its way to the console.
    passing: Passing,
    pub(super) begun: Instant,
    /// Once the manifest was read.
    pub(super) job: Option<ResolvedJob>,
    pub(super) status: JobStatus,
    exit_code: u8,
    /// Where the system allows them.
    groups: Option<Arc<RunGroups>>,
    /// Ends of the cluster's logs, taken before it was ended.
    pub(super) log_ends: Vec<(String, String)>,
}

/// Everything an attempt needs that does not change between attempts.
struct Prepared {
    job: ResolvedJob,
    interpreter: Interpreter,
    manifest_directory: PathBuf,
    shell: Environment,
}

impl Session {
    pub fn new(arguments: RunArgs, directory: PathBuf) -> Self {
        let console = Arc::new(Console::new(!arguments.no_progress));
        Session {
            arguments,
            directory,
            console,
            passing: Passing::default(),
            begun: clock::monotonic(),
            job: None,
            status: JobStatus::default(),
            exit_code: 0,
            groups: None,
            log_ends: Vec::new(),
        }
    }

    /// Runs the job to its end. May be dropped at any time; then `ending` and `finish` still tell the truth.
    pub async fn run(&mut self) {
        match self.prepare().await {
            Ok(prepared) => self.run_attempts(&prepared).await,
            Err(refused) => {
                self.console.say(&refused.sentence);
                self.fail(refused.failure(), refused.exit_code);
            }
        }
    }

    async fn prepare(&mut self) -> Result<Prepared, Refused> {
        let file = self.arguments.file.clone();
        let mut job = manifest::read(&file)?;
        if let Some(engine) = self.arguments.engine {
            job.engine = engine.into();
        }
        let shell: Environment = std::env::vars_os().collect();
        let refusals =
            notes::impossible(&job, &|name| shell.contains_key(std::ffi::OsStr::new(name)));
        if !refusals.is_empty() {
            return Err(Refused::manifest(refusals_text(
                &file.display().to_string(),
                &refusals,
            )));
        }
        self.set_condition(
            condition::ACCEPTED,
            ConditionStatus::True,
            reason::VALID,
            "the manifest is valid",
        );
        self.job = Some(job.clone());
        for note in notes::ignored(&job) {
            self.console.say(&format!("note: {note}"));
        }
        let interpreter = interpreter::find(
            &Wishes::of_process(self.arguments.python.clone()),
            &self.console,
        )
        .await
        .map_err(|error| Refused::infrastructure(error.to_string()))?;
        let directory = file
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        let manifest_directory = std::fs::canonicalize(directory).map_err(|error| {
            Refused::infrastructure(format!(
                "cannot read the directory {}: {error}",
                directory.display()
            ))
        })?;
        self.make_groups(&job);
        Ok(Prepared {
            job,
            interpreter,
            manifest_directory,
            shell,
        })
    }

    fn make_groups(&mut self, job: &ResolvedJob) {
        let made = control_groups::make(&self.directory, self.arguments.keep);
        if made.swept > 0 {
            self.console.say(&format!(
                "ended {} processes of an earlier run that was killed",
                made.swept
            ));
        }
        if let Some(note) = notes::not_enforced(job, &|controller| made.why_not(controller)) {
            self.console.say(&format!("note: {note}"));
        }
        self.groups = made.groups.map(Arc::new);
    }

    /// The control groups of the run, once they are made.
    pub fn groups(&self) -> Option<Arc<RunGroups>> {
        self.groups.clone()
    }

    async fn run_attempts(&mut self, prepared: &Prepared) {
        let job = &prepared.job;
        self.console.say(&format!(
            "{}: engine {}, {} worker{}, Python {} with distributed {}",
            job.name,
            job.engine.as_str(),
            job.number_of_workers(),
            if job.number_of_workers() == 1 {
                ""
            } else {
                "s"
            },
            prepared.interpreter.python_version,
            prepared.interpreter.distributed_version
        ));
        let (mut retries, mut scheduler_losses) = (0, 0);
        for number in 1.. {
            let (failure, exit_code) = match self.attempt(prepared, number).await {
                AttemptEnd::Succeeded => {
                    return self.complete(reason::SUCCEEDED, "the program ended with exit code 0");
                }
                AttemptEnd::Idle => return self.complete(reason::IDLE, "the cluster was idle"),
                AttemptEnd::Failed { failure, exit_code } => (failure, exit_code),
            };
            let left = match failure.class {
                FailureClass::Application | FailureClass::OutOfMemory => {
                    retries += 1;
                    (job.backoff_limit + 1).saturating_sub(retries)
                }
                FailureClass::SchedulerLost => {
                    scheduler_losses += 1;
                    (SCHEDULER_LOSSES_ALLOWED + 1).saturating_sub(scheduler_losses)
                }
                FailureClass::Evicted
                | FailureClass::NodeLost
                | FailureClass::WorkersLost
                | FailureClass::Image
                | FailureClass::Quota
                | FailureClass::Deadline
                | FailureClass::Cancelled
                | FailureClass::Invalid => 0,
            };
            if left == 0 {
                return self.fail(failure, exit_code);
            }
            self.try_again(&failure, number, left).await;
            self.status.failure = Some(failure);
        }
    }

    async fn attempt(&mut self, prepared: &Prepared, number: u32) -> AttemptEnd {
        let nothing = Files::default();
        let files = prepared
            .job
            .job
            .as_ref()
            .map_or(&nothing, |runner| &runner.files);
        let directories = match Directories::make(
            &self.directory,
            number,
            files,
            &prepared.interpreter,
            self.arguments.log_dir.as_deref(),
        ) {
            Ok(directories) => directories,
            Err(error) => {
                let refused = Refused::infrastructure(format!(
                    "cannot make the directories of the run: {error}"
                ));
                return AttemptEnd::Failed {
                    failure: refused.failure(),
                    exit_code: refused.exit_code,
                };
            }
        };
        let active_deadline = prepared
            .job
            .deadlines
            .active_deadline_seconds
            .map(|seconds| self.begun + Duration::from_secs(seconds));
        let setting = Setting {
            job: &prepared.job,
            number,
            directories: &directories,
            interpreter: &prepared.interpreter,
            manifest_directory: &prepared.manifest_directory,
            shell: &prepared.shell,
            console: &self.console,
            passing: &self.passing,
            groups: self.groups.as_deref(),
            active_deadline,
        };
        let end = attempt::run(setting, &mut self.status).await;
        self.log_ends = ends_of_logs(&directories.logs);
        end
    }

    async fn try_again(&mut self, failure: &Failure, number: u32, left: u32) {
        let wait = FIRST_WAIT
            .saturating_mul(1 << (number - 1).min(8))
            .min(LONGEST_WAIT);
        self.console.say(&format!(
            "attempt {number} failed: {}; trying again with a fresh cluster in {} s ({left} left)",
            failure.message,
            wait.as_secs()
        ));
        let groups = self.groups();
        let ending = tokio::task::spawn_blocking(move || {
            process_tree::end_descendants(GRACE_BETWEEN_ATTEMPTS, &AtomicBool::new(false));
            groups.map(|groups| groups.end_leaves())
        });
        // The deadline of the whole job is looked at by the next attempt, at once.
        let _ = tokio::join!(ending, tokio::time::sleep(wait));
    }

    fn set_condition(&mut self, type_: &str, status: ConditionStatus, reason: &str, message: &str) {
        self.status
            .set_condition(type_, status, reason, message, &clock::now());
        self.status.job_status = self.status.phase();
    }

    fn complete(&mut self, reason: &str, message: &str) {
        self.status.failure = None;
        self.set_condition(condition::COMPLETE, ConditionStatus::True, reason, message);
    }

    fn fail(&mut self, failure: Failure, exit_code: u8) {
        if self.status.finished().is_some() {
            return;
        }
        if failure.class == FailureClass::Invalid {
            self.set_condition(
                condition::ACCEPTED,
                ConditionStatus::False,
                reason::INVALID,
                &failure.message,
            );
        }
        self.set_condition(
            condition::FAILED,
            ConditionStatus::True,
            &failure.reason,
            &failure.message,
        );
        self.status.failure = Some(failure);
        self.exit_code = exit_code;
    }

    /// The run is over; its processes are still there.
    pub fn ending(&mut self, end: End) {
        self.console.clear();
        let number = match end {
            End::ByItself => None,
            End::Signal(number) => Some(number),
            End::Abandoned => Some(1), // SIGHUP: nobody is there any more
        };
        if let Some(number) = number {
            self.cancelled(number);
        }
        self.set_condition(
            condition::RUNNING,
            ConditionStatus::False,
            reason::FINISHED,
            "",
        );
        self.status.scheduler_address = None;
    }

    fn cancelled(&mut self, number: i32) {
        let interactive = self.job.as_ref().is_some_and(|job| job.job.is_none());
        if interactive && self.status.timeline.scheduler_ready.is_some() {
            return self.complete(reason::FINISHED, "the cluster was ended by its user");
        }
        let failure = Failure {
            role: Role::Runner,
            pod: None,
            class: FailureClass::Cancelled,
            reason: reason::CANCELLED.to_owned(),
            message: format!("the run was cancelled by signal {number}"),
            exit_code: Some(i32::from(exit_code::of_signal(number))),
            memory: None,
            log: None,
        };
        self.fail(failure, exit_code::of_signal(number));
    }

    /// What the program wrote last, once it has ended, is taken from its pipes.
    pub async fn last_output(&mut self) {
        let passing = self.passing.get_mut().expect("no holder panics");
        let all = async { while passing.join_next().await.is_some() {} };
        // A program that cannot be ended has no last output.
        let _ = tokio::time::timeout(2 * LAST_OUTPUT, all).await;
    }

    /// Where everything of this run is said and shown.
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// Everything has ended: prints the outcome and gives the exit code.
    pub fn finish(&mut self, end: End, remaining: usize) -> u8 {
        self.status.workers.ready = 0;
        for group in &mut self.status.workers.groups {
            group.ready = 0;
        }
        let remaining = u32::try_from(remaining).unwrap_or(u32::MAX);
        self.status.teardown = Some(Teardown {
            pods_remaining: remaining,
            completed_at: (remaining == 0).then(clock::now),
        });
        let gone = if remaining == 0 {
            ConditionStatus::True
        } else {
            ConditionStatus::False
        };
        self.set_condition(
            condition::TORN_DOWN,
            gone,
            reason::ALL_GONE,
            &format!("{remaining} processes are left"),
        );
        self.write_status_file();
        if end != End::Abandoned {
            self.print_outcome(remaining);
        }
        self.exit_code
    }

    fn write_status_file(&self) {
        let Some(file) = &self.arguments.status_file else {
            return;
        };
        let text = serde_json::to_string_pretty(&self.status).expect("a status is JSON");
        if let Err(error) = std::fs::write(file, text + "\n") {
            self.console
                .say(&format!("cannot write {}: {error}", file.display()));
        }
    }
}

/// The scheduler's log first, then those of workers.
fn ends_of_logs(directory: &Path) -> Vec<(String, String)> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .collect();
    files.sort();
    files.sort_by_key(|file| {
        file.file_stem()
            .is_none_or(|stem| stem != Role::Scheduler.as_str())
    });
    let name = |file: &Path| {
        file.file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    files
        .iter()
        .map(|file| (name(file), logs::tail_of(file)))
        .collect()
}
