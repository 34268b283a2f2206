//! A worker as far as the scheduler can tell: it runs, fetches, keeps and drops, and says so.
//!
//! What it wants from the outside (run something, fetch something, say something) is collected in `wishes`.

mod fetching;

use crate::real_worker::Later;
use protocol::Key;
use protocol::messages::{
    Action, AddKeys, FromWorker, KeyEvent, LongRunning, StartStop, TaskErred, TaskFinished,
    WorkerStatusChange,
};
use protocol::{Text, Value};
use scheduler_core::{ComputeTask, TaskPriority, ToWorker, WorkerId, WorkerStatus};
use smallvec::smallvec;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Waiting,
    Executing,
    LongRunning,
    /// Freed while it ran; a thread cannot be stopped.
    Cancelled {
        was_long: bool,
    },
    Failed,
}

struct Run {
    run_id: i64,
    priority: TaskPriority,
    inputs: Vec<Key>,
    phase: Phase,
    /// Tells one execution from the next of the same key.
    token: u64,
}

struct Fetch {
    holders: Vec<Arc<str>>,
    in_flight: bool,
    /// Asked for by the memory manager, not for a task.
    acquired: bool,
}

/// What a worker wants from the outside.
pub enum Wish {
    Say(Box<FromWorker>),
    Execute {
        key: Key,
        token: u64,
    },
    Fetch {
        from: Arc<str>,
        keys: Vec<Key>,
    },
    /// After so many milliseconds.
    Later(u64, Later),
    Die,
}

/// How an execution ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Result(u64),
    Exception,
    Reschedule,
}

pub struct SimWorker {
    pub id: WorkerId,
    pub address: Arc<str>,
    pub nthreads: usize,
    pub status: WorkerStatus,
    pub wishes: Vec<Wish>,
    data: BTreeMap<Key, u64>,
    runs: BTreeMap<Key, Run>,
    fetches: BTreeMap<Key, Fetch>,
    tokens: u64,
}

impl SimWorker {
    pub fn new(id: WorkerId, address: Arc<str>, nthreads: usize) -> Self {
        Self {
            id,
            address,
            nthreads,
            status: WorkerStatus::Init,
            wishes: Vec::new(),
            data: BTreeMap::new(),
            runs: BTreeMap::new(),
            fetches: BTreeMap::new(),
            tokens: 0,
        }
    }

    fn say(&mut self, message: FromWorker) {
        self.wishes.push(Wish::Say(Box::new(message)));
    }

    pub fn announce(&mut self, status: WorkerStatus) {
        self.status = status;
        self.say(FromWorker::WorkerStatusChange(WorkerStatusChange {
            status: Text::from_static(status.name()),
            stimulus_id: Text::from_static("status"),
        }));
        self.proceed();
    }

    pub fn holds_nothing(&self) -> bool {
        self.data.is_empty() && self.runs.is_empty() && self.fetches.is_empty()
    }

    pub fn describe(&self) -> String {
        format!(
            "{} data {:?} runs {:?} fetches {:?}",
            self.address,
            self.data.keys().collect::<Vec<_>>(),
            self.runs
                .iter()
                .map(|(key, run)| (key, run.phase))
                .collect::<Vec<_>>(),
            self.fetches.keys().collect::<Vec<_>>()
        )
    }

    pub fn held(&self) -> Vec<Key> {
        self.data.keys().cloned().collect()
    }

    pub fn executing(&self) -> Vec<Key> {
        let running = |run: &Run| matches!(run.phase, Phase::Executing | Phase::LongRunning);
        self.runs
            .iter()
            .filter(|(_, run)| running(run))
            .map(|(key, _)| key.clone())
            .collect()
    }

    pub fn has(&self, key: &Key) -> bool {
        self.data.contains_key(key)
    }

    /// Data from outside: scattered.
    pub fn put(&mut self, key: Key, nbytes: u64) {
        self.data.insert(key, nbytes);
    }

