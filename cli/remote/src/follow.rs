//! Waiting for a job: watches it, tells what happens, hands its program's output on, and ends when the job has.
//!
//! Invariant: waiting changes nothing of the job, unless the person says so by interrupting twice or beforehand.

mod story;

use crate::connect::{Connection, FIELD_MANAGER};
use crate::job::Job;
use crate::logs::{End, Show, Source};
use crate::problem::{Problem, chain};
use crate::{change, list};
use contract::{Role, exit_code};
use futures::{Stream, StreamExt, pin_mut};
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::DynamicObject;
use kube::runtime::{WatchStreamExt, watcher};
use std::sync::Arc;
use std::time::{Duration, Instant};
use story::{Story, progress};
use terminal::{Console, clock};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How long an interrupted wait listens for a second interrupt.
const SECOND_INTERRUPT_WITHIN: Duration = Duration::from_secs(3);
/// How long the end of the log may take once the job has ended.
const LOG_ENDS_WITHIN: Duration = Duration::from_secs(15);
/// A job that nobody looked at for so long has no operator.
const OPERATOR_LOOKS_WITHIN: Duration = Duration::from_secs(15);

/// How a wait ended.
pub enum Waited {
    /// The job has: as it is now.
    Finished(Box<Job>),
    Deleted,
    /// The person left; the job goes on. The exit code.
    Left(u8),
}

/// A change as a watch of one object tells it.
type Change = Result<Option<DynamicObject>, watcher::Error>;

/// The job as it is, and each change after.
pub fn changes(connection: &Connection, name: &str) -> impl Stream<Item = Change> + Send + use<> {
    watcher::watch_object(connection.jobs(), name).default_backoff()
}

/// The job, once it is so; `None` when it is deleted before.
pub async fn until(
    connection: &Connection,
    name: &str,
    so: impl Fn(&Job) -> bool,
) -> Result<Option<Job>, Problem> {
    let changes = changes(connection, name);
    pin_mut!(changes);
    while let Some(change) = changes.next().await {
        match change {
            Ok(None) => break,
            Ok(Some(object)) => {
                let job = Job::from(object);
                if so(&job) {
                    return Ok(Some(job));
                }
            }
            Err(error) => list::refuse_hopeless(error, connection.call("watch", name))?,
        }
    }
    Ok(None)
}

/// One wait.
pub struct Wait<'a> {
    pub connection: &'a Connection,
    pub console: Arc<Console>,
    pub name: &'a str,
    pub uid: &'a str,
    /// The first interrupt cancels the job.
    pub cancel_on_interrupt: bool,
    pub show_log: bool,
}

/// Whether a log's end is worth waiting for whoever reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    TakesItsTime,
    /// The job goes on, and interrupts must be heard.
    MustNotHoldUp,
}

/// The log of the runner of an attempt, on its way.
struct RunnerLog {
    attempt: u32,
    over: watch::Sender<bool>,
    task: JoinHandle<Result<End, Problem>>,
}

