//! One run: the core, its peers, the network between them, and the faults.
//!
//! Streams keep their order but not their pace, so that what one peer says overtakes what another says.

use crate::chance::Chance;
use crate::client::{Future, SimClient};
use crate::settings::Settings;
use crate::timeline::Timeline;
use crate::worker::{Ending, SimWorker, Wish};
use crate::workload::Workload;
use protocol::messages::{CancelKeys, ClientKeys, FromClient, FromWorker, UpdateData};
use protocol::{Key, Text, Value, map};
use scheduler_core::{
    Action, AfterRetiring, Check, ClientId, Effects, Graph, Heartbeat, HeartbeatAnswer,
    Registration, Removal, Scheduler, ToClient, ToWorker, WorkerId, WorkerStatus,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What went wrong; a broken invariant panics instead.
#[derive(Clone, Debug)]
pub struct Failure(pub String);

#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    pub events: u64,
    pub tasks_run: u64,
    pub deaths: u64,
}

enum Event {
    ToScheduler(WorkerId, FromWorker),
    StreamBroken(WorkerId),
    ToWorker(usize, u64, ToWorker),
    Executed(usize, u64, Key, u64),
    Seceded(usize, u64, Key, u64),
    FetchArrives {
        slot: usize,
        life: u64,
        from: Arc<str>,
        keys: Vec<Key>,
    },
    FetchAnswer {
        slot: usize,
        life: u64,
        from: Arc<str>,
        keys: Vec<Key>,
        answer: Option<Vec<(Key, u64)>>,
    },
    FetchBusy {
        slot: usize,
        life: u64,
        keys: Vec<Key>,
    },
    FindMissing(usize, u64),
    Heartbeat(usize, u64),
    Start(usize),
    FromClient(ClientId, FromClient),
    GraphFrom(ClientId, Box<Graph>),
    ClientGone(ClientId),
    ToClient(usize, ClientId, ToClient),
    Submit,
    Trouble,
    /// The last trouble is over: whoever was paused goes on.
    Recover,
    Tick,
}

/// Where a worker runs, again and again.
struct Slot {
    address: Arc<str>,
    nthreads: usize,
    gpu: bool,
    life: u64,
    worker: Option<SimWorker>,
}

struct World {
    chance: Chance,
    settings: Settings,
    core: Scheduler,
    effects: Effects,
    timeline: Timeline<Event>,
    slots: Vec<Slot>,
    clients: Vec<SimClient>,
    clients_made: usize,
    workload: Workload,
    /// How often each key has been run.
    attempts: BTreeMap<Key, u32>,
    known: Vec<Key>,
    summary: Summary,
    /// No trouble from here on.
    calm: bool,
    /// Everything but heartbeats and timers that is still to happen.
    outstanding: u64,
    scattered: u64,
    next_tick: Option<u64>,
}

/// Virtual time after which a run that has not come to rest hangs.
const PATIENCE_MS: u64 = 600_000;
/// What the scheduler may find out by its own timers must have happened by then.
const REST_MS: u64 = 90_000;

/// One run of one seed.
pub fn run(seed: u64, verbose: bool) -> Result<Summary, Failure> {
    let mut chance = Chance::new(seed);
    let settings = Settings {
        verbose,
        ..Settings::drawn(&mut chance)
    };
    let mut world = World::new(seed, chance, settings);
    world.schedule_everything();
    world.play(false)?;
    world.check_wishes_granted()?;
    world.everybody_leaves();
    world.play(true)?;
    world.check_nothing_left()?;
    Ok(world.summary)
}

impl World {
    fn new(seed: u64, mut chance: Chance, settings: Settings) -> Self {
        let timeline = Timeline::new();
        let config = settings.config(&mut chance);
        let core = Scheduler::new(config, seed, Check::EveryEvent, timeline.now);
        let slots = (0..settings.workers)
            .map(|at| Slot {
                address: Arc::from(format!("tcp://10.0.0.{}:4000", at / 2 + 1 + 10 * at)),
                nthreads: chance.between(1, settings.max_threads) as usize,
                gpu: at == 0 || chance.percent(30),
                life: 0,
                worker: None,
            })
            .collect();
        Self {
            chance,
            settings,
            core,
            effects: Effects::default(),
            timeline,
            slots,
            clients: Vec::new(),
            clients_made: 0,
            workload: Workload::default(),
            attempts: BTreeMap::new(),
            known: Vec::new(),
            summary: Summary::default(),
            calm: false,
            outstanding: 0,
            scattered: 0,
            next_tick: None,
        }
    }

