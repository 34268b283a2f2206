//! A worker that decides by the real core: this is its shell, which does at once, or a little later, what the core wants.
//!
//! It keeps books of its own and panics where the core breaks its word: what is named is there, every answer is awaited,
//! and what the core holds for held is held.

mod orders;

use crate::chance::Chance;
use crate::worker::{Ending, Wish};
use crate::world::UNASKED;
use protocol::messages::{
    Action as Doing, FromWorker, KeyOrder, KeysOrder, Replica, Replicas, StartStop,
};
use protocol::{Key, Text, Value};
use scheduler_core::{ToWorker, WorkerId, WorkerStatus};
use smallvec::smallvec;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use worker_core::{
    Action, Check, Config, Effects, Event, Executed, Execution, ExecutionId, Gather, GatherId,
    GatherOutcome, Gathered, Location, LogLevel, Outcome, Source, SpillOutcome, TaskError, Time,
    UpdateData, UpdateId, ValueId, Worker,
};

/// What a worker does to itself after a while.
#[derive(Clone, Debug)]
pub enum Later {
    RetryBusyPeer(Arc<str>),
    Spilled(Key, ValueId),
    GiveBack(u64),
    Rejoin(u64),
    /// What has waited for more to come is handled with it.
    Flush,
}

struct Stored {
    key: Key,
    location: Location,
}

pub struct RealWorker {
    pub id: WorkerId,
    pub address: Arc<str>,
    pub wishes: Vec<Wish>,
    core: Worker,
    fx: Effects,
    now: Time,
    chance: Chance,
    memory_limit: Option<u64>,
    /// Of a hundred events, how many wait for others to be handled with them.
    waiting: u64,
    /// Of a hundred answers of peers, how many are nonsense.
    nonsense: u64,
    pending: Vec<Event>,
    /// Runs whose end is pending.
    ended: BTreeSet<ExecutionId>,
    /// Whether things go wrong by chance.
    calm: bool,
    values: BTreeMap<ValueId, Stored>,
    runs: BTreeSet<ExecutionId>,
    requests: BTreeMap<Arc<str>, GatherId>,
    /// What has come with the event being handled.
    arrived: BTreeSet<(GatherIdOrUpdate, Key)>,
    updates: u64,
    /// The latest state of tasks whose transitions are watched.
    states: BTreeMap<Key, &'static str>,
    pub seen: Seen,
}

/// How often which transition and which action happened.
pub type Seen = BTreeMap<(&'static str, &'static str), u64>;

type GatherIdOrUpdate = (bool, u64);

fn numbered(source: Source) -> GatherIdOrUpdate {
    match source {
        Source::Gather(id) => (true, id.0),
        Source::Update(id) => (false, id.0),
    }
}

/// What a real worker is made with.
pub struct Birth {
    pub id: WorkerId,
    pub address: Arc<str>,
    pub nthreads: usize,
    pub gpu: bool,
    pub seed: u64,
    pub now: Time,
}

