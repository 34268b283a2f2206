//! One life of the worker: an address, an executor and a registration that begin and end together.
//!
//! Owns what the tasks of one life share and why it ends. A dead executor is the end of a life: its values are gone, so for
//! the scheduler the worker is lost, and what follows is another worker.

use crate::clock;
use crate::config::Config;
use crate::executor::shared::SharedMemory;
use crate::machine::{Handle, Input, Stopped};
use container::Memory;
use protocol::messages::WorkerStatus;
use protocol::{Frames, Time, Value, encode_value};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::mpsc;
use tracing::{error, warn};
use transport::Pool;

/// Why a life ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The Python process has died.
    ExecutorLost(Loss),
    /// The scheduler, a client or a task wants the worker closed, with its nanny.
    Close { reason: String },
    /// The values are to be handed over first; perhaps another life follows.
    Retire { reason: String, again: bool },
    /// Closed and begun anew.
    Restart { reason: String },
    /// Its stream has ended.
    SchedulerGone,
}

/// How an executor died.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    pub cause: String,
    /// Memory ran out, by our own judgement or the kernel's.
    pub out_of_memory: bool,
    /// What it ran.
    pub tasks: Vec<String>,
}

impl End {
    pub fn lost(cause: String) -> Self {
        Self::ExecutorLost(Loss {
            cause,
            ..Loss::default()
        })
    }
}

/// What the tasks of one life share.
pub struct Life {
    pub config: Rc<Config>,
    pub scheduler: String,
    pub address: String,
    pub id: String,
    pub name: Value,
    pub nanny: Option<String>,
    pub local_directory: PathBuf,
    pub handle: Handle,
    pub pool: Pool,
    pub http_port: u16,
    pub executor_pid: Cell<u32>,
    /// The process whose values are read, once it lends them.
    pub lender: Cell<i32>,
    /// When it last did not pour in time what it lends.
    slow_to_pour: Cell<Time>,
    pub memory: Arc<SharedMemory>,
    pub status: Cell<WorkerStatus>,
    /// The scheduler's clock less ours.
    pub scheduler_delay_seconds: Cell<f64>,
    pub outgoing: Outgoing,
    pub bandwidth: RefCell<Bandwidth>,
    /// As last measured.
    pub memory_bytes: Cell<u64>,
    pub cpu_percent: Cell<f64>,
    pub last_pong: Cell<Time>,
    last_collection: Cell<Time>,
    /// What the kernel's out-of-memory killer has done lately.
    pub kernel: RefCell<Memory>,
    /// Said where the executor is ended by us.
    pub verdict: RefCell<Option<Loss>>,
    pub spills: Spills,
    ends: mpsc::UnboundedSender<End>,
}

/// Transfers to peers.
#[derive(Default)]
pub struct Outgoing {
    pub bytes: Cell<u64>,
    pub bytes_total: Cell<u64>,
    pub count: Cell<usize>,
    pub count_total: Cell<u64>,
}

/// Values that went to disk and came back.
#[derive(Default)]
pub struct Spills {
    pub written: Traffic,
    pub read: Traffic,
    pub failures: Cell<u64>,
    /// Why the disk took nothing the last time.
    pub failure: RefCell<Option<String>>,
}

#[derive(Default)]
pub struct Traffic {
    pub bytes: Cell<u64>,
    pub count: Cell<u64>,
    pub seconds: Cell<f64>,
}

impl Traffic {
    /// So much since `start`.
    pub fn note(&self, bytes: u64, start: Time) {
        self.bytes.set(self.bytes.get() + bytes);
        self.count.set(self.count.get() + 1);
        let seconds = clock::now().seconds_since(start);
        self.seconds.set(self.seconds.get() + seconds);
    }
}

impl Spills {
    pub fn failed(&self, failure: String) {
        self.failures.set(self.failures.get() + 1);
        *self.failure.borrow_mut() = Some(failure);
    }

    pub fn written(&self, bytes: u64, start: Time) {
        self.written.note(bytes, start);
        self.failure.borrow_mut().take();
    }
}

/// How fast values come from peers, as heartbeats tell it.
pub struct Bandwidth {
    pub total: f64,
    /// Since the last heartbeat: the sum of all and how many.
    pub workers: HashMap<String, (f64, u64)>,
}

impl Default for Bandwidth {
    fn default() -> Self {
        Self {
            total: 100e6,
            workers: HashMap::new(),
        }
    }
}

/// Transfers below this say nothing of bandwidth.
const TELLING_BYTES: u64 = 1_000_000;
/// Between two collections of garbage.
const COLLECTION_SECONDS: f64 = 10.0;
/// An interpreter that was too busy to pour is not asked again for so long.
const SLOW_SECONDS: f64 = 1.0;

impl Bandwidth {
    pub fn measured(&mut self, peer: &str, bytes: u64, seconds: f64) {
        if bytes < TELLING_BYTES {
            return;
        }
        let bandwidth = bytes as f64 / seconds.max(1e-6);
        self.total = self.total * 0.95 + bandwidth * 0.05;
        let (sum, count) = self.workers.entry(peer.to_owned()).or_default();
        *sum += bandwidth;
        *count += 1;
    }
}