    fn add(&mut self, after_ms: u64, event: Event) {
        if counts(&event) {
            self.outstanding += 1;
        }
        self.timeline.after_ms(after_ms, event);
    }

    fn stream(&mut self, stream: u64, event: Event) {
        if counts(&event) {
            self.outstanding += 1;
        }
        let latency = self.chance.between(0, self.settings.slowest_message_ms);
        self.timeline.on_stream(stream, latency, event);
    }

    fn schedule_everything(&mut self) {
        for _ in 0..self.settings.clients {
            self.connect_client();
        }
        for slot in 0..self.slots.len() {
            let after = self.chance.between(0, 800);
            self.add(after, Event::Start(slot));
        }
        for _ in 0..self.settings.graphs {
            let after = self.chance.between(0, self.settings.trouble_ends_ms);
            self.add(after, Event::Submit);
        }
        for _ in 0..self.settings.faults {
            let after = self.chance.between(100, self.settings.trouble_ends_ms);
            self.add(after, Event::Trouble);
        }
        for after in [1, 5000, 20_000] {
            self.add(self.settings.trouble_ends_ms + after, Event::Recover);
        }
    }

    fn connect_client(&mut self) {
        let name = format!("Client-{}", self.clients_made);
        self.clients_made += 1;
        let id = self
            .core
            .add_client(&name, Value::Nil, self.timeline.now, &mut self.effects);
        self.clients.push(SimClient::new(id));
        self.deliver();
    }

    /// Plays until nothing but timers is left, and those have had their time.
    fn play(&mut self, leaving: bool) -> Result<(), Failure> {
        let start = self.timeline.ms_since_start();
        let mut quiet_since = None;
        while let Some(event) = self.timeline.next() {
            let now = self.timeline.ms_since_start();
            self.calm |= now > self.settings.trouble_ends_ms;
            if counts(&event) {
                self.outstanding -= 1;
                quiet_since = None;
            }
            self.summary.events += 1;
            self.handle(event);
            self.deliver();
            self.plan_tick();
            if self.outstanding == 0 && (self.calm || leaving) {
                let since = *quiet_since.get_or_insert(now);
                let satisfied = self.satisfied(leaving);
                if satisfied || now - since > REST_MS {
                    return Ok(());
                }
            }
            if now - start > PATIENCE_MS {
                return Err(Failure(format!(
                    "no rest after {PATIENCE_MS} ms, outstanding {}",
                    self.outstanding
                )));
            }
        }
        Ok(())
    }

    fn satisfied(&self, leaving: bool) -> bool {
        let up = self.slots.iter().all(|slot| slot.worker.is_some());
        if leaving {
            let empty = self
                .slots
                .iter()
                .all(|slot| slot.worker.as_ref().is_none_or(SimWorker::holds_nothing));
            return up && empty && self.core.task_count() == 0;
        }
        let missing = self.slots.iter().any(|slot| slot.worker.is_none());
        !missing && self.ungranted().is_none()
    }

    fn plan_tick(&mut self) {
        let Some(next) = self.core.next_tick() else {
            return;
        };
        if self.next_tick.is_none_or(|planned| next.0 < planned) {
            self.next_tick = Some(next.0);
            self.timeline.at(next, Event::Tick);
        }
    }