impl RealWorker {
    pub fn new(birth: Birth) -> Self {
        let mut chance = Chance::new(birth.seed);
        let memory_limit = *chance
            .pick(&[None, Some(200_000), Some(1_000_000)])
            .unwrap_or(&None);
        let config = Config {
            resources: match birth.gpu {
                true => vec![(Arc::from("GPU"), 1.0)],
                false => Vec::new(),
            },
            memory_limit,
            executions_ahead: *chance.pick(&[0, 2, 9]).unwrap_or(&0),
            incoming_connections: *chance.pick(&[10, 1]).unwrap_or(&10),
            message_bytes_limit: *chance.pick(&[50_000_000, 50_000]).unwrap_or(&50_000_000),
            max_spill: *chance.pick(&[None, None, Some(150_000)]).unwrap_or(&None),
            low_level_log_length: *chance.pick(&[0, 100]).unwrap_or(&0),
            ..Config::new(&birth.address, birth.nthreads)
        };
        let watched = chance.percent(50);
        let waiting = *chance.pick(&[0, 0, 50]).unwrap_or(&0);
        let nonsense = *chance.pick(&[3, 3, 90]).unwrap_or(&3);
        let mut worker = Self {
            id: birth.id,
            address: birth.address,
            wishes: Vec::new(),
            core: Worker::new(config, birth.seed, Check::EveryEvent, birth.now),
            fx: Effects::default(),
            now: birth.now,
            chance,
            memory_limit,
            waiting,
            nonsense,
            pending: Vec::new(),
            ended: BTreeSet::new(),
            calm: false,
            values: BTreeMap::new(),
            runs: BTreeSet::new(),
            requests: BTreeMap::new(),
            arrived: BTreeSet::new(),
            updates: 0,
            states: BTreeMap::new(),
            seen: Seen::new(),
        };
        worker.happen(Event::WatchTransitions(watched));
        worker
    }

    pub fn tell_time(&mut self, now: Time, calm: bool) {
        self.now = now;
        self.calm = calm;
    }

    pub fn status(&self) -> WorkerStatus {
        self.core.status()
    }

    pub fn holds_nothing(&self) -> bool {
        self.core.task_count() == 0 && self.values.is_empty()
    }

    pub fn describe(&self) -> String {
        let states: Vec<_> = self.core.counts().collect();
        format!(
            "{} real: {states:?}, values {:?}, runs {:?}, requests {:?}, incoming {:?}\n{:#?}",
            self.address,
            self.core.held_keys().collect::<Vec<_>>(),
            self.core.executing(self.now).collect::<Vec<_>>(),
            self.requests,
            self.core.incoming(),
            self.core.describe_tasks(),
        )
    }

    pub fn held(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = self.core.held_keys().cloned().collect();
        keys.sort();
        keys
    }

    pub fn executing(&self) -> Vec<Key> {
        self.core
            .executing(self.now)
            .map(|(key, _)| key.clone())
            .collect()
    }

    pub fn has(&self, key: &Key) -> bool {
        self.core.held(key).is_some()
    }

    pub fn announce(&mut self, status: WorkerStatus) {
        self.happen(Event::SetStatus(status));
    }

    pub fn put(&mut self, key: Key, nbytes: u64) {
        self.updates += 1;
        let update = UpdateId(self.updates);
        self.arrived
            .insert((numbered(Source::Update(update)), key.clone()));
        self.happen(Event::UpdateData(UpdateData {
            update,
            data: vec![(key, nbytes)],
            stimulus_id: Text::from_static("update-data"),
        }));
        // It is answered once it is done.
        self.flush();
    }

    /// A value is gone all by itself.
    pub fn lose(&mut self, key: &Key) {
        if let Some(held) = self.core.held(key) {
            let key = key.clone();
            self.happen(Event::Lost {
                key,
                value: held.value,
            });
        }
    }

    pub fn hear(&mut self, message: ToWorker) {
        match orders::from_scheduler(message) {
            Some(event) => self.happen(event),
            None => self.wishes.push(Wish::Die),
        }
    }

    pub fn steal(&mut self, key: Key) {
        let stimulus_id = Text::from_static(UNASKED);
        let order = KeyOrder {
            key: key.clone(),
            stimulus_id,
        };
        self.happen(Event::StealRequest(order));
        self.flush();
        let given_away = self.wishes.iter().any(|wish| {
            matches!(wish, Wish::Say(message) if matches!(&**message,
                FromWorker::StealResponse(answer) if answer.key == key
                    && !answer.state.as_ref().is_some_and(is_kept)))
        });
        let state = self.core.state_of(&key).unwrap_or("unknown");
        let ordered = [
            "waiting",
            "ready",
            "constrained",
            "executing",
            "long-running",
        ];
        assert!(
            !given_away || !ordered.contains(&state),
            "{key:?} was given away and is {state}"
        );
    }

