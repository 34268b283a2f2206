//! The helper that runs what users send to the scheduler itself: functions, plugins, preloaded modules.
//!
//! It starts when first needed, or with the scheduler where modules are preloaded. Requests run concurrently and may ask
//! the scheduler back; plugins are told to a new process when the old one has died.

use super::channel::{self, Kind, Message, MessageReader};
use super::error::GraphError;
use super::link::{exit_text, greet};
use super::process::{self, Mode, Process};
use super::{Shared, closing, malformed, reply, request};
use bytes::Bytes;
use protocol::{Value, encode_value};
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::io::AsyncWriteExt;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

/// What user code asks of the scheduler: an operation with its arguments, as a client would.
pub trait Backdoor: Send + Sync + 'static {
    fn ask(
        &self,
        op: String,
        arguments: Value,
    ) -> Pin<Box<dyn Future<Output = Result<Value, GraphError>> + Send>>;
}

type Waiting = oneshot::Sender<Result<Vec<Bytes>, GraphError>>;

/// Keeps the process and what must survive it.
#[derive(Default)]
pub struct Functions {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    backdoor: Option<Arc<dyn Backdoor>>,
    /// To the running process.
    outgoing: Option<mpsc::UnboundedSender<Vec<Bytes>>>,
    waiting: HashMap<u32, Waiting>,
    last_request: u32,
    plugins: Vec<Plugin>,
}

/// A scheduler plugin as it was registered.
#[derive(Clone)]
struct Plugin {
    name: String,
    header: Bytes,
    pickle: Bytes,
    /// What it overrides.
    hooks: Vec<String>,
}

impl Functions {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_backdoor(&self, backdoor: Arc<dyn Backdoor>) {
        self.lock().backdoor = Some(backdoor);
    }

    pub fn is_running(&self) -> bool {
        self.lock().outgoing.is_some()
    }

    /// Starts the process now, so that preloaded modules run.
    pub fn start(&self, shared: &Arc<Shared>) {
        let mut state = self.lock();
        if state.outgoing.is_none() {
            state.start(shared);
        }
    }

    /// Whether some plugin overrides this hook.
    pub fn has_hook(&self, hook: &str) -> bool {
        self.lock()
            .plugins
            .iter()
            .any(|plugin| plugin.hooks.iter().any(|own| own == hook))
    }

    /// Sends a request to the process, starting it where there is none.
    pub async fn ask(
        &self,
        shared: &Arc<Shared>,
        kind: Kind,
        header: &Bytes,
        blobs: &[Bytes],
    ) -> Result<Value, GraphError> {
        let (sender, answer) = oneshot::channel();
        {
            let mut state = self.lock();
            if state.outgoing.is_none() {
                state.start(shared);
            }
            state.send(kind, header, blobs, sender);
        }
        let frames = answer.await.unwrap_or_else(|_| Err(closing()))?;
        reply::value(frames).map_err(|error| malformed(&error))
    }

    pub async fn add_plugin(
        &self,
        shared: &Arc<Shared>,
        pickle: Bytes,
        name: &Value,
        idempotent: bool,
    ) -> Result<(), GraphError> {
        let header = request::header(&[("name", name), ("idempotent", &Value::from(idempotent))]);
        let added = self
            .ask(
                shared,
                Kind::PluginAdd,
                &header,
                std::slice::from_ref(&pickle),
            )
            .await?;
        let Some(name) = added.get("name").and_then(Value::as_str) else {
            return Ok(());
        };
        let hooks = added
            .get("hooks")
            .and_then(Value::as_array)
            .unwrap_or_default();
        let hooks = hooks
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect();
        let mut state = self.lock();
        state.plugins.retain(|plugin| plugin.name != name);
        state.plugins.push(Plugin {
            name: name.to_owned(),
            header,
            pickle,
            hooks,
        });
        Ok(())
    }

    pub async fn remove_plugin(&self, shared: &Arc<Shared>, name: &str) -> Result<(), GraphError> {
        let header = request::header(&[("name", &Value::from(name))]);
        self.ask(shared, Kind::PluginRemove, &header, &[]).await?;
        self.lock().plugins.retain(|plugin| plugin.name != name);
        Ok(())
    }

    fn finish(&self, request: u32, result: Result<Vec<Bytes>, GraphError>) {
        if let Some(waiting) = self.lock().waiting.remove(&request) {
            // Whoever asked may have gone.
            let _unwanted = waiting.send(result);
        }
    }

    fn send_answer(&self, request: u32, header: &Bytes, blobs: &[Bytes]) {
        if let Some(outgoing) = &self.lock().outgoing {
            let _gone = outgoing.send(channel::encode(Kind::Answer, request, header, blobs));
        }
    }

    /// The process has ended: what it was asked fails.
    fn lost(&self, reason: &str) {
        let waiting = {
            let mut state = self.lock();
            state.outgoing = None;
            std::mem::take(&mut state.waiting)
        };
        for sender in waiting.into_values() {
            let _unwanted = sender.send(Err(GraphError::runtime(reason)));
        }
    }
}

