//! `daskjob logs`: what containers of a job wrote, of those that are there; of what is gone, the end that the job's
//! status keeps.

mod lines;
mod selection;
mod stream;

pub use stream::{End, Show, Source, State, state_of};

use crate::connect::{Connection, ConnectionArgs};
use crate::job::{self, Job};
use crate::problem::{Call, Problem};
use clap::{Args, ValueEnum};
use contract::Role;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use selection::{Found, Wanted, prefix, select};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use terminal::Console;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// How often to look for new pods while following.
const LOOK_EVERY: Duration = Duration::from_millis(1500);

/// Show what a job wrote: its program, unless told otherwise. Lines of several containers are marked with whose they are.
///
/// Pods of earlier attempts are deleted when the next begins; of a failed one the end of its log stays in the job's
/// status, which is shown where the pod is gone.
#[derive(Debug, Args)]
pub struct LogsArgs {
    /// The job
    #[arg(value_name = "NAME", value_parser = job::name_argument)]
    pub name: String,

    /// Whose log [default: runner, which is the job's program; worker with --group or --worker]
    #[arg(short, long, value_enum, value_name = "ROLE", conflicts_with = "all")]
    pub role: Option<RoleArg>,

    /// Of all roles together
    #[arg(long)]
    pub all: bool,

    /// Only workers of this group
    #[arg(short, long, value_name = "NAME")]
    pub group: Option<String>,

    /// Only the worker of this number, as its pod's name ends
    #[arg(short, long, value_name = "NUMBER")]
    pub worker: Option<u32>,

    /// Of this attempt, counted from 1 [default: the present one]
    #[arg(long, value_name = "NUMBER")]
    pub attempt: Option<u32>,

    /// Of the attempt before the present one
    #[arg(short, long, conflicts_with = "attempt")]
    pub previous: bool,

    /// Go on as it is written, through attempts, until the job has ended
    #[arg(short, long)]
    pub follow: bool,

    /// Only so many lines from the end
    #[arg(long, value_name = "LINES")]
    pub tail: Option<u32>,

    /// Each line with the time it was written
    #[arg(long)]
    pub timestamps: bool,

    /// The most containers that are read at once
    #[arg(long, default_value_t = 50, value_name = "COUNT")]
    pub max_containers: usize,

    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// A role on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RoleArg {
    Runner,
    Scheduler,
    Worker,
}

impl From<RoleArg> for Role {
    fn from(argument: RoleArg) -> Self {
        match argument {
            RoleArg::Runner => Role::Runner,
            RoleArg::Scheduler => Role::Scheduler,
            RoleArg::Worker => Role::Worker,
        }
    }
}

pub async fn run(arguments: &LogsArgs) -> Result<u8, Problem> {
    let mut wanted = wanted(arguments);
    wanted.check()?;
    let connection = Connection::open(&arguments.connection).await?;
    let job = connection.job(&arguments.name).await?;
    let follows_attempts = arguments.follow && arguments.attempt.is_none() && !arguments.previous;
    wanted.attempt = match arguments.previous {
        true => Some(previous_of(&job)?),
        false if follows_attempts => None,
        false => Some(arguments.attempt.unwrap_or(job.status.attempt)),
    };
    let reader = Reader {
        pods: Api::namespaced(connection.client.clone(), &connection.namespace),
        connection,
        wanted,
        arguments,
        console: Arc::new(Console::new(false)),
    };
    match arguments.follow {
        true => reader.follow(job).await,
        false => reader.show(&job).await,
    }
}

fn wanted(arguments: &LogsArgs) -> Wanted {
    let of_workers = arguments.group.is_some() || arguments.worker.is_some();
    let role = match (arguments.all, arguments.role) {
        (true, _) => None,
        (false, Some(role)) => Some(role.into()),
        (false, None) if of_workers => Some(Role::Worker),
        (false, None) => Some(Role::Runner),
    };
    Wanted {
        role,
        group: arguments.group.clone(),
        worker: arguments.worker,
        attempt: None,
    }
}

fn previous_of(job: &Job) -> Result<u32, Problem> {
    match job.status.attempt {
        0 | 1 => Err(Problem::refused(
            format!(
                "{} has no earlier attempt: this is number {}",
                job.name(),
                job.status.attempt
            ),
            "leave --previous out",
        )),
        number => Ok(number - 1),
    }
}

struct Reader<'a> {
    pods: Api<Pod>,
    connection: Connection,
    wanted: Wanted,
    arguments: &'a LogsArgs,
    console: Arc<Console>,
}

