//! Graphs of clients become tasks here: simple ones in `direct`, all others in graph helpers, which are Python processes
//! beside the scheduler that open what only Python can open.
//!
//! Owns their life, their bounds and the channel to them; knows nothing of the core's state. Callers see async
//! functions; that a helper crashed, hung or ate its memory is an error of the one request it was working on, and what
//! waited behind it is sent to another helper. The first helper starts with the scheduler, others when first needed.

mod annotations;
mod bounds;
mod channel;
mod direct;
mod error;
mod functions;
mod job;
mod launch;
mod link;
pub mod places;
mod pool;
mod process;
mod reply;
mod request;
#[cfg(test)]
mod tests;

pub use bounds::default_memory_limit_bytes;
pub use error::GraphError;
pub use functions::Backdoor;
pub use launch::Environment;

use bytes::Bytes;
use channel::Kind;
use direct::{Direct, Refusal};
use error::{closing, malformed};
use functions::Functions;
use job::{Answer, Job};
use pool::{Pool, SlotState, Step};
use protocol::messages::UpdateGraph;
use protocol::{Value, encode_value};
use reply::Opened;
use scheduler_core::Graph;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, oneshot, watch};

/// How helpers are started and what bounds them.
#[derive(Clone, Debug)]
pub struct HelperOptions {
    /// The interpreter: it has the users' dask and distributed.
    pub python: PathBuf,
    /// More environment than the scheduler's own.
    pub environment: Vec<(String, String)>,
    /// How many helpers there may be for graphs.
    pub count: usize,
    /// How long a helper may take to import dask and distributed, and what is preloaded.
    pub start_limit: Duration,
    /// How long one graph may take.
    pub time_limit: Duration,
    /// How long a function or plugin may keep the functions' only thread while another request waits.
    pub hold_limit: Duration,
    /// How much memory one helper may have; `None` is no limit.
    pub memory_limit_bytes: Option<u64>,
    /// Why helpers with these `versions` may not open graphs, if so.
    pub check_release: fn(&Value) -> Option<String>,
    /// Where uploaded files land. It is ours: it goes with the helpers.
    pub local_directory: PathBuf,
    pub preload: Vec<String>,
    pub preload_argv: Vec<String>,
}

impl Default for HelperOptions {
    fn default() -> Self {
        Self {
            python: PathBuf::from("python3"),
            environment: Vec::new(),
            count: 2,
            start_limit: Duration::from_secs(120),
            time_limit: Duration::from_secs(600),
            hold_limit: Duration::from_secs(30),
            memory_limit_bytes: default_memory_limit_bytes(),
            check_release: |_| None,
            local_directory: std::env::temp_dir()
                .join(format!("daskjob-scheduler-{}", std::process::id())),
            preload: Vec::new(),
            preload_argv: Vec::new(),
        }
    }
}

/// The pool of helpers. Dropping the last handle ends them all.
pub struct GraphHelpers {
    shared: Arc<Shared>,
}

/// What the handle and the tasks of the helpers share.
struct Shared {
    options: HelperOptions,
    pool: Mutex<State>,
    environment: watch::Sender<Option<Result<Arc<Environment>, GraphError>>>,
    /// Tells the tasks of the helpers that the handle is gone.
    closed: watch::Sender<bool>,
    functions: Functions,
    direct: Arc<Direct>,
}

#[derive(Default)]
struct State {
    pool: Pool,
    links: Vec<Option<Link>>,
    /// What every helper is told when it starts.
    uploads: Vec<Upload>,
    process_ids: Vec<Option<u32>>,
}

/// The way to a helper that is ready.
struct Link {
    outgoing: mpsc::UnboundedSender<Vec<Bytes>>,
    /// The first running request has changed: its time starts now.
    head_changed: Arc<Notify>,
}

#[derive(Clone)]
struct Upload {
    header: Bytes,
    data: Bytes,
}

impl GraphHelpers {
    /// Starts the first helper; does not wait for it.
    pub fn start(options: HelperOptions) -> Arc<Self> {
        let count = options.count.max(1);
        let state = State {
            pool: Pool::new(count),
            links: (0..count).map(|_| None).collect(),
            uploads: Vec::new(),
            process_ids: vec![None; count],
        };
        let shared = Arc::new(Shared {
            options,
            pool: Mutex::new(state),
            environment: watch::Sender::new(None),
            closed: watch::Sender::new(false),
            functions: Functions::default(),
            direct: Arc::default(),
        });
        shared.lock().pool.slots[0].state = SlotState::Starting;
        link::start(shared.clone(), 0);
        Arc::new(Self { shared })
    }

    /// Opens a client's graph. A graph that needs no helper may be there before one that was sent earlier.
    ///
    /// Left to the caller: `fifo_timeout_ns`, `code`, `span_metadata`.
    pub async fn materialize(
        &self,
        client: &str,
        update: &UpdateGraph,
    ) -> Result<Graph, GraphError> {
        let opened = match self.shared.direct.open(update).await {
            Ok(opened) => opened,
            Err(refusal) => {
                let opened = self.shared.open_in_helper(client, update).await?;
                if let Refusal::Unproven(demands) = refusal {
                    self.shared.direct.learn(demands);
                }
                opened
            }
        };
        let graph = request::with_priorities(opened, update).await?;
        Ok(request::complete(graph, update))
    }

