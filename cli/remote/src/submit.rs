//! `daskjob submit`: a manifest becomes a job on a cluster, and with `--wait` one sees it through.

pub mod files;
pub mod manifest;

use crate::connect::{Connection, ConnectionArgs, FIELD_MANAGER};
use crate::follow::{Wait, Waited};
use crate::job::Job;
use crate::problem::{Kind, Problem};
use crate::{outcome, remedy};
use clap::{Args, ValueEnum};
use contract::status::reason;
use kube::api::{DynamicObject, PostParams};
use manifest::Manifest;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use terminal::{Console, clock, read_text};

/// Send a job to a cluster.
///
/// The manifest is checked first, as by `daskjob validate`. Without --wait the name of the job is printed and that is all;
/// with it the job is followed to its end: what happens to it on standard error, what its program writes on standard
/// output. Ctrl-C stops following and leaves the job running; a second one within three seconds cancels it.
///
/// Exit code with --wait: that of the job's program, as `daskjob run` has it; 2 when the manifest is refused, 70 when the
/// cluster failed it, 124 when a deadline passed, 130 when it was cancelled or left by Ctrl-C.
#[derive(Debug, Args)]
pub struct SubmitArgs {
    #[command(flatten)]
    pub source: Source,

    /// Follow the job until it has ended
    #[arg(short, long)]
    pub wait: bool,

    /// Let the cluster check the job without making it
    #[arg(long, conflicts_with = "wait")]
    pub dry_run: bool,

    /// With --wait, the first Ctrl-C cancels the job
    #[arg(long, requires = "wait")]
    pub cancel_on_interrupt: bool,

    /// With --wait, do not show what the program writes
    #[arg(long, requires = "wait")]
    pub no_logs: bool,

    /// Show no progress
    #[arg(long)]
    pub no_progress: bool,

    /// Shape of the answer on standard output: text is the name of the job; json is one line, the job's status after
    /// --wait, otherwise name, namespace and uid
    #[arg(short, long, value_enum, default_value_t = Output::Text, value_name = "FORMAT")]
    pub output: Output,

    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// What a job is made of.
#[derive(Debug, Args)]
pub struct Source {
    /// The manifest: YAML with one DaskJob; `-` is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,

    /// Put all files of this directory into spec.job.files: text, 16 files and 900 KiB at most
    #[arg(long, value_name = "DIRECTORY")]
    pub with_files: Option<PathBuf>,

    /// Name of the job, instead of the manifest's
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
}

/// Shape of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Text,
    /// For programs
    Json,
}

pub async fn run(arguments: &SubmitArgs) -> Result<u8, Problem> {
    let (manifest, connection) = open(&arguments.source, &arguments.connection).await?;
    let console = Arc::new(Console::new(arguments.wait && !arguments.no_progress));
    if !manifest.other_kinds.is_empty() {
        console.say(&format!(
            "note: {} in the same file is not sent; kubectl apply -f sends everything",
            manifest.other_kinds.join(", ")
        ));
    }
    let job = create(&connection, &manifest, arguments.dry_run).await?;
    if arguments.dry_run {
        console.say(&format!(
            "the cluster would take {} in namespace {}",
            job.name(),
            connection.namespace
        ));
        return Ok(0);
    }
    if arguments.wait {
        return wait(arguments, &connection, console, &job).await;
    }
    announce(arguments, &console, &job);
    Ok(0)
}

/// A manifest that was read, filled and checked, and the way to where it is to go.
pub async fn open(
    source: &Source,
    arguments: &ConnectionArgs,
) -> Result<(Manifest, Connection), Problem> {
    let manifest = read(source)?;
    let mut connection = Connection::open(arguments).await?;
    choose_namespace(&mut connection, &manifest)?;
    Ok((manifest, connection))
}

fn read(source: &Source) -> Result<Manifest, Problem> {
    let file = source.file.as_path();
    let text = read_text(file).map_err(|said| Problem::refused(said, ""))?;
    let directory = source.with_files.as_deref();
    let files = directory
        .map(|directory| files::read(directory, file))
        .transpose()?;
    let place = match file == Path::new("-") {
        true => "standard input".to_owned(),
        false => file.display().to_string(),
    };
    manifest::prepare(&place, &text, source.name.as_deref(), files)
}