    pub fn hear(&mut self, message: ToWorker) {
        match message {
            ToWorker::ComputeTask(order) => self.compute(*order),
            ToWorker::FreeKeys { keys, stimulus_id } => {
                for key in keys {
                    self.free(&key, &stimulus_id);
                }
            }
            ToWorker::RemoveReplicas { keys, stimulus_id } => {
                self.remove_replicas(keys, &stimulus_id);
            }
            ToWorker::AcquireReplicas { who_has, .. } => {
                for (key, holders) in who_has {
                    if !self.data.contains_key(&key) && !self.runs.contains_key(&key) {
                        self.want(key, holders.into_vec(), true);
                    }
                }
            }
            ToWorker::RefreshWhoHas { who_has, .. } => {
                for (key, holders) in who_has {
                    let own = Arc::clone(&self.address);
                    if let Some(fetch) = self.fetches.get_mut(&key) {
                        fetch.holders = holders
                            .into_iter()
                            .filter(|holder| *holder != own)
                            .collect();
                    }
                }
            }
            ToWorker::StatusChange { status, .. } => self.announce(status),
            ToWorker::RemoveWorker { address, .. } => {
                for fetch in self.fetches.values_mut() {
                    fetch.holders.retain(|holder| *holder != address);
                }
            }
            ToWorker::Close { .. } | ToWorker::CloseStream => self.wishes.push(Wish::Die),
        }
        self.proceed();
    }

    fn compute(&mut self, order: ComputeTask) {
        let run_id = order.run_id as i64;
        if let Some(run) = self.runs.get_mut(&order.key) {
            run.run_id = run_id;
            match run.phase {
                Phase::Waiting | Phase::Executing | Phase::LongRunning => return,
                Phase::Cancelled { was_long } => {
                    run.phase = if was_long {
                        Phase::LongRunning
                    } else {
                        Phase::Executing
                    };
                    return;
                }
                Phase::Failed => {}
            }
        } else if self.data.contains_key(&order.key) {
            self.say_finished(order.key, run_id);
            return;
        }
        let mut inputs = Vec::new();
        for input in order.dependencies {
            if !self.data.contains_key(&input.key) {
                self.want(input.key.clone(), input.holders.into_vec(), false);
            }
            inputs.push(input.key);
        }
        self.fetches.remove(&order.key);
        self.runs.insert(
            order.key,
            Run {
                run_id,
                priority: order.priority,
                inputs,
                phase: Phase::Waiting,
                token: 0,
            },
        );
    }

    fn free(&mut self, key: &Key, stimulus: &Text) {
        if let Some(run) = self.runs.get_mut(key) {
            match run.phase {
                Phase::Waiting | Phase::Failed => {
                    self.runs.remove(key);
                }
                Phase::Executing => run.phase = Phase::Cancelled { was_long: false },
                Phase::LongRunning => run.phase = Phase::Cancelled { was_long: true },
                Phase::Cancelled { .. } => {}
            }
        }
        self.drop_data(key, stimulus);
        self.fetches.remove(key);
        self.drop_unneeded_fetches();
    }

    fn drop_data(&mut self, key: &Key, stimulus: &Text) {
        if self.data.remove(key).is_some() {
            self.say(FromWorker::ReleaseWorkerData(KeyEvent {
                key: key.clone(),
                stimulus_id: stimulus.clone(),
            }));
        }
    }

    /// Loses data all by itself.
    pub fn lose(&mut self, key: &Key) {
        self.drop_data(key, &Text::from_static("lose"));
        self.proceed();
    }

    fn remove_replicas(&mut self, keys: Vec<Key>, stimulus: &Text) {
        let mut kept = Vec::new();
        for key in keys {
            if self.data.contains_key(&key) && self.is_input(&key) {
                kept.push(key);
            } else {
                self.drop_data(&key, stimulus);
            }
        }
        self.say_added(kept);
    }

    fn is_input(&self, key: &Key) -> bool {
        self.runs.values().any(|run| {
            let live = matches!(
                run.phase,
                Phase::Waiting | Phase::Executing | Phase::LongRunning
            );
            live && run.inputs.contains(key)
        })
    }

    fn say_added(&mut self, keys: Vec<Key>) {
        if !keys.is_empty() {
            self.say(FromWorker::AddKeys(AddKeys {
                keys,
                stimulus_id: Text::from_static("add"),
            }));
        }
    }

    fn say_finished(&mut self, key: Key, run_id: i64) {
        let nbytes = self.data.get(&key).copied();
        self.say(FromWorker::TaskFinished(TaskFinished {
            key,
            run_id,
            nbytes,
            value_type: None,
            typename: Text::from_static("int"),
            metadata: Value::Nil,
            thread: Value::Int(1),
            startstops: smallvec![StartStop {
                action: Action::Compute,
                start: 1.0,
                stop: 1.1,
                source: None
            }],
            stimulus_id: Text::from_static("finished"),
        }));
    }