    /// What the interpreter of the helpers has installed. Waits for the first helper.
    pub async fn environment(&self) -> Result<Arc<Environment>, GraphError> {
        let mut environment = self.shared.environment.subscribe();
        self.shared.keep_one_warm();
        loop {
            if let Some(found) = environment.borrow_and_update().clone() {
                return found;
            }
            if environment.changed().await.is_err() {
                return Err(closing());
            }
        }
    }

    /// `versions` of more packages than `environment` has.
    pub async fn versions(&self, packages: &Value) -> Result<Value, GraphError> {
        let header = request::header(&[("packages", packages)]);
        self.value(Kind::Versions, header, Vec::new()).await
    }

    /// Opens a pickle; what a message cannot hold stays pickled inside.
    pub async fn load_pickle(
        &self,
        pickle: Bytes,
        buffers: Vec<Bytes>,
    ) -> Result<Value, GraphError> {
        let blobs = std::iter::once(pickle).chain(buffers).collect();
        self.value(Kind::Load, request::header(&[]), blobs).await
    }

    /// Whom functions and plugins ask; from now on modules to preload run.
    pub fn answer_questions(&self, backdoor: Arc<dyn Backdoor>) {
        self.shared.functions.set_backdoor(backdoor);
        if !self.shared.options.preload.is_empty() {
            self.shared.functions.start(&self.shared);
        }
    }

    /// Runs a pickled function in the scheduler's Python; the result is the reply to `run_function`.
    pub async fn run_function(
        &self,
        function: Bytes,
        args: Option<Bytes>,
        kwargs: Option<Bytes>,
        wait: bool,
    ) -> Result<Value, GraphError> {
        let given = [
            ("function", Some(function)),
            ("args", args),
            ("kwargs", kwargs),
        ];
        let given = given
            .into_iter()
            .filter_map(|(name, pickle)| Some((name, pickle?)));
        let (names, blobs): (Vec<_>, Vec<_>) = given.unzip();
        let names = Value::Array(names.into_iter().map(Value::text).collect());
        let header = request::header(&[("fields", &names), ("wait", &Value::from(wait))]);
        self.shared
            .functions
            .ask(&self.shared, Kind::Run, &header, &blobs)
            .await
    }

    /// `{address: label}` where workers for which a pickled function of a `WorkerState` is equal have equal labels.
    pub async fn group_workers(&self, function: Bytes) -> Result<Value, GraphError> {
        let header = request::header(&[]);
        self.shared
            .functions
            .ask(&self.shared, Kind::GroupWorkers, &header, &[function])
            .await
    }

    /// Registers a pickled scheduler plugin and runs its `start`. `name` may be nil: the plugin knows.
    pub async fn register_scheduler_plugin(
        &self,
        plugin: Bytes,
        name: &Value,
        idempotent: bool,
    ) -> Result<(), GraphError> {
        self.shared
            .functions
            .add_plugin(&self.shared, plugin, name, idempotent)
            .await
    }

    pub async fn unregister_scheduler_plugin(&self, name: &str) -> Result<(), GraphError> {
        self.shared
            .functions
            .remove_plugin(&self.shared, name)
            .await
    }

    /// Tells plugins what has happened; costs nothing while none wants to know. `arguments` go by name.
    pub fn hook(&self, name: &'static str, takes_scheduler: bool, arguments: Value) {
        if !self.shared.functions.has_hook(name) {
            return;
        }
        let shared = self.shared.clone();
        let header = request::header(&[
            ("name", &Value::from(name)),
            ("scheduler", &Value::from(takes_scheduler)),
        ]);
        tokio::spawn(async move {
            let blobs = encode_value(&arguments).0;
            if let Err(error) = shared
                .functions
                .ask(&shared, Kind::Hook, &header, &blobs)
                .await
            {
                tracing::warn!(%error, hook = name, "plugins could not be told");
            }
        });
    }

    /// Runs `before_close` and `close` of the plugins, where there are any.
    pub async fn close_plugins(&self) {
        if self.shared.functions.is_running() {
            let header = request::header(&[]);
            if let Err(error) = self
                .shared
                .functions
                .ask(&self.shared, Kind::Close, &header, &[])
                .await
            {
                tracing::warn!(%error, "plugins could not be closed");
            }
        }
    }

    /// Ends all helpers and removes what was uploaded.
    pub fn end(&self) {
        self.shared.closed.send_replace(true);
        // It exists only where a file was uploaded.
        let _never_made = std::fs::remove_dir_all(&self.shared.options.local_directory);
    }

    pub fn has_ended(&self) -> bool {
        *self.shared.closed.borrow()
    }

