//! Brings one helper process to the point where it takes requests: started, introduced and greeted, all in bounded time.
//!
//! Both kinds of helper begin here. Whatever goes wrong is a text for people with the remedy in it, and no process is
//! left behind.

use super::HelperOptions;
use super::channel::{Kind, Message, MessageReader};
use super::process::{self, Mode, Process};
use super::reply::{self, ReplyError};
use bytes::Bytes;
use protocol::Value;
use std::io;
use tokio::io::AsyncWriteExt;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Child;
use tokio::sync::{mpsc, watch};

/// A helper that has said hello.
pub struct Launched {
    pub child: Child,
    pub reader: MessageReader<OwnedReadHalf>,
    pub write: OwnedWriteHalf,
    /// Dropping it kills the process.
    pub lifeline: io::PipeWriter,
    pub environment: Environment,
}

/// What the helpers' interpreter has.
#[derive(Clone, Debug)]
pub struct Environment {
    pub executable: String,
    pub distributed: String,
    /// As `distributed.versions.get_versions()`: host and packages.
    pub versions: Value,
    /// Its Dask makes of a map, and pickles as a task, what `direct` does.
    pub makes_known_tasks: bool,
}

/// Starts a helper and waits for its hello, for no longer than `options.start_limit` or until `closed` is true. The process
/// id is told as soon as there is one.
pub async fn launch(
    options: &HelperOptions,
    mode: Mode,
    mut closed: watch::Receiver<bool>,
    tell_process: impl FnOnce(Option<u32>),
) -> Result<Launched, String> {
    let python = options.python.display();
    let process = process::start(options, mode)
        .map_err(|error| format!("cannot start the Python interpreter {python}: {error}"))?;
    let Process {
        mut child,
        stream,
        lifeline,
        introduction,
    } = process;
    tell_process(child.id());
    let (read, mut write) = stream.into_split();
    let mut reader = MessageReader::new(read);
    // Giving up drops the child, which kills it.
    let greeting = tokio::select! {
        greeting = tokio::time::timeout(options.start_limit, greet(&mut reader, &mut write, &introduction)) => greeting,
        _ = closed.wait_for(|closed| *closed) => return Err("the scheduler is closing".to_owned()),
    };
    let environment = match greeting {
        Ok(Ok(environment)) => environment,
        Ok(Err(text)) => return Err(format!("{text}{}", process::exit_text(&mut child).await)),
        Err(_) => return Err(too_slow(options, mode)),
    };
    if let Some(refusal) = (options.check_release)(&environment.versions) {
        let executable = &environment.executable;
        return Err(format!(
            "the Python interpreter {executable} cannot {}: {refusal}",
            mode.purpose()
        ));
    }
    Ok(Launched {
        child,
        reader,
        write,
        lifeline,
        environment,
    })
}

fn too_slow(options: &HelperOptions, mode: Mode) -> String {
    format!(
        "the Python interpreter {} cannot {}: it did not import dask and distributed, or a preloaded module, within {:?}",
        options.python.display(),
        mode.purpose(),
        options.start_limit
    )
}

async fn greet(
    reader: &mut MessageReader<OwnedReadHalf>,
    write: &mut OwnedWriteHalf,
    introduction: &Bytes,
) -> Result<Environment, String> {
    let lost = |error: io::Error| format!("the graph helper ended while it started: {error}");
    write.write_all(introduction).await.map_err(lost)?;
    let message = reader.next().await.map_err(lost)?;
    let message = message.ok_or_else(|| "the graph helper ended while it started".to_owned())?;
    match message.kind {
        Kind::Hello => Environment::read(message)
            .map_err(|error| format!("the graph helper's greeting is unreadable: {error}")),
        _ => Err(start_refusal(&message)),
    }
}

/// Why the interpreter cannot be a helper, with the remedy.
fn start_refusal(message: &Message) -> String {
    let said = message
        .blobs
        .first()
        .map(|blob| serde_json::from_slice::<serde_json::Value>(blob));
    let said = said.and_then(Result::ok).unwrap_or_default();
    let text = |field: &str| {
        said.get(field)
            .and_then(|value| value.as_str())
            .unwrap_or("unknown")
            .to_owned()
    };
    format!(
        "the Python interpreter {} cannot open graphs: {}. It needs the dask and distributed of the clients; \
         choose another interpreter with --python or DASKJOB_PYTHON",
        text("executable"),
        text("error")
    )
}

impl Environment {
    fn read(message: Message) -> Result<Self, ReplyError> {
        let hello = reply::value(message.blobs)?.detached();
        let text = |field: &'static str| {
            let text = hello.get(field).and_then(Value::as_str).map(str::to_owned);
            text.ok_or(ReplyError::Missing(field, 0))
        };
        Ok(Self {
            executable: text("executable")?,
            distributed: text("distributed")?,
            versions: hello.get("versions").cloned().unwrap_or_default(),
            makes_known_tasks: hello.get("makes_known_tasks").is_some_and(Value::is_truthy),
        })
    }
}

/// Writes what is to be said to a helper until nobody says anything any more, or it is gone: its reader notices and says
/// what becomes of the requests.
pub async fn write_out(mut write: OwnedWriteHalf, mut pieces: mpsc::UnboundedReceiver<Vec<Bytes>>) {
    while let Some(message) = pieces.recv().await {
        for piece in message {
            if write.write_all(&piece).await.is_err() {
                return;
            }
        }
    }
}