impl State {
    fn send(&mut self, kind: Kind, header: &Bytes, blobs: &[Bytes], sender: Waiting) {
        self.last_request = self.last_request.wrapping_add(1);
        let request = self.last_request;
        self.waiting.insert(request, sender);
        if let Some(outgoing) = &self.outgoing {
            // A process that is gone is noticed by its reader, which answers what waits.
            let _gone = outgoing.send(channel::encode(kind, request, header, blobs));
        }
    }

    /// Requests queue up until the process says hello; first come the plugins it must have.
    fn start(&mut self, shared: &Arc<Shared>) {
        let (outgoing, pieces) = mpsc::unbounded_channel();
        self.outgoing = Some(outgoing);
        for plugin in self.plugins.clone() {
            let (nobody, _) = oneshot::channel();
            self.send(
                Kind::PluginAdd,
                &plugin.header,
                std::slice::from_ref(&plugin.pickle),
                nobody,
            );
        }
        tokio::spawn(live(shared.clone(), pieces));
    }
}

/// The life of one process.
async fn live(shared: Arc<Shared>, pieces: mpsc::UnboundedReceiver<Vec<Bytes>>) {
    let reason = match run(&shared, pieces).await {
        Ok(reason) | Err(reason) => reason,
    };
    if !*shared.closed.borrow() {
        tracing::warn!(
            reason,
            "the helper for functions and plugins of the scheduler is gone"
        );
    }
    shared.functions.lost(&reason);
}

async fn run(
    shared: &Arc<Shared>,
    pieces: mpsc::UnboundedReceiver<Vec<Bytes>>,
) -> Result<String, String> {
    let python = shared.options.python.display();
    let Process {
        mut child,
        stream,
        lifeline,
        introduction,
    } = process::start(&shared.options, Mode::Functions)
        .map_err(|error| format!("cannot start the Python interpreter {python}: {error}"))?;
    let (read, mut write) = stream.into_split();
    let mut reader = MessageReader::new(read);
    greet(&mut reader, &mut write, &introduction).await?;
    let writer = tokio::spawn(write_out(write, pieces));
    let mut closed = shared.closed.subscribe();
    let ended = tokio::select! {
        ended = serve(shared, &mut reader) => ended,
        _ = closed.wait_for(|closed| *closed) => "the scheduler is closing".to_owned(),
    };
    drop(lifeline);
    writer.abort();
    Ok(format!(
        "The Python process that runs functions and plugins in the scheduler ended{}: {ended}",
        exit_text(&mut child).await
    ))
}

async fn write_out(mut write: OwnedWriteHalf, mut pieces: mpsc::UnboundedReceiver<Vec<Bytes>>) {
    while let Some(message) = pieces.recv().await {
        for piece in message {
            if write.write_all(&piece).await.is_err() {
                return;
            }
        }
    }
}

/// Reads until the process ends; says why.
async fn serve(shared: &Arc<Shared>, reader: &mut MessageReader<OwnedReadHalf>) -> String {
    loop {
        let message = match reader.next().await {
            Ok(Some(message)) => message,
            Ok(None) => return "it closed its channel".to_owned(),
            Err(error) => return error.to_string(),
        };
        match message.kind {
            Kind::Value => shared.functions.finish(message.request, Ok(message.blobs)),
            Kind::Error => {
                let error = reply::error(&message).unwrap_or_else(|error| malformed(&error));
                shared.functions.finish(message.request, Err(error));
            }
            Kind::Query => drop(tokio::spawn(answer(shared.clone(), message))),
            other => return format!("it sent a message of kind {other:?}"),
        }
    }
}

/// Answers a question of user code.
async fn answer(shared: Arc<Shared>, message: Message) {
    let request = message.request;
    let result = match question(message) {
        Ok((op, arguments)) if op == "upload_file_to_helpers" => upload(&shared, &arguments).await,
        Ok((op, arguments)) => {
            let backdoor = shared.functions.lock().backdoor.clone();
            match backdoor {
                Some(backdoor) => backdoor.ask(op, arguments).await,
                None => Err(closing()),
            }
        }
        Err(error) => Err(error),
    };
    let (ok, blobs) = match result {
        Ok(value) => (true, encode_value(&value).0),
        Err(error) => (false, vec![error.exception]),
    };
    shared.functions.send_answer(
        request,
        &request::header(&[("ok", &Value::from(ok))]),
        &blobs,
    );
}

fn question(message: Message) -> Result<(String, Value), GraphError> {
    let header = reply::header(&message.header).map_err(|error| malformed(&error))?;
    let op = header
        .get("op")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    let arguments = reply::value(message.blobs).map_err(|error| malformed(&error))?;
    Ok((op, arguments))
}

async fn upload(shared: &Arc<Shared>, arguments: &Value) -> Result<Value, GraphError> {
    let field = |name| {
        arguments
            .get(name)
            .ok_or_else(|| malformed(&"an upload without file"))
    };
    let name = field("filename")?.as_str().unwrap_or_default();
    let data = field("data")?.as_bytes().cloned().unwrap_or_default();
    let load = field("load")?.is_truthy();
    shared
        .upload_file(name, Bytes::copy_from_slice(&data), load)
        .await?;
    Ok(Value::Nil)
}