/// The manifest's namespace wins over the context's; a flag that says otherwise is a mistake.
fn choose_namespace(connection: &mut Connection, manifest: &Manifest) -> Result<(), Problem> {
    match manifest.namespace() {
        Some(written) if written != connection.namespace => {
            if connection.namespace_is_asked {
                return Err(Problem::refused(
                    format!(
                        "the manifest says namespace {written}, the command line {}",
                        connection.namespace
                    ),
                    "leave one of the two out",
                ));
            }
            connection.namespace = written.to_owned();
            Ok(())
        }
        Some(_) | None => Ok(()),
    }
}

/// Sends the job; with `dry_run` the cluster only says what it would do.
pub async fn create(
    connection: &Connection,
    manifest: &Manifest,
    dry_run: bool,
) -> Result<Job, Problem> {
    let object: DynamicObject =
        serde_json::from_value(manifest.object.clone()).map_err(|error| {
            Problem::refused(
                format!("metadata: {error}"),
                "labels and annotations are maps of text to text: write numbers and true in quotes",
            )
        })?;
    let parameters = PostParams {
        dry_run,
        field_manager: Some(FIELD_MANAGER.to_owned()),
    };
    let name = manifest.name().unwrap_or_default();
    let created = connection.jobs().create(&parameters, &object).await;
    created
        .map(Job::from)
        .map_err(|error| connection.call("create", name).problem(error))
}

fn announce(arguments: &SubmitArgs, console: &Console, job: &Job) {
    match arguments.output {
        Output::Json => {
            let answer =
                json!({"name": job.name(), "namespace": job.namespace(), "uid": job.uid()});
            console.print(&format!("{answer}\n"));
        }
        Output::Text => console.print(&format!("{}\n", job.name())),
    }
    console.say(&format!(
        "{} is submitted to namespace {}; daskjob logs -f {} follows it",
        job.name(),
        job.namespace(),
        job.name()
    ));
}

async fn wait(
    arguments: &SubmitArgs,
    connection: &Connection,
    console: Arc<Console>,
    job: &Job,
) -> Result<u8, Problem> {
    console.say(&format!(
        "{} is submitted to namespace {}",
        job.name(),
        job.namespace()
    ));
    let wait = Wait {
        connection,
        console: console.clone(),
        name: job.name(),
        uid: job.uid(),
        cancel_on_interrupt: arguments.cancel_on_interrupt,
        show_log: !arguments.no_logs,
    };
    match wait.run().await? {
        Waited::Finished(job) => {
            tell_end(arguments, &console, &job);
            Ok(outcome::exit_code_of(&job.status))
        }
        Waited::Deleted => Err(Problem::new(
            Kind::Failed,
            format!("{} was deleted before its end was seen", job.name()),
            "",
        )),
        Waited::Left(code) => Ok(code),
    }
}

fn tell_end(arguments: &SubmitArgs, console: &Console, job: &Job) {
    console.say(&outcome::sentence(job, clock::now_seconds()));
    let failure = job
        .status
        .failure
        .as_ref()
        .filter(|_| outcome::exit_code_of(&job.status) != 0);
    if let Some(failure) = failure {
        let shown = failure.role == contract::Role::Runner && !arguments.no_logs;
        if let (false, Some(log)) = (shown, &failure.log) {
            let whose = failure.pod.as_deref().unwrap_or(failure.role.as_str());
            console.say(&format!(
                "---- end of the log of {whose} ----\n{}",
                log.trim_end()
            ));
        }
        // Where to read what was just shown is no remedy.
        let is_told = shown
            && failure.reason == reason::NON_ZERO_EXIT
            && !matches!(failure.exit_code, Some(126 | 127));
        if let Some(remedy) = remedy::of_failure(failure, job.name()).filter(|_| !is_told) {
            console.say(&format!("    remedy: {remedy}"));
        }
    }
    if arguments.output == Output::Json {
        let status = serde_json::to_string(&job.status).expect("a status is JSON");
        console.print(&format!("{status}\n"));
    }
}
