//! The one task that owns the core: inputs come over one channel, effects leave in one batch per recipient.
//!
//! Nobody else touches the core, the values kept in this process or the runs under way. The loop never waits: messages for
//! the scheduler go into an outbox, those for the executor into its line, everything slow is a task of its own that comes
//! back with another input.

use crate::clock;
use crate::executor::line::Line;
use crate::executor::message::FromExecutor;
use crate::life::{End, Life};
use crate::requests::Requests;
use crate::values::Values;
use protocol::messages::{ComputeTask, FromScheduler, FromWorker};
use protocol::{Key, KeyBuildHasher, Payload, encode_value};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, warn};
use transport::Outbox;
use worker_core::{Effects, Event, ExecutionId, Source, ValueId, Worker};

/// Everything that can happen to the machine.
pub enum Input {
    Scheduler(Vec<FromScheduler>),
    Executor(Vec<FromExecutor>),
    Core(Event),
    /// Values that have come, and the event that says so.
    Delivered {
        source: Source,
        values: Vec<(Key, Payload)>,
        event: Event,
    },
    /// A value has been read from disk for a run that waits for it.
    Unspilled {
        value: ValueId,
        content: std::io::Result<Payload>,
    },
    /// A question or a rare command: runs on the machine, answers through what it captured.
    Call(Box<dyn FnOnce(&mut Machine)>),
}

/// How the rest of the program speaks to the machine.
#[derive(Clone)]
pub struct Handle {
    inputs: mpsc::UnboundedSender<Input>,
}

/// The machine has stopped: this life of the worker is over.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the worker is closing")]
pub struct Stopped;

impl Handle {
    pub fn new() -> (Self, mpsc::UnboundedReceiver<Input>) {
        let (inputs, receiver) = mpsc::unbounded_channel();
        (Self { inputs }, receiver)
    }

    /// Leaves an input; it is lost if the machine has stopped.
    pub fn send(&self, input: Input) {
        let _stopped = self.inputs.send(input);
    }

    pub fn tell(&self, event: Event) {
        self.send(Input::Core(event));
    }

    /// Runs `question` on the machine and returns its answer; its effects leave afterwards.
    pub async fn call<R: 'static>(
        &self,
        question: impl FnOnce(&mut Machine) -> R + 'static,
    ) -> Result<R, Stopped> {
        let (answer, result) = oneshot::channel();
        self.send(Input::Call(Box::new(move |machine| {
            let _unwanted = answer.send(question(machine));
        })));
        result.await.map_err(|_| Stopped)
    }
}

/// A run the executor has, or will have once its inputs are there.
pub struct UnderWay {
    pub order: Arc<ComputeTask>,
    pub expected_seconds: Option<f64>,
    /// Inputs that are still being read from disk.
    pub awaited: Vec<ValueId>,
}

/// The core and all that its effects need.
pub struct Machine {
    pub core: Worker,
    pub life: Rc<Life>,
    pub line: Line,
    pub values: Values,
    pub requests: Requests,
    pub under_way: HashMap<ExecutionId, UnderWay>,
    /// Runs that wait for the disk, in order.
    pub held_back: Vec<ExecutionId>,
    /// Values to be written that are being read from disk just now.
    pub spill_later: Vec<(Key, ValueId)>,
    /// What has come and is being handed to the core.
    pub delivery: Option<(Source, HashMap<Key, Payload, KeyBuildHasher>)>,
    pub transitions: Vec<(Key, &'static str, &'static str)>,
    pub events: Vec<Event>,
    scheduler: Outbox<FromWorker>,
    effects: Effects,
}

/// How many inputs are handled before their effects leave, so that nobody waits long for the first of them.
const INPUTS_A_PASS: usize = 64;

