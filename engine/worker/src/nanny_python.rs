//! The Python of a nanny: a process that is started where plugins, preloads or functions for nannies come. Most workers never
//! have one.
//!
//! Owns that process and what its users changed for the worker's: the variables it is started with. Invariant: whoever gets an
//! answer finds what it brought about known here.

use crate::executor::line::{Line, LineReader};
use crate::executor::message::FromExecutor;
use crate::executor::process::{self, Launch, Process};
use crate::executor::shared::SharedMemory;
use crate::life::End;
use crate::living::{START_LIMIT, greeting};
use crate::requests::Requests;
use anyhow::{Context as _, bail};
use protocol::{Frames, Value, encode_value};
use std::cell::{Cell, RefCell};
use std::io::PipeWriter;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Child;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tracing::{debug, error, info};

/// For what plugins take down when the worker ends.
const CLOSE_LIMIT: Duration = Duration::from_millis(500);

pub struct NannyPython {
    launch: Launch,
    settings: RefCell<Value>,
    running: Mutex<Option<Running>>,
    told: Rc<Told>,
    /// The worker as last told.
    worker: RefCell<Value>,
}

/// What its users want of the worker.
struct Told {
    environment: RefCell<Vec<(String, String)>>,
    /// The worker is being started anew.
    restarts: Cell<bool>,
    orders: mpsc::UnboundedSender<End>,
}

struct Running {
    child: Child,
    line: Line,
    questions: Rc<Questions>,
    _tasks: JoinSet<()>,
    _lifeline: PipeWriter,
}

#[derive(Default)]
struct Questions {
    requests: RefCell<Requests>,
    are_over: Cell<bool>,
}

impl NannyPython {
    pub fn new(launch: Launch, settings: Value, orders: mpsc::UnboundedSender<End>) -> Self {
        Self {
            launch,
            settings: RefCell::new(settings),
            running: Mutex::default(),
            told: Rc::new(Told {
                environment: RefCell::default(),
                restarts: Cell::new(false),
                orders,
            }),
            worker: RefCell::default(),
        }
    }

    /// Where the nanny is reached.
    pub fn is_at(&self, address: &str) {
        self.settings.borrow_mut().set("address", address);
    }

    /// Variables of the worker's process that were set here.
    pub fn environment(&self) -> Vec<(String, String)> {
        self.told.environment.borrow().clone()
    }

    /// Whether the worker was to be started anew since this was last asked.
    pub fn take_restart(&self) -> bool {
        self.told.restarts.take()
    }

    /// Has an operation of a nanny answered as stock's would.
    pub async fn ask(&self, op: &str, frames: &Frames) -> anyhow::Result<Frames> {
        let answer = {
            let mut running = self.running.lock().await;
            let running = self.started(&mut running).await?;
            let mut requests = running.questions.requests.borrow_mut();
            let (request, answer) = requests.call();
            running.line.say(|line| line.call(request, op, frames));
            running.line.flush();
            answer
        };
        answer
            .await
            .context("the Python process of the nanny has ended")
    }

    /// Starts it for what is loaded beforehand.
    pub async fn start(&self) -> anyhow::Result<()> {
        let mut running = self.running.lock().await;
        self.started(&mut running).await.map(|_| ())
    }

    /// What functions and plugins find as the nanny's worker.
    pub fn tell_worker(&self, worker: Value) {
        *self.worker.borrow_mut() = worker;
        // One that is starting is told when it has started.
        if let Ok(running) = self.running.try_lock()
            && let Some(running) = &*running
        {
            self.introduce_worker(&running.line);
        }
    }

    fn introduce_worker(&self, line: &Line) {
        let worker = encode_value(&self.worker.borrow());
        line.say(|line| line.stream("worker", &worker));
        line.flush();
    }

    /// Lets plugins take down what they set up.
    pub async fn close(&self) {
        // One that is starting has nothing to take down.
        let running = self.running.try_lock().ok();
        let Some(mut running) = running.and_then(|mut running| running.take()) else {
            return;
        };
        running.line.say(|line| line.close("the nanny closes"));
        running.line.flush();
        let ended = tokio::time::timeout(CLOSE_LIMIT, running.child.wait()).await;
        if ended.is_err() {
            info!("the Python process of the nanny did not end in time and is killed");
        }
    }

    async fn started<'a>(&self, running: &'a mut Option<Running>) -> anyhow::Result<&'a Running> {
        if running
            .as_ref()
            .is_some_and(|it| it.questions.are_over.get())
        {
            error!("plugins of the nanny went with its Python process");
            *running = None;
        }
        match running {
            Some(running) => Ok(running),
            none => {
                let begun = self
                    .begin()
                    .await
                    .context("start the Python of the nanny")?;
                self.introduce_worker(&begun.line);
                Ok(none.insert(begun))
            }
        }
    }

    async fn begin(&self) -> anyhow::Result<Running> {
        info!("the nanny starts a Python process of its own");
        let memory = SharedMemory::new(None);
        let Process {
            mut child,
            line,
            _lifeline,
        } = process::start(&self.launch, &memory)?;
        line.say(|line| line.start(&self.settings.borrow()));
        line.flush();
        let mut reader = line.reader();
        let greeting = tokio::time::timeout(START_LIMIT, greeting(&mut reader, &mut child));
        let (early, greeting) = greeting.await??;
        match greeting {
            FromExecutor::Refused { text, traceback } => {
                error!("{traceback}");
                bail!("{text}");
            }
            _ready => {}
        }
        let questions = Rc::new(Questions::default());
        let listener = Listener {
            told: Rc::clone(&self.told),
            questions: Rc::clone(&questions),
            memory,
        };
        early.into_iter().for_each(|message| listener.hear(message));
        let mut tasks = JoinSet::new();
        tasks.spawn_local(async move { listener.listen(reader).await });
        let own = line.clone();
        tasks.spawn_local(async move { own.drive().await });
        Ok(Running {
            child,
            line,
            questions,
            _tasks: tasks,
            _lifeline,
        })
    }
}

/// Hears what the process says.
struct Listener {
    told: Rc<Told>,
    questions: Rc<Questions>,
    memory: Arc<SharedMemory>,
}

impl Listener {
    async fn listen(self, mut reader: LineReader) {
        while let Ok(Some(messages)) = reader.next().await {
            messages.into_iter().for_each(|message| self.hear(message));
        }
        self.questions.are_over.set(true);
        // Nobody answers what was asked.
        self.questions.requests.take();
    }

    fn hear(&self, message: FromExecutor) {
        match message {
            FromExecutor::Answer { request, frames } => {
                self.questions.requests.borrow_mut().answer(request, frames);
            }
            FromExecutor::Environment(variables) => {
                *self.told.environment.borrow_mut() = variables;
            }
            FromExecutor::Leave { how, reason } => {
                let reason = reason.to_string_lossy().into_owned();
                let is_restart = how == "restart";
                self.told.restarts.set(is_restart);
                let end = match is_restart {
                    true => End::Restart { reason },
                    false => End::Close { reason },
                };
                // Without a supervisor there is nothing left to end.
                let _over = self.told.orders.send(end);
            }
            FromExecutor::Released(released) => {
                for (number, is_tainted) in released {
                    self.memory.given_back(number, is_tainted);
                }
            }
            other => debug!(message = ?other, "not for a nanny"),
        }
    }
}