    fn handle(&mut self, event: Event) {
        let now = self.timeline.now;
        match event {
            Event::ToScheduler(worker, message) => self.to_scheduler(worker, message),
            Event::StreamBroken(worker) => {
                self.core
                    .remove_worker(worker, Removal::connection_lost(), now, &mut self.effects);
            }
            Event::ToWorker(slot, life, message) => {
                if self.settings.verbose {
                    println!(
                        "{:>7} to {} {message:?}",
                        self.timeline.ms_since_start(),
                        self.slots[slot].address
                    );
                }
                self.with_worker(slot, life, |worker| worker.hear(message));
            }
            Event::Executed(slot, life, key, token) => self.executed(slot, life, &key, token),
            Event::Seceded(slot, life, key, token) => {
                self.with_worker(slot, life, |worker| worker.secede(&key, token));
            }
            Event::FetchArrives {
                slot,
                life,
                from,
                keys,
            } => self.serve_fetch(slot, life, from, keys),
            Event::FetchAnswer {
                slot,
                life,
                from,
                keys,
                answer,
            } => {
                self.with_worker(slot, life, |worker| {
                    worker.fetched(&from, &keys, answer.as_deref())
                });
            }
            Event::FetchBusy { slot, life, keys } => {
                self.with_worker(slot, life, |worker| worker.fetch_later(&keys));
            }
            Event::FindMissing(slot, life) => self.find_missing(slot, life),
            Event::Heartbeat(slot, life) => self.heartbeat(slot, life),
            Event::Start(slot) => self.start_worker(slot),
            Event::FromClient(client, message) => self.from_client(client, message),
            Event::GraphFrom(id, graph) => {
                self.core.update_graph(id, *graph, now, &mut self.effects);
            }
            Event::ClientGone(id) => self.core.remove_client(id, now, &mut self.effects),
            Event::ToClient(client, id, message) => {
                if self.settings.verbose {
                    println!(
                        "{:>7} to client {client} {message:?}",
                        self.timeline.ms_since_start()
                    );
                }
                if self.clients[client].id == id {
                    self.clients[client].hear(&message);
                }
            }
            Event::Submit => self.submit(),
            Event::Trouble => self.trouble(),
            Event::Recover => self.recover(),
            Event::Tick => {
                self.next_tick = None;
                self.core.tick(now, &mut self.effects);
            }
        }
    }

    fn with_worker(&mut self, slot: usize, life: u64, act: impl FnOnce(&mut SimWorker)) {
        if self.slots[slot].life != life {
            return;
        }
        if let Some(worker) = self.slots[slot].worker.as_mut() {
            act(worker);
        }
        self.grant_wishes(slot);
    }

    /// What a worker wants from the outside.
    fn grant_wishes(&mut self, slot: usize) {
        let life = self.slots[slot].life;
        let Some(worker) = self.slots[slot].worker.as_mut() else {
            return;
        };
        let (id, wishes) = (worker.id, std::mem::take(&mut worker.wishes));
        for wish in wishes {
            match wish {
                Wish::Say(message) => {
                    self.stream(stream_up(slot, life), Event::ToScheduler(id, message))
                }
                Wish::Execute { key, token } => self.execute(slot, life, key, token),
                Wish::Fetch { from, keys } => {
                    let latency = self.chance.between(0, self.settings.slowest_message_ms);
                    self.add(
                        latency,
                        Event::FetchArrives {
                            slot,
                            life,
                            from,
                            keys,
                        },
                    );
                }
                Wish::Die => self.kill(slot, true),
            }
        }
    }

    fn execute(&mut self, slot: usize, life: u64, key: Key, token: u64) {
        self.summary.tasks_run += 1;
        let behaviour = self.workload.behaviours.get(&key);
        let (duration, secedes) =
            behaviour.map_or((1, false), |own| (own.duration_ms, own.secedes));
        if secedes {
            self.add(duration / 2, Event::Seceded(slot, life, key.clone(), token));
        }
        self.add(duration, Event::Executed(slot, life, key, token));
    }

    fn executed(&mut self, slot: usize, life: u64, key: &Key, token: u64) {
        if self.slots[slot].life != life || self.slots[slot].worker.is_none() {
            return;
        }
        let attempts = self.attempts.entry(key.clone()).or_insert(0);
        *attempts += 1;
        let attempts = *attempts;
        let ending = match self.workload.behaviours.get(key) {
            Some(own) if own.kills => {
                self.kill(slot, false);
                return;
            }
            Some(own) if attempts <= own.reschedules => Ending::Reschedule,
            Some(own) if attempts <= own.failures => Ending::Exception,
            Some(own) => Ending::Result(own.nbytes),
            None => Ending::Result(1),
        };
        self.with_worker(slot, life, |worker| worker.executed(key, token, ending));
    }