    pub fn drop_replica(&mut self, key: Key) {
        self.happen(Event::RemoveReplicas(KeysOrder {
            keys: vec![key],
            stimulus_id: Text::from_static("remove"),
        }));
    }

    pub fn acquire(&mut self, key: Key, holders: &[Arc<str>]) {
        let holders = holders.iter().map(|holder| Text::from(&**holder)).collect();
        let replica = Replica {
            key,
            nbytes: Some(100),
            holders,
        };
        self.happen(Event::AcquireReplicas(Replicas {
            replicas: vec![replica],
            stimulus_id: Text::from_static("acquire"),
        }));
    }

    pub fn look_for_missing(&mut self) {
        self.happen(Event::FindMissing);
    }

    /// Memory, as far as values go, and what else there may be.
    pub fn measure(&mut self) {
        let Some(limit) = self.memory_limit else {
            return;
        };
        let values = self.core.managed_memory().in_memory;
        let process_bytes = match self.calm {
            true => values.min(limit / 2),
            false => values + self.chance.between(0, limit / 3),
        };
        self.happen(Event::MemoryMeasured { process_bytes });
    }

    pub fn secede(&mut self, token: u64) {
        let execution = ExecutionId(token);
        if self.runs.contains(&execution) {
            if self.chance.percent(30) {
                let ms = self.chance.between(0, 20);
                self.wishes.push(Wish::Later(ms, Later::Rejoin(token)));
            }
            self.happen(Event::Seceded {
                execution,
                compute_duration_seconds: 0.1,
            });
        }
    }

    pub fn executed(&mut self, key: &Key, token: u64, ending: Ending) {
        let execution = ExecutionId(token);
        if !self.runs.contains(&execution) {
            return; // it was given back
        }
        let not_begun = !self.calm && self.chance.percent(3);
        let outcome = match ending {
            _ if not_begun => Outcome::NotBegun,
            Ending::Result(nbytes) => {
                let stored = Stored {
                    key: key.clone(),
                    location: Location::Executor,
                };
                self.values.insert(execution.into(), stored);
                Outcome::Finished {
                    nbytes,
                    value_type: None,
                    typename: Text::from_static("int"),
                }
            }
            Ending::Exception => Outcome::Failed(error("boom")),
            Ending::Reschedule => Outcome::Rescheduled,
        };
        self.end_run(execution, outcome);
    }

    fn end_run(&mut self, execution: ExecutionId, outcome: Outcome) {
        self.runs.remove(&execution);
        self.ended.insert(execution);
        let seconds = *self.chance.pick(&[1e-5, 1e-5, 1e-3]).unwrap_or(&0.0);
        self.happen(Event::Executed(Box::new(Executed {
            execution,
            outcome,
            thread: Some(1),
            startstops: smallvec![StartStop {
                action: Doing::Compute,
                start: 1.0,
                stop: 1.0 + seconds,
                source: None,
            }],
            metadata: Value::Nil,
        })));
    }

    pub fn fetched(&mut self, from: &Arc<str>, answer: Option<&[(Key, u64)]>) {
        let Some(gather) = self.requests.get(from).copied() else {
            panic!("an answer nobody waits for");
        };
        let outcome = match answer {
            None => GatherOutcome::Unreachable,
            Some(_) if !self.calm && self.chance.percent(self.nonsense) => {
                GatherOutcome::Malformed(error("nonsense"))
            }
            Some(received) => {
                let keys = received.iter().map(|(key, _)| key.clone());
                let source = numbered(Source::Gather(gather));
                self.arrived.extend(keys.map(|key| (source, key)));
                GatherOutcome::Received(received.to_vec())
            }
        };
        self.answer(from, gather, outcome);
    }

    pub fn fetch_later(&mut self, from: &Arc<str>) {
        let Some(gather) = self.requests.get(from).copied() else {
            panic!("an answer nobody waits for");
        };
        self.answer(from, gather, GatherOutcome::Busy);
    }

