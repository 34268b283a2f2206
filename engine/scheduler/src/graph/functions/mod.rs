//! The helper that runs what users send to the scheduler itself: functions, plugins, preloaded modules.
//!
//! It starts when first needed, or with the scheduler where modules are preloaded. Requests run concurrently and may ask
//! the scheduler back. When the process dies, what it had begun with fails; a new one is told the plugins and gets the
//! requests that waited.

mod life;

use super::channel::{self, Kind};
use super::error::GraphError;
use super::{Shared, closing, malformed, reply, request};
use bytes::Bytes;
use protocol::Value;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, mpsc, oneshot};

/// What user code asks of the scheduler: an operation with its arguments, as a client would.
pub trait Backdoor: Send + Sync + 'static {
    fn ask(
        &self,
        op: String,
        arguments: Value,
    ) -> Pin<Box<dyn Future<Output = Result<Value, GraphError>> + Send>>;
}

/// Processes that may die without having begun with a request, before it is its fault all the same.
const UNREAD_LOSSES: u8 = 2;

type Waiting = oneshot::Sender<Result<Vec<Bytes>, GraphError>>;

/// Keeps the process and what must survive it.
#[derive(Default)]
pub struct Functions {
    state: Mutex<State>,
    /// A request was sent, so that its wait may be watched.
    asked: Notify,
    /// Preloaded modules are set up: from now on requests are begun with at once.
    opened: Notify,
}

#[derive(Default)]
struct State {
    backdoor: Option<Arc<dyn Backdoor>>,
    /// To the running process.
    outgoing: Option<mpsc::UnboundedSender<Vec<Bytes>>>,
    is_open: bool,
    waiting: BTreeMap<u32, Request>,
    last_request: u32,
    plugins: Vec<Plugin>,
}

/// One request, kept whole until it is answered so that another process can be asked.
struct Request {
    kind: Kind,
    header: Bytes,
    blobs: Vec<Bytes>,
    /// `None` for what every new process is told.
    sender: Option<Waiting>,
    /// The process has begun with it.
    is_taken: bool,
    lost_unread: u8,
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
            state.send(kind, header, blobs, Some(sender));
        }
        self.asked.notify_one();
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
        let answered = self.lock().waiting.remove(&request);
        if let Some(sender) = answered.and_then(|request| request.sender) {
            // Whoever asked may have gone.
            let _unwanted = sender.send(result);
        }
    }

    fn send_answer(&self, request: u32, header: &Bytes, blobs: &[Bytes]) {
        self.lock()
            .write(channel::encode(Kind::Answer, request, header, blobs));
    }

    /// The oldest request that the process has not begun with, and whether it is past its preloaded modules.
    fn oldest_unread(&self) -> Option<(u32, bool)> {
        let state = self.lock();
        let unread = state.waiting.iter().find(|(_, request)| !request.is_taken);
        unread.map(|(number, _)| (*number, state.is_open))
    }

    fn taken(&self, request: u32) {
        let mut state = self.lock();
        match state.waiting.get_mut(&request) {
            Some(request) => request.is_taken = true,
            None => {
                state.is_open = true;
                self.opened.notify_one();
            }
        }
    }

    /// The process has ended, or never worked: what it had begun with fails, the rest is for the next one.
    fn lost(&self, shared: &Arc<Shared>, reason: &str, has_worked: bool) {
        let is_over = !has_worked || *shared.closed.borrow();
        let mut failed = Vec::new();
        {
            let mut state = self.lock();
            state.outgoing = None;
            for (number, mut request) in std::mem::take(&mut state.waiting) {
                request.lost_unread += 1;
                if is_over || request.is_taken || request.lost_unread > UNREAD_LOSSES {
                    failed.extend(request.sender);
                } else if request.sender.is_some() {
                    state.waiting.insert(number, request);
                }
            }
            if !state.waiting.is_empty() {
                state.start(shared);
            }
        }
        for sender in failed {
            // Whoever asked may have gone.
            let _unwanted = sender.send(Err(GraphError::runtime(reason)));
        }
    }
}

impl State {
    fn send(&mut self, kind: Kind, header: &Bytes, blobs: &[Bytes], sender: Option<Waiting>) {
        // Number 0 is no request's.
        self.last_request = self.last_request.checked_add(1).unwrap_or(1);
        let number = self.last_request;
        self.write(channel::encode(kind, number, header, blobs));
        let request = Request {
            kind,
            header: header.clone(),
            blobs: blobs.to_vec(),
            sender,
            is_taken: false,
            lost_unread: 0,
        };
        self.waiting.insert(number, request);
    }

    fn write(&self, message: Vec<Bytes>) {
        if let Some(outgoing) = &self.outgoing {
            // A process that is gone is noticed by its reader, which says what becomes of what waits.
            let _gone = outgoing.send(message);
        }
    }

    /// Requests queue up until the process says hello; first come the plugins it must have, then what the one before left.
    fn start(&mut self, shared: &Arc<Shared>) {
        let (outgoing, pieces) = mpsc::unbounded_channel();
        self.outgoing = Some(outgoing);
        self.is_open = false;
        let left = std::mem::take(&mut self.waiting);
        for plugin in self.plugins.clone() {
            let pickle = std::slice::from_ref(&plugin.pickle);
            self.send(Kind::PluginAdd, &plugin.header, pickle, None);
        }
        for (number, request) in left {
            self.write(channel::encode(
                request.kind,
                number,
                &request.header,
                &request.blobs,
            ));
            self.waiting.insert(number, request);
        }
        tokio::spawn(life::live(shared.clone(), pieces));
    }
}