    fn serve_fetch(&mut self, slot: usize, life: u64, from: Arc<str>, keys: Vec<Key>) {
        let latency = self.chance.between(0, self.settings.slowest_message_ms);
        if !self.calm && self.chance.percent(10) {
            self.add(150, Event::FetchBusy { slot, life, keys });
            return;
        }
        let unlucky = !self.calm && self.chance.percent(3);
        let peer = self
            .slots
            .iter()
            .find(|other| other.address == from)
            .and_then(|other| other.worker.as_ref());
        let answer = peer.filter(|_| !unlucky).map(|peer| {
            let has = |key: &&Key| peer.has(key);
            keys.iter()
                .filter(has)
                .map(|key| (key.clone(), 10))
                .collect()
        });
        self.add(
            latency,
            Event::FetchAnswer {
                slot,
                life,
                from,
                keys,
                answer,
            },
        );
    }

    fn find_missing(&mut self, slot: usize, life: u64) {
        if self.slots[slot].life != life {
            return;
        }
        let any = self.slots[slot]
            .worker
            .as_mut()
            .is_some_and(SimWorker::look_for_missing);
        self.grant_wishes(slot);
        let _any = any;
        self.timeline.after_ms(1000, Event::FindMissing(slot, life));
    }

    fn heartbeat(&mut self, slot: usize, life: u64) {
        if self.slots[slot].life != life {
            return;
        }
        let times = if self.chance.percent(20) { 2 } else { 1 };
        let Some(worker) = self.slots[slot].worker.as_ref() else {
            return;
        };
        let report = Heartbeat {
            now_seconds: self.timeline.now.seconds(),
            metrics: metrics(),
            executing: worker
                .executing()
                .into_iter()
                .map(|key| (key, 0.3))
                .collect(),
            host_info: Value::Nil,
        };
        for _ in 0..times {
            let answer = self
                .core
                .heartbeat(&worker.address, report.clone(), self.timeline.now);
            if answer == HeartbeatAnswer::Missing && self.calm {
                self.kill(slot, false);
                return;
            }
        }
        self.timeline.after_ms(500, Event::Heartbeat(slot, life));
    }

    fn start_worker(&mut self, slot: usize) {
        if self.slots[slot].worker.is_some() {
            return;
        }
        let own = &self.slots[slot];
        let registration = Registration {
            address: Arc::clone(&own.address),
            host: Arc::from(protocol::address::host_of(&own.address)),
            name: Value::Int(slot as i64),
            nthreads: own.nthreads as u32,
            memory_limit: None,
            resources: if own.gpu {
                vec![(Arc::from("GPU"), 1.0)]
            } else {
                Vec::new()
            },
            local_directory: Arc::from("/tmp"),
            services: Value::Nil,
            nanny: None,
            pid: 1,
            versions: Value::Nil,
            metrics: metrics(),
            extra: Value::Nil,
            server_id: Arc::from(format!("Worker-{slot}-{}", own.life + 1)),
            status: WorkerStatus::Init,
            now_seconds: self.timeline.now.seconds(),
            stimulus_id: Text::from_static("worker-connect"),
        };
        match self
            .core
            .add_worker(registration, self.timeline.now, &mut self.effects)
        {
            Ok(id) => self.worker_is_in(slot, id),
            // The scheduler has not heard yet that the one before is dead.
            Err(_) => self.add(200, Event::Start(slot)),
        }
    }

    fn worker_is_in(&mut self, slot: usize, id: WorkerId) {
        let own = &mut self.slots[slot];
        own.life += 1;
        let life = own.life;
        let mut worker = SimWorker::new(id, Arc::clone(&own.address), own.nthreads);
        worker.announce(WorkerStatus::Running);
        own.worker = Some(worker);
        self.grant_wishes(slot);
        self.timeline.after_ms(500, Event::Heartbeat(slot, life));
        self.timeline.after_ms(1000, Event::FindMissing(slot, life));
    }

    /// The worker is gone at once; the scheduler hears of it after what was on its way.
    fn kill(&mut self, slot: usize, told_to: bool) {
        let life = self.slots[slot].life;
        let Some(worker) = self.slots[slot].worker.take() else {
            return;
        };
        self.summary.deaths += 1;
        self.slots[slot].life += 1;
        self.stream(stream_up(slot, life), Event::StreamBroken(worker.id));
        let after = self.chance.between(1, 1000) + u64::from(told_to) * 200;
        self.add(after, Event::Start(slot));
    }