impl Wait<'_> {
    pub async fn run(&self) -> Result<Waited, Problem> {
        let changes = changes(self.connection, self.name);
        let warnings = self.warnings();
        pin_mut!(changes, warnings);
        let mut interrupts = Interrupts::new();
        let mut story = Story::default();
        let mut log: Option<RunnerLog> = None;
        let begun = clock::monotonic();
        let mut observed = false;
        let mut unobserved_told = false;
        let waited = loop {
            tokio::select! {
                change = changes.next() => match change {
                    None | Some(Ok(None)) => break Waited::Deleted,
                    Some(Err(error)) => self.broken(error)?,
                    Some(Ok(Some(object))) => {
                        let job = Job::from(object);
                        if job.uid() != self.uid {
                            break Waited::Deleted;
                        }
                        observed |= job.status.observed_generation.is_some();
                        self.attend(&job, &mut story, &mut log).await;
                        if job.is_finished() {
                            break Waited::Finished(Box::new(job));
                        }
                    }
                },
                Some((reason, message)) = warnings.next() => {
                    if let Some(said) = story.warning(&reason, &message) {
                        self.console.say(&said);
                    }
                },
                code = interrupts.next() => {
                    if let Some(code) = self.interrupted(code, &mut interrupts).await? {
                        break Waited::Left(code);
                    }
                },
                () = tokio::time::sleep_until(deadline(begun)), if !observed && !unobserved_told => {
                    unobserved_told = true;
                    self.console.say(NO_OPERATOR);
                }
            }
        };
        if let Some(log) = log {
            match &waited {
                Waited::Left(_) => log.task.abort(),
                Waited::Finished(_) | Waited::Deleted => tokio::select! {
                    () = self.end_of(log, Reader::TakesItsTime) => {}
                    // Somebody does not want to wait for the reader.
                    _ = interrupts.next() => {}
                },
            }
        }
        self.console.clear();
        Ok(waited)
    }

    /// Tells what is new and follows the log of the present attempt.
    async fn attend(&self, job: &Job, story: &mut Story, log: &mut Option<RunnerLog>) {
        for sentence in story.tell(job) {
            self.console.say(&sentence);
        }
        if !job.is_finished() {
            self.console.progress(&progress(job), clock::monotonic());
        }
        let attempt = job.status.attempt;
        if !self.show_log || job.is_interactive() || attempt == 0 {
            return;
        }
        if log.as_ref().is_none_or(|log| log.attempt < attempt) {
            if let Some(before) = log.take() {
                self.end_of(before, Reader::MustNotHoldUp).await;
            }
            *log = Some(self.begin_log(attempt));
        }
    }

    fn begin_log(&self, attempt: u32) -> RunnerLog {
        let (over, is_over) = watch::channel(false);
        let source = Source {
            pods: Api::namespaced(self.connection.client.clone(), &self.connection.namespace),
            namespace: self.connection.namespace.clone(),
            pod: plan::names::runner(self.name, attempt),
            container: Role::Runner.as_str().to_owned(),
        };
        let show = Show {
            console: self.console.clone(),
            prefix: String::new(),
            timestamps: false,
            tail_lines: None,
        };
        let task = tokio::spawn(async move { source.follow(&show, is_over).await });
        RunnerLog {
            attempt,
            over,
            task,
        }
    }

    /// The attempt is over: what is left of its log.
    async fn end_of(&self, log: RunnerLog, reader: Reader) {
        log.over.send_replace(true);
        let mut task = log.task;
        let ended = loop {
            let ended = tokio::time::timeout(LOG_ENDS_WITHIN, &mut task).await;
            let reader_is_slow = reader == Reader::TakesItsTime && self.console.is_behind();
            if ended.is_ok() || !reader_is_slow {
                break ended;
            }
        };
        match ended {
            Ok(Ok(Ok(_))) => {}
            Ok(Ok(Err(problem))) => self
                .console
                .say(&format!("the log cannot be shown: {}", problem.text())),
            Ok(Err(_)) => self
                .console
                .say("the log cannot be shown: its reader ended"),
            Err(_) => {
                task.abort();
                self.console
                    .say("the end of the log does not come; daskjob logs asks for it again");
            }
        }
    }

    /// Warnings about the job: reason and message. They explain; that they cannot be had is no reason to end.
    fn warnings(&self) -> impl Stream<Item = (String, String)> + Send + use<> {
        let events: Api<Event> =
            Api::namespaced(self.connection.client.clone(), &self.connection.namespace);
        let config = watcher::Config::default()
            .fields(&format!("involvedObject.uid={},type=Warning", self.uid));
        watcher(events, config)
            .default_backoff()
            .filter_map(|event| async move {
                let (watcher::Event::Apply(event) | watcher::Event::InitApply(event)) =
                    event.ok()?
                else {
                    return None;
                };
                Some((
                    event.reason.unwrap_or_default(),
                    event.message.unwrap_or_default(),
                ))
            })
    }

    /// Says why a watch broke; it is taken up again by itself unless there is no hope.
    fn broken(&self, error: watcher::Error) -> Result<(), Problem> {
        let said = chain(&error);
        list::refuse_hopeless(error, self.connection.call("watch", self.name))?;
        self.console
            .say(&format!("the connection broke and is tried again: {said}"));
        Ok(())
    }

    /// The person pressed Ctrl-C, or somebody ends this program. The exit code if this is the end of waiting.
    async fn interrupted(
        &self,
        code: u8,
        interrupts: &mut Interrupts,
    ) -> Result<Option<u8>, Problem> {
        let name = self.name;
        if code != INTERRUPTED {
            return Ok(Some(code));
        }
        if !self.cancel_on_interrupt {
            self.console.say(&format!(
                "{name} goes on without this terminal; Ctrl-C once more within {} s cancels it",
                SECOND_INTERRUPT_WITHIN.as_secs()
            ));
            let again = tokio::time::timeout(SECOND_INTERRUPT_WITHIN, interrupts.next()).await;
            if again.is_err() {
                self.console.say(&format!(
                    "left running: daskjob logs -f {name} shows it again, daskjob cancel {name} ends it"
                ));
                return Ok(Some(code));
            }
        }
        change::request_cancel(
            self.connection,
            name,
            &format!("by Ctrl-C in {FIELD_MANAGER} submit"),
        )
        .await?;
        self.console.say(&format!(
            "{name} is being cancelled; Ctrl-C leaves it to that"
        ));
        Ok(None)
    }
}

const NO_OPERATOR: &str = "no operator has looked at the job yet: is daskjob-operator running, and does it watch this namespace?";

fn deadline(begun: Instant) -> tokio::time::Instant {
    tokio::time::Instant::from_std(begun + OPERATOR_LOOKS_WITHIN)
}

const INTERRUPTED: u8 = 130;

/// Ctrl-C and SIGTERM.
struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupts {
    fn new() -> Self {
        Interrupts {
            interrupt: signal(SignalKind::interrupt()).expect("this signal can be listened for"),
            terminate: signal(SignalKind::terminate()).expect("this signal can be listened for"),
        }
    }

    /// The exit code the next one stands for.
    async fn next(&mut self) -> u8 {
        tokio::select! {
            _ = self.interrupt.recv() => INTERRUPTED,
            _ = self.terminate.recv() => exit_code::of_signal(15),
        }
    }
}
