//! The one task that owns the core: inputs come over one channel, effects leave in one batch per recipient.
//!
//! Nobody else touches the core and there is no lock. The loop never waits for a peer: what it has to say goes into
//! outboxes that are encoded and written by the connections' own tasks.

use crate::clock;
use crate::encode::Weight;
use protocol::Key;
use protocol::messages::{FromClient, FromWorker};
use scheduler_core::{
    Action, ClientId, Effects, Graph, Refusal, Registration, Removal, Scheduler, TaskError, Time,
    ToClient, ToWorker, WorkerId,
};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::{mpsc, oneshot};
use tracing::warn;
use transport::Outbox;

/// Everything that can happen to the core.
pub enum Input {
    WorkerMessages(WorkerId, Vec<FromWorker>),
    WorkerGone(WorkerId),
    ClientMessages(ClientId, Vec<FromClient>),
    ClientGone(ClientId),
    Graph(ClientId, Box<Graph>),
    GraphFailed(ClientId, Vec<Key>, Box<TaskError>),
    AddWorker(Box<AddWorker>),
    AddClient(Box<AddClient>),
    /// A question or a rare command of an RPC: runs on the core, answers through what it captured.
    Call(Box<Call>),
}

type Call = dyn FnOnce(&mut Scheduler, Time, &mut Effects) + Send;

pub struct AddWorker {
    pub registration: Registration,
    pub outbox: Outbox<ToWorker>,
    pub answer: oneshot::Sender<Result<WorkerId, Refusal>>,
}

pub struct AddClient {
    pub id: String,
    pub versions: protocol::Value,
    pub outbox: Outbox<ToClient>,
    pub answer: oneshot::Sender<ClientId>,
}

/// The core has stopped: the scheduler is closing.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the scheduler is closing")]
pub struct Stopped;

/// How the rest of the program speaks to the core.
#[derive(Clone)]
pub struct CoreHandle {
    inputs: mpsc::Sender<Input>,
    graphs_under_way: Arc<AtomicU32>,
}

/// A graph that has arrived and is not yet open: the scheduler is not idle meanwhile.
pub struct GraphUnderWay(Arc<AtomicU32>);

impl Drop for GraphUnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl CoreHandle {
    /// To be held until the graph has been handed to the core or given up.
    pub fn graph_under_way(&self) -> GraphUnderWay {
        self.graphs_under_way.fetch_add(1, Ordering::Relaxed);
        GraphUnderWay(Arc::clone(&self.graphs_under_way))
    }

    /// Hands over one input, waiting while the core is behind.
    pub async fn send(&self, input: Input) -> Result<(), Stopped> {
        self.inputs.send(input).await.map_err(|_| Stopped)
    }

    /// Runs `question` on the core and returns its answer; its effects leave afterwards.
    pub async fn call<R: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Scheduler, Time, &mut Effects) -> R + Send + 'static,
    ) -> Result<R, Stopped> {
        let (answer, result) = oneshot::channel();
        let call = Box::new(move |core: &mut Scheduler, now, effects: &mut Effects| {
            // Whoever asked may have gone away meanwhile; then nobody wants the answer.
            let _unwanted = answer.send(question(core, now, effects));
        });
        self.send(Input::Call(call)).await?;
        result.await.map_err(|_| Stopped)
    }
}

/// How many inputs may wait before those who send them have to.
const INPUT_QUEUE: usize = 4096;
/// How many inputs are handled before their effects leave, so that nobody waits long for the first of them.
const INPUTS_A_PASS: usize = 64;

/// The loop and what it owns.
pub struct CoreLoop {
    core: Scheduler,
    inputs: mpsc::Receiver<Input>,
    graphs_under_way: Arc<AtomicU32>,
    effects: Effects,
    workers: HashMap<WorkerId, Outbox<ToWorker>>,
    clients: HashMap<ClientId, Outbox<ToClient>>,
    actions: mpsc::UnboundedSender<Action>,
}

impl CoreLoop {
    /// The loop, the handle to it, and what it asks the program to do.
    pub fn new(core: Scheduler) -> (Self, CoreHandle, mpsc::UnboundedReceiver<Action>) {
        let (sender, inputs) = mpsc::channel(INPUT_QUEUE);
        let (actions, asked) = mpsc::unbounded_channel();
        let graphs_under_way = Arc::new(AtomicU32::new(0));
        let handle = CoreHandle {
            inputs: sender,
            graphs_under_way: Arc::clone(&graphs_under_way),
        };
        let core_loop = Self {
            core,
            inputs,
            graphs_under_way,
            effects: Effects::default(),
            workers: HashMap::new(),
            clients: HashMap::new(),
            actions,
        };
        (core_loop, handle, asked)
    }