    fn answer(&mut self, from: &Arc<str>, gather: GatherId, outcome: GatherOutcome) {
        self.requests.remove(from);
        self.happen(Event::Gathered(Box::new(Gathered {
            gather,
            outcome,
            start_seconds: 1.0,
            stop_seconds: 1.1,
        })));
    }

    pub fn later(&mut self, what: Later) {
        match what {
            Later::RetryBusyPeer(peer) => self.happen(Event::RetryBusyPeer { peer }),
            Later::Spilled(key, value) => self.spilled(key, value),
            Later::GiveBack(token) if self.runs.contains(&ExecutionId(token)) => {
                self.end_run(ExecutionId(token), Outcome::NotBegun);
            }
            Later::Rejoin(token) if self.runs.contains(&ExecutionId(token)) => {
                let execution = ExecutionId(token);
                self.happen(Event::Rejoined { execution });
            }
            Later::Flush => self.flush(),
            Later::GiveBack(_) | Later::Rejoin(_) => {}
        }
    }

    fn spilled(&mut self, key: Key, value: ValueId) {
        let outcome = match self.chance.below(20) {
            0 => SpillOutcome::DiskFailed,
            1 => SpillOutcome::NotSerializable,
            _ => SpillOutcome::Written { disk_bytes: 7 },
        };
        self.happen(Event::Spilled {
            key,
            value,
            outcome,
        });
    }