    /// What was said before a death still arrives.
    fn to_scheduler(&mut self, worker: WorkerId, message: FromWorker) {
        if self.settings.verbose {
            println!(
                "{:>7} from {worker} {message:?}",
                self.timeline.ms_since_start()
            );
        }
        self.core
            .worker_message(worker, message, self.timeline.now, &mut self.effects);
    }

    /// Sends what the core wants said.
    fn deliver(&mut self) {
        let to_workers: Vec<_> = self.effects.drain_workers().collect();
        let to_clients: Vec<_> = self.effects.drain_clients().collect();
        let actions: Vec<_> = self.effects.drain_actions().collect();
        for (id, messages) in to_workers {
            let Some(slot) = self.slot_of(id) else {
                continue;
            };
            let life = self.slots[slot].life;
            for message in messages {
                self.stream(
                    stream_down(slot, life),
                    Event::ToWorker(slot, life, message),
                );
            }
        }
        for (id, messages) in to_clients {
            let Some(client) = self.clients.iter().position(|own| own.id == id) else {
                continue;
            };
            for message in messages {
                self.stream(
                    STREAM_TO_CLIENT + client as u64,
                    Event::ToClient(client, id, message),
                );
            }
        }
        for action in actions {
            if let Action::DropBrokenWorker { why, .. } | Action::DropBrokenClient { why, .. } =
                &action
            {
                panic!("a well-behaved peer was dropped: {why}");
            }
            if let Action::DropWorkerConnection(id) = action
                && let Some(slot) = self.slot_of(id)
            {
                self.kill(slot, true);
            }
        }
    }

    fn slot_of(&self, id: WorkerId) -> Option<usize> {
        self.slots
            .iter()
            .position(|slot| slot.worker.as_ref().is_some_and(|worker| worker.id == id))
    }

    fn submit(&mut self) {
        let client = self.chance.below(self.clients.len());
        let addresses: Vec<Arc<str>> = self
            .slots
            .iter()
            .map(|slot| Arc::clone(&slot.address))
            .collect();
        let graph = self
            .workload
            .graph(&mut self.chance, &self.settings, &self.known, &addresses);
        for key in &graph.keys {
            self.clients[client]
                .futures
                .insert(key.clone(), Future::Pending);
        }
        self.known
            .extend(graph.tasks.iter().map(|task| task.key.clone()));
        self.stream(
            STREAM_FROM_CLIENT + client as u64,
            Event::GraphFrom(self.clients[client].id, Box::new(graph)),
        );
    }

    fn from_client(&mut self, id: ClientId, mut message: FromClient) {
        if self.settings.verbose {
            println!(
                "{:>7} from {id} {message:?}",
                self.timeline.ms_since_start()
            );
        }
        let now = self.timeline.now;
        if let FromClient::UpdateData(data) = &mut message {
            self.drop_false_holders(data);
        }
        if let FromClient::UpdateData(data) = &message
            && !self.clients.iter().any(|client| client.id == id)
        {
            // Scattered data is told of by a request too, which may outlive the client.
            self.core
                .update_data(&data.who_has, &data.nbytes, None, now, &mut self.effects);
            return;
        }
        self.core
            .client_message(id, message, now, &mut self.effects);
    }

    /// A worker that came back at the same address has nothing of what was given to the one before; ports are not
    /// reused so soon in real life.
    fn drop_false_holders(&self, data: &mut UpdateData) {
        for (key, addresses) in &mut data.who_has {
            addresses.retain(|address| {
                self.slots.iter().any(|slot| {
                    *address == *slot.address
                        && slot.worker.as_ref().is_some_and(|worker| worker.has(key))
                })
            });
        }
    }

    fn say(&mut self, client: usize, message: FromClient) {
        self.stream(
            STREAM_FROM_CLIENT + client as u64,
            Event::FromClient(self.clients[client].id, message),
        );
    }

    /// One fault, or one thing a user does in the middle of it all.
    fn trouble(&mut self) {
        match self.chance.below(14) {
            0..=3 => {
                let slot = self.chance.below(self.slots.len());
                self.kill(slot, false);
            }
            4 => self.lose_some_data(),
            5 => self.retire_some(),
            6 => self.release_some(),
            7 => self.cancel_some(),
            8 => self.retry_some(),
            9 => self.scatter(),
            10 => self.fire_and_forget(),
            11 => self.change_clients(),
            12 => self.pause_some(),
            _ => self.restart_or_restrict(),
        }
    }