    /// Runs until every handle is gone or the task is dropped.
    pub async fn run(mut self) {
        let mut batch = Vec::with_capacity(INPUTS_A_PASS);
        loop {
            let wait = self.core.next_tick().map(clock::until);
            tokio::select! {
                biased;
                count = self.inputs.recv_many(&mut batch, INPUTS_A_PASS) => {
                    if count == 0 {
                        return;
                    }
                    let under_way = self.graphs_under_way.load(Ordering::Relaxed);
                    self.core.set_graphs_under_way(under_way);
                    for input in batch.drain(..) {
                        self.handle(input, clock::now());
                    }
                }
                () = sleep(wait) => {}
            }
            let now = clock::now();
            if self.core.next_tick().is_some_and(|at| at <= now) {
                self.core.tick(now, &mut self.effects);
            }
            self.perform();
        }
    }

    fn handle(&mut self, input: Input, now: Time) {
        let effects = &mut self.effects;
        match input {
            Input::WorkerMessages(worker, messages) => {
                for message in messages {
                    self.core.worker_message(worker, message, now, effects);
                }
            }
            Input::WorkerGone(worker) => {
                self.workers.remove(&worker);
                self.core
                    .remove_worker(worker, Removal::connection_lost(), now, effects);
            }
            Input::ClientMessages(client, messages) => {
                for message in messages {
                    self.core.client_message(client, message, now, effects);
                }
            }
            Input::ClientGone(client) => {
                self.clients.remove(&client);
                self.core.remove_client(client, now, effects);
            }
            Input::Graph(client, graph) => self.core.update_graph(client, *graph, now, effects),
            Input::GraphFailed(client, keys, error) => {
                self.core.graph_failed(client, keys, *error, now, effects);
            }
            Input::AddWorker(add) => self.add_worker(*add, now),
            Input::AddClient(add) => self.add_client(*add, now),
            Input::Call(call) => call(&mut self.core, now, effects),
        }
    }

    fn add_worker(&mut self, add: AddWorker, now: Time) {
        let result = self
            .core
            .add_worker(add.registration, now, &mut self.effects);
        if let Ok(worker) = &result {
            self.workers.insert(*worker, add.outbox);
        }
        // The connection may be gone already; its task then never learns the id, so the loop undoes it.
        if let Err(Ok(worker)) = add.answer.send(result) {
            self.handle(Input::WorkerGone(worker), now);
        }
    }

    fn add_client(&mut self, add: AddClient, now: Time) {
        let client = self
            .core
            .add_client(&add.id, add.versions, now, &mut self.effects);
        self.clients.insert(client, add.outbox);
        if add.answer.send(client).is_err() {
            self.handle(Input::ClientGone(client), now);
        }
    }

    /// Lets the collected effects leave, one batch per recipient.
    fn perform(&mut self) {
        for (worker, messages) in self.effects.drain_workers() {
            if let Some(outbox) = self.workers.get(&worker) {
                leave(outbox, messages);
            }
        }
        for (client, messages) in self.effects.drain_clients() {
            if let Some(outbox) = self.clients.get(&client) {
                leave(outbox, messages);
            }
        }
        for action in self.effects.drain_actions() {
            act(action, &mut self.workers, &mut self.clients, &self.actions);
        }
    }
}

fn act(
    action: Action,
    workers: &mut HashMap<WorkerId, Outbox<ToWorker>>,
    clients: &mut HashMap<ClientId, Outbox<ToClient>>,
    actions: &mpsc::UnboundedSender<Action>,
) {
    match action {
        Action::DropWorkerConnection(worker) => {
            if let Some(outbox) = workers.remove(&worker) {
                outbox.close();
            }
        }
        Action::DropBrokenWorker { worker, why } => {
            warn!(reason = %why, "worker broke the protocol");
            if let Some(outbox) = workers.remove(&worker) {
                outbox.abandon();
            }
        }
        Action::DropBrokenClient { client, why } => {
            warn!(reason = %why, "client broke the protocol");
            if let Some(outbox) = clients.remove(&client) {
                outbox.abandon();
            }
        }
        // Nobody listens any more while the program closes.
        other => drop(actions.send(other)),
    }
}

/// Leaves a batch for a peer. One that is gone, or does not read, is reported by its own connection.
fn leave<M: Weight>(outbox: &Outbox<M>, messages: Vec<M>) {
    let weighed = messages.into_iter().map(|message| {
        let weight = message.weight();
        (message, weight)
    });
    let _reported_elsewhere = outbox.extend(weighed);
}

/// Sleeps for `wait`, or for ever when there is nothing to wait for.
async fn sleep(wait: Option<std::time::Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}