impl Reader<'_> {
    /// The pods that are meant and are there.
    async fn find(&self, job: &Job) -> Result<Vec<Found>, Problem> {
        let parameters =
            ListParams::default().labels(&plan::objects::labels::selector_of_job(job.uid()));
        let call = Call {
            verb: "list",
            resource: "pods",
            namespace: &self.connection.namespace,
            name: "",
        };
        let list = self
            .pods
            .list(&parameters)
            .await
            .map_err(|error| call.problem(error))?;
        Ok(select(&list.items, &self.wanted))
    }

    fn check_number(&self, found: &[Found]) -> Result<(), Problem> {
        let most = self.arguments.max_containers;
        match found.len() > most {
            false => Ok(()),
            true => Err(Problem::refused(
                format!("{} containers are meant, more than {most}", found.len()),
                "choose with --role, --group or --worker, or raise --max-containers",
            )),
        }
    }

    fn source(&self, found: &Found) -> Source {
        Source {
            pods: self.pods.clone(),
            namespace: self.connection.namespace.clone(),
            pod: found.pod.clone(),
            container: found.identity.role.as_str().to_owned(),
        }
    }

    fn shown(&self, found: &Found, alone: bool) -> Show {
        Show {
            console: self.console.clone(),
            prefix: match alone {
                true => String::new(),
                false => prefix(&found.identity, self.wanted.attempt.is_none()),
            },
            timestamps: self.arguments.timestamps,
            tail_lines: self.arguments.tail.map(i64::from),
        }
    }

    /// One after the other, as far as they are written.
    async fn show(&self, job: &Job) -> Result<u8, Problem> {
        let found = self.find(job).await?;
        self.check_number(&found)?;
        if found.is_empty() {
            return self.show_kept(job);
        }
        for each in &found {
            match self
                .source(each)
                .show(&self.shown(each, found.len() == 1))
                .await?
            {
                End::Shown => {}
                End::NoReader => break,
                End::NotBegun(why) => self
                    .console
                    .say(&format!("{} has not begun: {why}", each.pod)),
                End::NoPod => self.console.say(&format!("{} is gone", each.pod)),
            }
        }
        Ok(0)
    }

    /// What the status keeps of a pod that is gone, or why there is nothing.
    fn show_kept(&self, job: &Job) -> Result<u8, Problem> {
        let kept = job
            .status
            .failure
            .as_ref()
            .filter(|failure| self.wanted.role.is_none_or(|role| role == failure.role));
        if let Some((failure, log)) =
            kept.and_then(|failure| Some((failure, failure.log.as_ref()?)))
        {
            self.console.say(&format!(
                "the pod is gone; this is the end of the log of {} that the job's status keeps",
                failure.pod.as_deref().unwrap_or(failure.role.as_str())
            ));
            self.console.print(&format!("{}\n", log.trim_end()));
            return Ok(0);
        }
        let whose = self.wanted.title();
        let attempt = self.wanted.attempt.unwrap_or(job.status.attempt);
        let remedy = match (job.is_finished(), job.status.attempt) {
            (true, _) => {
                "the pods of a finished job are deleted, but for the runner's; a log service of your cluster may still have them"
            }
            (false, 0) => {
                "it has not begun: daskjob describe says what it waits for; -f waits for it"
            }
            (false, _) => "daskjob describe lists its pods; -f waits for those to come",
        };
        Err(Problem::refused(
            format!(
                "{} ({}) has no {whose}pod of attempt {attempt}",
                job.name(),
                job.state()
            ),
            remedy,
        ))
    }

    /// All at once, new ones too, until the job has ended and everything of it was shown.
    async fn follow(&self, mut job: Job) -> Result<u8, Problem> {
        let alone = self.wanted.role.is_some_and(|role| role != Role::Worker)
            || self.wanted.worker.is_some();
        let (over, is_over) = watch::channel(false);
        let mut known: HashSet<String> = HashSet::new();
        let mut streams: JoinSet<Result<End, Problem>> = JoinSet::new();
        loop {
            let found = self.find(&job).await?;
            self.check_number(&found)?;
            for each in found {
                if known.insert(each.pod.clone()) {
                    let (source, show) = (self.source(&each), self.shown(&each, alone));
                    let is_over = is_over.clone();
                    streams.spawn(async move { source.follow(&show, is_over).await });
                }
            }
            if job.is_finished() && known.is_empty() {
                return self.show_kept(&job);
            }
            over.send_replace(job.is_finished());
            if self.finished_all(&mut streams, job.is_finished()).await? {
                return Ok(0);
            }
            job = match self.connection.jobs().get_opt(job.name()).await {
                Ok(Some(object)) => Job::from(object),
                Ok(None) => return Ok(0),
                // It is asked again soon.
                Err(_) => job,
            };
        }
    }

    /// Waits a while; true when nothing more is to come.
    async fn finished_all(
        &self,
        streams: &mut JoinSet<Result<End, Problem>>,
        job_is_finished: bool,
    ) -> Result<bool, Problem> {
        let pause = tokio::time::sleep(LOOK_EVERY);
        tokio::pin!(pause);
        loop {
            if job_is_finished && streams.is_empty() {
                return Ok(true);
            }
            tokio::select! {
                () = &mut pause => return Ok(false),
                Some(ended) = streams.join_next() => match ended {
                    Ok(Ok(End::NoReader)) => return Ok(true),
                    Ok(Ok(_)) => {}
                    Ok(Err(problem)) => self.console.say(&problem.text()),
                    Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
                },
            }
        }
    }
}