/// What a life is made of.
pub struct Parts {
    pub config: Rc<Config>,
    pub scheduler: String,
    pub address: String,
    pub id: String,
    pub name: Value,
    pub nanny: Option<String>,
    pub local_directory: PathBuf,
    pub handle: Handle,
    pub pool: Pool,
    pub http_port: u16,
    pub executor_pid: u32,
    pub memory: Arc<SharedMemory>,
}

impl Life {
    pub fn new(parts: Parts, ends: mpsc::UnboundedSender<End>) -> Rc<Self> {
        Rc::new(Self {
            config: parts.config,
            scheduler: parts.scheduler,
            address: parts.address,
            id: parts.id,
            name: parts.name,
            nanny: parts.nanny,
            local_directory: parts.local_directory,
            handle: parts.handle,
            pool: parts.pool,
            http_port: parts.http_port,
            executor_pid: Cell::new(parts.executor_pid),
            lender: Cell::new(0),
            slow_to_pour: Cell::default(),
            memory: parts.memory,
            status: Cell::new(WorkerStatus::Init),
            scheduler_delay_seconds: Cell::new(0.0),
            outgoing: Outgoing::default(),
            bandwidth: RefCell::default(),
            memory_bytes: Cell::new(0),
            cpu_percent: Cell::new(0.0),
            last_pong: Cell::new(clock::now()),
            last_collection: Cell::new(Time::default()),
            kernel: RefCell::new(Memory::of_container()),
            verdict: RefCell::default(),
            spills: Spills::default(),
            ends,
        })
    }

    pub fn end(&self, end: End) {
        // A life ends once; who comes later is told nothing.
        let _over = self.ends.send(end);
    }

    pub fn pong(&self) {
        self.last_pong.set(clock::now());
    }

    /// Worker and executor.
    pub fn processes(&self) -> [u32; 2] {
        [std::process::id(), self.executor_pid.get()]
    }

    /// Asks the executor for what only Python can answer.
    pub async fn ask_executor(&self, op: String, frames: Frames) -> Result<Frames, Stopped> {
        let asked = self.handle.call(move |machine| {
            let (request, answer) = machine.requests.call();
            machine.line.say(|line| line.call(request, &op, &frames));
            answer
        });
        asked.await?.await.map_err(|_| Stopped)
    }

    /// An operation of the scheduler whose answer nobody waits for.
    pub async fn tell_scheduler(&self, message: &Value) {
        if let Err(failure) = self
            .pool
            .call(&self.scheduler, &encode_value(message))
            .await
        {
            warn!(error = %transport::with_sources(&failure), "the scheduler could not be told");
        }
    }

    pub fn found_slow_to_pour(&self) {
        self.slow_to_pour.set(clock::now());
    }

    /// Whether the executor may be expected to pour what it lends.
    pub fn lends_freely(&self) -> bool {
        let slow = clock::now().seconds_since(self.slow_to_pour.get());
        self.lender.get() != 0 && slow > SLOW_SECONDS
    }

    /// Values that cannot be read where they are come as copies from now on.
    pub fn stop_lending_after(&self, failure: &std::io::Error) {
        let refused = [libc::EFAULT, libc::EPERM, libc::ENOSYS];
        if failure
            .raw_os_error()
            .is_some_and(|it| refused.contains(&it))
        {
            warn!(error = %failure, "memory of the Python process cannot be read; large values are copied");
            self.handle.send(Input::Call(Box::new(|machine| {
                machine.line.say(|line| line.lend(false));
            })));
        }
    }

    pub fn collect_garbage(&self) {
        let now = clock::now();
        if now.seconds_since(self.last_collection.get()) < COLLECTION_SECONDS {
            return;
        }
        self.last_collection.set(now);
        let _bytes = self.memory.let_go();
        self.handle.send(Input::Call(Box::new(|machine| {
            machine.line.say(|line| line.collect());
        })));
    }

    /// Memory is above the limit of all limits: the executor must go.
    pub fn out_of_memory(&self, process_bytes: u64, memory_limit: u64, force: bool) {
        let mut cause = format!(
            "was ended by the worker: {} MiB of memory, {} MiB are allowed",
            process_bytes >> 20,
            memory_limit >> 20
        );
        if let Some(failure) = &*self.spills.failure.borrow() {
            cause.push_str(&format!(", and values cannot be spilled: {failure}"));
        }
        error!(
            process_bytes,
            memory_limit, force, "memory is above the limit"
        );
        *self.verdict.borrow_mut() = Some(Loss {
            cause,
            out_of_memory: true,
            tasks: Vec::new(),
        });
        if force {
            self.kill_executor(rustix::process::Signal::KILL);
        } else {
            self.handle.send(Input::Call(Box::new(|machine| {
                machine.line.say(|line| line.close("memory"));
            })));
        }
    }

    pub fn kill_executor(&self, signal: rustix::process::Signal) {
        let id = self.executor_pid.get() as i32;
        if let Some(process) = rustix::process::Pid::from_raw(id) {
            // It may have ended by itself.
            let _gone = rustix::process::kill_process(process, signal);
        }
    }
}