    fn lose_some_data(&mut self) {
        let slot = self.chance.below(self.slots.len());
        let held = self.slots[slot]
            .worker
            .as_ref()
            .map(SimWorker::held)
            .unwrap_or_default();
        let life = self.slots[slot].life;
        if let Some(key) = self.chance.pick(&held).cloned() {
            self.with_worker(slot, life, |worker| worker.lose(&key));
        }
    }

    fn retire_some(&mut self) {
        let slot = self.chance.below(self.slots.len());
        let Some(id) = self.slots[slot].worker.as_ref().map(|worker| worker.id) else {
            return;
        };
        let after = AfterRetiring {
            close: true,
            remove: self.chance.percent(80),
        };
        let stimulus = Text::from_static("retire");
        self.core
            .retire(&[id], after, stimulus, self.timeline.now, &mut self.effects);
    }

    fn some_future(&mut self) -> Option<(usize, Key)> {
        let client = self.chance.below(self.clients.len());
        let keys: Vec<Key> = self.clients[client].futures.keys().cloned().collect();
        let key = self.chance.pick(&keys).cloned()?;
        Some((client, key))
    }

    fn release_some(&mut self) {
        let Some((client, key)) = self.some_future() else {
            return;
        };
        self.clients[client].futures.remove(&key);
        let keys = vec![key];
        self.say(
            client,
            FromClient::ClientReleasesKeys(ClientKeys { keys, client: None }),
        );
    }

    fn cancel_some(&mut self) {
        let Some((client, key)) = self.some_future() else {
            return;
        };
        let force = self.chance.percent(30);
        let cancel = CancelKeys {
            keys: vec![key],
            force,
            reason: Value::Nil,
            msg: Value::Nil,
        };
        self.say(client, FromClient::CancelKeys(cancel));
    }

    fn retry_some(&mut self) {
        let Some((_, key)) = self.some_future() else {
            return;
        };
        self.core
            .retry(&[key], None, self.timeline.now, &mut self.effects);
    }

    fn scatter(&mut self) {
        let slot = self.chance.below(self.slots.len());
        let Some(worker) = self.slots[slot].worker.as_mut() else {
            return;
        };
        let reuse = self
            .chance
            .percent(20)
            .then(|| self.known.first().cloned())
            .flatten();
        self.scattered += 1;
        let key = reuse.unwrap_or_else(|| Key::str(&format!("data-{}", self.scattered)));
        worker.put(key.clone(), 100);
        let client = self.chance.below(self.clients.len());
        let address = Text::from(&*self.slots[slot].address);
        self.clients[client]
            .futures
            .insert(key.clone(), Future::Pending);
        self.known.push(key.clone());
        let wants = self.clients_name(client);
        let data = UpdateData {
            who_has: vec![(key.clone(), vec![address])],
            nbytes: vec![(key, 100)],
            client: Some(wants),
        };
        self.say(client, FromClient::UpdateData(data));
    }

    fn clients_name(&self, client: usize) -> Text {
        Text::from(format!("Client-{}", self.clients[client].id.0 - 1))
    }

    fn fire_and_forget(&mut self) {
        let Some((client, key)) = self.some_future() else {
            return;
        };
        let wish = ClientKeys {
            keys: vec![key],
            client: Some(Text::from_static("fire-and-forget")),
        };
        self.say(client, FromClient::ClientDesiresKeys(wish));
    }

    /// A client goes away without a word and another comes.
    fn change_clients(&mut self) {
        let client = self.chance.below(self.clients.len());
        let id = self.clients[client].id;
        self.core
            .remove_client(id, self.timeline.now, &mut self.effects);
        self.deliver();
        self.connect_client();
        if let Some(fresh) = self.clients.pop() {
            self.clients[client] = fresh;
        }
    }

    fn pause_some(&mut self) {
        let slot = self.chance.below(self.slots.len());
        let life = self.slots[slot].life;
        self.with_worker(slot, life, |worker| match worker.status {
            WorkerStatus::Running => worker.announce(WorkerStatus::Paused),
            WorkerStatus::Paused => worker.announce(WorkerStatus::Running),
            WorkerStatus::Init
            | WorkerStatus::ClosingGracefully
            | WorkerStatus::Closing
            | WorkerStatus::Closed
            | WorkerStatus::Failed => {}
        });
    }