    fn happen(&mut self, event: Event) {
        self.pending.push(event);
        if self.pending.len() < 6 && self.waiting > 0 && self.chance.percent(self.waiting) {
            let ms = self.chance.between(0, 5);
            self.wishes.push(Wish::Later(ms, Later::Flush));
        } else {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let mut fx = std::mem::take(&mut self.fx);
        let events = std::mem::take(&mut self.pending);
        self.core.handle(self.now, events, &mut fx);
        for message in fx.drain_messages() {
            self.wishes.push(Wish::Say(Box::new(message)));
        }
        for action in fx.drain_actions() {
            self.perform(action);
        }
        self.fx = fx;
        self.arrived.clear();
        self.ended.clear();
        self.check_books();
    }

    fn perform(&mut self, action: Action) {
        self.note(&action);
        match action {
            Action::Execute(execution) => self.execute(*execution),
            Action::CancelExecution { execution } => self.cancel(execution, 30),
            Action::RecallExecution { execution } => self.cancel(execution, 80),
            Action::Gather(gather) => self.gather(*gather),
            Action::RetryBusyPeerLater { peer, after_ns } => {
                let later = Later::RetryBusyPeer(peer);
                self.wishes.push(Wish::Later(after_ns / 1_000_000, later));
            }
            Action::Store { key, value, source } => {
                let came = self.arrived.remove(&(numbered(source), key.clone()));
                assert!(came, "{key:?} is to be stored and has not come");
                let location = Location::Serialized;
                self.values.insert(value, Stored { key, location });
            }
            Action::Free { key, value } => {
                let stored = self.values.remove(&value).expect("what is freed is there");
                assert_eq!(stored.key, key, "freed under a wrong name");
            }
            Action::Spill { key, value, .. } => {
                let stored = self.values.get(&value).expect("what is spilled is there");
                assert!(stored.location != Location::Disk && stored.key == key);
                let ms = self.chance.between(0, 30);
                self.wishes
                    .push(Wish::Later(ms, Later::Spilled(key, value)));
            }
            Action::DropMemoryCopy { value, .. } => {
                let stored = self.values.get_mut(&value);
                stored.expect("what is on disk is there").location = Location::Disk;
            }
            Action::TerminateExecutor { .. } => self.wishes.push(Wish::Die),
            Action::ForgetPeer { .. }
            | Action::DropDiskCopy { .. }
            | Action::CollectGarbage
            | Action::StatusChanged(_)
            | Action::Transitioned { .. }
            | Action::Log { .. } => {}
        }
    }

    /// Transitions follow one another, and what happened is counted.
    fn note(&mut self, action: &Action) {
        let what = match action {
            Action::Transitioned { key, start, finish } => {
                let before = self.states.get(key).copied().unwrap_or("released");
                assert_eq!(before, *start, "{key:?} was not where it left");
                match *finish {
                    "forgotten" => self.states.remove(key),
                    finish => self.states.insert(key.clone(), finish),
                };
                (*start, *finish)
            }
            Action::CancelExecution { .. } => ("a run", "cancelled"),
            Action::RecallExecution { .. } => ("a run", "called back"),
            Action::RetryBusyPeerLater { .. } => ("a peer", "busy"),
            Action::Spill { .. } => ("a value", "spilled"),
            Action::DropMemoryCopy { .. } => ("a value", "on disk"),
            Action::DropDiskCopy { .. } => ("a value", "called back"),
            Action::TerminateExecutor { .. } => ("the executor", "terminated"),
            Action::StatusChanged(status) => ("the status", status.name()),
            Action::Log {
                level: LogLevel::Error,
                message,
                subject,
            } if *message != "a value is lost" => panic!("{message}: {subject}"),
            Action::Log { message, .. } => ("said", *message),
            Action::Execute(_)
            | Action::Gather(_)
            | Action::Store { .. }
            | Action::Free { .. }
            | Action::ForgetPeer { .. }
            | Action::CollectGarbage => return,
        };
        *self.seen.entry(what).or_default() += 1;
    }

    fn execute(&mut self, execution: Execution) {
        for input in &execution.inputs {
            let stored = self
                .values
                .get_mut(&input.value)
                .expect("an input is there");
            assert_eq!(stored.key, input.key, "an input under a wrong name");
            assert_eq!(stored.location, input.location, "an input elsewhere");
            stored.location = Location::Executor;
        }
        assert!(self.runs.insert(execution.id), "a run begins twice");
        self.wishes.push(Wish::Execute {
            key: execution.order.key.clone(),
            token: execution.id.0,
        });
    }

    fn cancel(&mut self, execution: ExecutionId, percent: u64) {
        let ended = self.ended.contains(&execution);
        assert!(
            ended || self.runs.contains(&execution),
            "cancelled after its end"
        );
        if !ended && self.chance.percent(percent) {
            let ms = self.chance.between(0, 20);
            let later = Later::GiveBack(execution.0);
            self.wishes.push(Wish::Later(ms, later));
        }
    }

    fn gather(&mut self, gather: Gather) {
        assert!(gather.peer != self.address, "a worker asks itself");
        let before = self.requests.insert(Arc::clone(&gather.peer), gather.id);
        assert!(before.is_none(), "two requests to a peer at a time");
        self.wishes.push(Wish::Fetch {
            from: gather.peer,
            keys: gather.keys,
        });
    }

    /// What the core holds for held is held, where it thinks, and nothing else is.
    fn check_books(&self) {
        let mut held = 0;
        for key in self.core.held_keys() {
            let own = self.core.held(key).expect("a held key has a value");
            let stored = self.values.get(&own.value).expect("what is held is stored");
            assert_eq!((&stored.key, stored.location), (key, own.location));
            held += 1;
        }
        assert_eq!(held, self.values.len(), "values nobody knows of");
        assert!(self.core.threads_in_use() <= self.runs.len());
    }
}

/// Whether this answer tells a thief that it gets nothing.
fn is_kept(state: &Text) -> bool {
    let kept = ["memory", "executing", "long-running", "cancelled"];
    kept.contains(&&*state.to_string_lossy())
}

fn error(text: &'static str) -> TaskError {
    TaskError {
        exception: Value::text(text),
        traceback: Value::Nil,
        exception_text: Text::from_static(text),
        traceback_text: Text::default(),
    }
}