    /// Fetches and executes what it can.
    fn proceed(&mut self) {
        self.want_lost_inputs();
        self.drop_unneeded_fetches();
        let own = Arc::clone(&self.address);
        let mut requests: BTreeMap<Arc<str>, Vec<Key>> = BTreeMap::new();
        for (key, fetch) in &mut self.fetches {
            let holder = fetch.holders.iter().find(|holder| **holder != own);
            if let Some(holder) = holder.filter(|_| !fetch.in_flight) {
                fetch.in_flight = true;
                requests
                    .entry(Arc::clone(holder))
                    .or_default()
                    .push(key.clone());
            }
        }
        for (from, keys) in requests {
            self.wishes.push(Wish::Fetch { from, keys });
        }
        while self.start_one() {}
    }

    fn start_one(&mut self) -> bool {
        let busy = |run: &&Run| {
            matches!(
                run.phase,
                Phase::Executing | Phase::Cancelled { was_long: false }
            )
        };
        let threads = self.runs.values().filter(busy).count();
        let paused = !matches!(
            self.status,
            WorkerStatus::Running | WorkerStatus::ClosingGracefully
        );
        if threads >= self.nthreads || paused {
            return false;
        }
        let ready = self
            .runs
            .iter()
            .filter(|(_, run)| run.phase == Phase::Waiting)
            .filter(|(_, run)| run.inputs.iter().all(|input| self.data.contains_key(input)))
            .min_by(|(_, left), (_, right)| {
                left.priority.partial_cmp(&right.priority).expect("no NaN")
            });
        let Some(key) = ready.map(|(key, _)| key.clone()) else {
            return false;
        };
        self.tokens += 1;
        let token = self.tokens;
        if let Some(run) = self.runs.get_mut(&key) {
            run.phase = Phase::Executing;
            run.token = token;
        }
        self.wishes.push(Wish::Execute { key, token });
        true
    }

    /// A running task leaves its thread but goes on.
    pub fn secede(&mut self, key: &Key, token: u64) {
        let Some(run) = self.runs.get_mut(key).filter(|run| run.token == token) else {
            return;
        };
        match run.phase {
            Phase::Executing => {
                run.phase = Phase::LongRunning;
                let run_id = run.run_id;
                self.say(FromWorker::LongRunning(LongRunning {
                    key: key.clone(),
                    run_id: Some(run_id),
                    compute_duration: Some(0.1),
                    stimulus_id: Text::from_static("secede"),
                }));
            }
            Phase::Cancelled { .. } => run.phase = Phase::Cancelled { was_long: true },
            Phase::Waiting | Phase::LongRunning | Phase::Failed => {}
        }
        self.proceed();
    }

    pub fn executed(&mut self, key: &Key, token: u64, ending: Ending) {
        let Some(run) = self.runs.get_mut(key).filter(|run| run.token == token) else {
            return;
        };
        let run_id = run.run_id;
        match (run.phase, ending) {
            (Phase::Cancelled { .. }, _) => {
                self.runs.remove(key);
            }
            (_, Ending::Result(nbytes)) => {
                self.runs.remove(key);
                self.data.insert(key.clone(), nbytes);
                self.say_finished(key.clone(), run_id);
            }
            (_, Ending::Exception) => {
                run.phase = Phase::Failed;
                self.say_erred(key.clone(), run_id);
            }
            (_, Ending::Reschedule) => {
                self.runs.remove(key);
                self.say(FromWorker::Reschedule(KeyEvent {
                    key: key.clone(),
                    stimulus_id: Text::from_static("reschedule"),
                }));
            }
        }
        self.proceed();
    }

    fn say_erred(&mut self, key: Key, run_id: i64) {
        self.say(FromWorker::TaskErred(TaskErred {
            key,
            run_id,
            exception: Value::text("boom"),
            traceback: Value::Nil,
            exception_text: Text::from_static("boom"),
            traceback_text: Text::default(),
            thread: Value::Nil,
            startstops: smallvec![],
            stimulus_id: Text::from_static("erred"),
        }));
    }
}