    fn recover(&mut self) {
        for slot in 0..self.slots.len() {
            let life = self.slots[slot].life;
            self.with_worker(slot, life, |worker| {
                if worker.status == WorkerStatus::Paused {
                    worker.announce(WorkerStatus::Running);
                }
            });
        }
    }

    fn restart_or_restrict(&mut self) {
        if self.chance.percent(30) {
            self.core.restart(self.timeline.now, &mut self.effects);
            return;
        }
        let Some((_, key)) = self.some_future() else {
            return;
        };
        // The one worker that has every resource, so that the task can run somewhere.
        let place = vec![Value::Int(0)];
        self.core
            .set_restrictions(&[(key, place)], self.timeline.now, &mut self.effects);
    }

    /// A wanted key that is neither there nor failed, nor was its client told that it is gone.
    fn ungranted(&self) -> Option<String> {
        for client in &self.clients {
            for (key, future) in &client.futures {
                let status = self.core.task_status(key);
                let granted = match status {
                    Some("memory") => *future == Future::Finished,
                    Some("erred") => *future == Future::Erred,
                    Some(_) => *future == Future::Cancelled,
                    None => matches!(future, Future::Cancelled | Future::Lost),
                };
                // What is cancelled or lost may live on for others.
                let given_up = matches!(future, Future::Cancelled | Future::Lost)
                    && !self.core.wants(client.id, key);
                if !granted && !given_up && *future != Future::Cancelled {
                    return Some(format!(
                        "{key:?} is {status:?} but the client sees {future:?}"
                    ));
                }
            }
        }
        None
    }

    fn check_wishes_granted(&self) -> Result<(), Failure> {
        match self.ungranted() {
            None => Ok(()),
            Some(what) => Err(Failure(format!("hang: {what}\n{}", self.describe()))),
        }
    }

    fn everybody_leaves(&mut self) {
        for at in 0..self.clients.len() {
            let id = self.clients[at].id;
            self.clients[at].futures.clear();
            self.stream(STREAM_FROM_CLIENT + at as u64, Event::ClientGone(id));
        }
    }

    fn check_nothing_left(&self) -> Result<(), Failure> {
        if self.core.task_count() > 0 {
            return Err(Failure(format!(
                "{} tasks left\n{}",
                self.core.task_count(),
                self.describe()
            )));
        }
        for slot in &self.slots {
            if let Some(worker) = slot
                .worker
                .as_ref()
                .filter(|worker| !worker.holds_nothing())
            {
                return Err(Failure(format!("left on a worker: {}", worker.describe())));
            }
        }
        Ok(())
    }

    fn describe(&self) -> String {
        let mut lines = Vec::new();
        for (key, _) in self.core.who_has(None) {
            lines.extend(self.core.describe_task(&key));
        }
        for slot in &self.slots {
            let worker = slot
                .worker
                .as_ref()
                .map(|worker| (worker.status, worker.describe()));
            lines.push(format!("{} {worker:?}", slot.address));
        }
        lines.join("\n")
    }
}

const STREAM_FROM_CLIENT: u64 = 1 << 40;
const STREAM_TO_CLIENT: u64 = 2 << 40;

fn stream_up(slot: usize, life: u64) -> u64 {
    (slot as u64) << 32 | life << 1
}

fn stream_down(slot: usize, life: u64) -> u64 {
    stream_up(slot, life) | 1
}

/// Whether the run is not over before this has happened.
fn counts(event: &Event) -> bool {
    match event {
        Event::FindMissing(..) | Event::Heartbeat(..) | Event::Tick => false,
        Event::ToScheduler(..)
        | Event::StreamBroken(..)
        | Event::ToWorker(..)
        | Event::Executed(..)
        | Event::Seceded(..)
        | Event::FetchArrives { .. }
        | Event::FetchAnswer { .. }
        | Event::FetchBusy { .. }
        | Event::Start(..)
        | Event::FromClient(..)
        | Event::GraphFrom(..)
        | Event::ClientGone(..)
        | Event::ToClient(..)
        | Event::Submit
        | Event::Trouble
        | Event::Recover => true,
    }
}

fn metrics() -> Value {
    map! {
        "bandwidth" => map! {"total" => 100_000_000},
        "memory" => 1_000_000,
        "spilled_bytes" => map! {"memory" => 0, "disk" => 0},
    }
}