    /// Process ids of the helpers that live.
    #[cfg(test)]
    pub fn process_ids(&self) -> Vec<u32> {
        link::process_ids(&self.shared)
    }

    async fn value(
        &self,
        kind: Kind,
        header: Bytes,
        blobs: Vec<Bytes>,
    ) -> Result<Value, GraphError> {
        let frames = self.shared.ask(kind, header, blobs).await?;
        reply::value(frames).map_err(|error| malformed(&error))
    }
}

impl Drop for GraphHelpers {
    fn drop(&mut self) {
        self.end();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while holding it would be our bug and must not spread to every later graph.
        self.pool
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Answers of one client come in the order of its calls' first polls.
    async fn open_in_helper(
        self: &Arc<Self>,
        client: &str,
        update: &UpdateGraph,
    ) -> Result<Opened, GraphError> {
        let (header, blobs) = request::materialize(update)?;
        let (sender, answer) = oneshot::channel();
        self.submit(Job {
            kind: Kind::Materialize,
            header,
            blobs,
            client: Some(Arc::from(client)),
            answer: Answer::Graph(sender),
            lost_unread: 0,
        });
        answer.await.unwrap_or_else(|_| Err(closing()))
    }

    async fn ask(
        self: &Arc<Self>,
        kind: Kind,
        header: Bytes,
        blobs: Vec<Bytes>,
    ) -> Result<Vec<Bytes>, GraphError> {
        let (sender, answer) = oneshot::channel();
        self.submit(Job {
            kind,
            header,
            blobs,
            client: None,
            answer: Answer::Frames(sender),
            lost_unread: 0,
        });
        answer.await.unwrap_or_else(|_| Err(closing()))
    }

    fn submit(self: &Arc<Self>, job: Job) {
        self.lock().pool.waiting.push_back(job);
        self.advance();
    }

    /// Gives requests to helpers until none can be given.
    fn advance(self: &Arc<Self>) {
        let mut state = self.lock();
        state.pool.forget_abandoned();
        while let Some(step) = state.pool.next_step() {
            match step {
                Step::Start(slot) => link::start(self.clone(), slot),
                Step::Send(slot) => state.send_last(slot),
            }
        }
    }

    /// After a helper has died: the next request should not have to wait for an interpreter.
    fn keep_one_warm(self: &Arc<Self>) {
        let mut state = self.lock();
        let alive = state.pool.count(SlotState::Ready) + state.pool.count(SlotState::Starting);
        if alive == 0 && state.pool.slots[0].state == SlotState::Absent {
            state.pool.slots[0].state = SlotState::Starting;
            if self
                .environment
                .borrow()
                .as_ref()
                .is_some_and(Result::is_err)
            {
                self.environment.send_replace(None);
            }
            link::start(self.clone(), 0);
        }
    }

    async fn upload_file(
        self: &Arc<Self>,
        name: &str,
        data: Bytes,
        load: bool,
    ) -> Result<(), GraphError> {
        let directory = Value::from(self.options.local_directory.to_string_lossy().as_ref());
        let header = request::header(&[
            ("directory", &directory),
            ("name", &Value::from(name)),
            ("load", &Value::from(load)),
        ]);
        let upload = Upload { header, data };
        let answers = self.upload(&upload);
        if answers.is_empty() {
            self.ask(
                Kind::Upload,
                upload.header.clone(),
                vec![upload.data.clone()],
            )
            .await?;
        }
        for answer in answers {
            answer.await.unwrap_or_else(|_| Err(closing()))?;
        }
        self.lock().uploads.push(upload);
        self.direct.forget();
        Ok(())
    }

    /// Tells the helpers that are there.
    fn upload(
        self: &Arc<Self>,
        upload: &Upload,
    ) -> Vec<oneshot::Receiver<Result<Vec<Bytes>, GraphError>>> {
        let mut state = self.lock();
        let ready = (0..state.links.len())
            .filter(|slot| state.links[*slot].is_some())
            .collect::<Vec<_>>();
        let mut answers = Vec::new();
        for slot in ready {
            let (sender, answer) = oneshot::channel();
            state.pool.slots[slot]
                .running
                .push_back(upload.job(Answer::Frames(sender)));
            state.send_last(slot);
            answers.push(answer);
        }
        answers
    }
}

impl Upload {
    fn job(&self, answer: Answer) -> Job {
        Job {
            kind: Kind::Upload,
            header: self.header.clone(),
            blobs: vec![self.data.clone()],
            client: None,
            answer,
            lost_unread: 0,
        }
    }
}

impl State {
    /// Writes the newest running request of a slot to its helper.
    fn send_last(&mut self, slot: usize) {
        let running = &self.pool.slots[slot].running;
        if let (Some(link), Some(job)) = (&self.links[slot], running.back()) {
            // A helper that is gone is noticed by its reader, which puts the request back.
            let _gone = link
                .outgoing
                .send(channel::encode(job.kind, 0, &job.header, &job.blobs));
            if running.len() == 1 {
                link.head_changed.notify_one();
            }
        }
    }
}