impl Machine {
    pub fn new(core: Worker, life: Rc<Life>, line: Line, scheduler: Outbox<FromWorker>) -> Self {
        Self {
            core,
            values: Values::new(life.local_directory.join("storage")),
            life,
            line,
            requests: Requests::default(),
            under_way: HashMap::new(),
            held_back: Vec::new(),
            spill_later: Vec::new(),
            delivery: None,
            transitions: Vec::new(),
            events: Vec::new(),
            scheduler,
            effects: Effects::default(),
        }
    }

    /// Handles inputs until nobody can send any more.
    pub async fn run(mut self, mut inputs: mpsc::UnboundedReceiver<Input>) {
        let mut batch = Vec::with_capacity(INPUTS_A_PASS);
        while inputs.recv_many(&mut batch, INPUTS_A_PASS).await > 0 {
            for input in batch.drain(..) {
                self.take(input);
            }
            self.settle();
            self.line.flush();
        }
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::Scheduler(messages) => {
                for message in messages {
                    self.ordered(message);
                }
            }
            Input::Executor(messages) => {
                for message in messages {
                    self.heard(message);
                }
            }
            Input::Core(event) => self.events.push(event),
            Input::Delivered {
                source,
                values,
                event,
            } => {
                self.settle();
                self.delivery = Some((source, values.into_iter().collect()));
                self.events.push(event);
                // What is not stored by the effects of this batch is dropped.
                self.settle();
                self.delivery = None;
            }
            Input::Unspilled { value, content } => self.unspilled(value, content),
            Input::Call(question) => {
                self.settle();
                question(self);
            }
        }
    }

    /// Hands gathered events to the core and does what it says.
    pub fn settle(&mut self) {
        let mut effects = std::mem::take(&mut self.effects);
        // What cannot be done at once is an event again.
        while !self.events.is_empty() {
            let events = std::mem::take(&mut self.events);
            self.core.handle(clock::now(), events, &mut effects);
            self.tell_scheduler(effects.take_messages());
            for action in effects.drain_actions() {
                self.act(action);
            }
        }
        if !self.transitions.is_empty() {
            let changes = std::mem::take(&mut self.transitions);
            self.line.say(|line| line.transition(&changes));
        }
        self.effects = effects;
    }

    /// Messages on the scheduler's stream, in order.
    pub fn tell_scheduler(&mut self, messages: Vec<FromWorker>) {
        if messages.is_empty() {
            return;
        }
        let weighed = messages.into_iter().map(|message| {
            let weight = weight(&message);
            (message, weight)
        });
        if let Err(error) = self.scheduler.extend(weighed) {
            debug!(error = %error, "the scheduler's stream takes nothing more");
        }
    }

    pub fn close_stream(&mut self) {
        self.tell_scheduler(vec![FromWorker::CloseStream]);
        self.scheduler.close();
    }

    fn ordered(&mut self, message: FromScheduler) {
        match Event::try_from(message) {
            Ok(event) => self.events.push(event),
            Err(FromScheduler::Close { reason }) => {
                let reason = reason.to_string_lossy().into_owned();
                self.life.end(End::Close { reason });
            }
            Err(FromScheduler::CloseStream) => self.life.end(End::SchedulerGone),
            Err(FromScheduler::Other { op, message }) => match op.as_str() {
                Some(op) => {
                    let frames = encode_value(&message);
                    self.line.say(|line| line.stream(op, &frames));
                }
                None => warn!("the scheduler sent an operation without a name"),
            },
            Err(other) => debug!(message = ?other, "not for a worker"),
        }
    }
}

/// About how many bytes a message takes.
fn weight(message: &FromWorker) -> usize {
    match message {
        FromWorker::TaskFinished(_) => 400,
        FromWorker::TaskErred(task) => {
            let payload =
                |value: &protocol::Value| value.as_payload().map_or(0, Payload::total_len);
            600 + payload(&task.exception) + payload(&task.traceback)
        }
        FromWorker::AddKeys(event) => 100 + 60 * event.keys.len(),
        _ => 200,
    }
}
