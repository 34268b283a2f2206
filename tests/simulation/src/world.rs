//! One run: the core, its peers, the network between them, and the faults.
//!
//! Streams keep their order but not their pace, so that what one peer says overtakes what another says.

mod network;
mod outcome;
mod scattering;
mod trouble;
mod unasked;

use crate::chance::Chance;
use crate::client::SimClient;
use crate::member::Member;
use crate::real_worker::{Later, Seen};
use crate::settings::{Settings, Workers};
use crate::timeline::Timeline;
use crate::workload::Workload;
use protocol::messages::{FromClient, FromWorker};
use protocol::{Key, Value, map};
use scattering::Scattering;
use scheduler_core::{
    Check, ClientId, Effects, Graph, Removal, Scheduler, ToClient, ToWorker, WorkerId,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
pub(crate) use unasked::UNASKED;
use unasked::Unasked;

/// What went wrong; a broken invariant panics instead.
#[derive(Clone, Debug)]
pub struct Failure(pub String);

#[derive(Clone, Debug, Default)]
pub struct Summary {
    pub events: u64,
    pub tasks_run: u64,
    pub deaths: u64,
    /// By real workers.
    pub seen: Seen,
}

impl Summary {
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.tasks_run += other.tasks_run;
        self.deaths += other.deaths;
        for (what, often) in &other.seen {
            *self.seen.entry(*what).or_default() += often;
        }
    }
}

enum Event {
    ToScheduler(WorkerId, Box<FromWorker>),
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
        from: Arc<str>,
        keys: Vec<Key>,
    },
    FindMissing(usize, u64),
    Later(usize, u64, Later),
    Unasked(usize, u64, Unasked),
    Heartbeat(usize, u64),
    Start(usize),
    FromClient(ClientId, Box<FromClient>),
    GraphFrom(ClientId, Box<Graph>),
    ClientGone(ClientId),
    ToClient(usize, ClientId, ToClient),
    Submit,
    ScatterAgain,
    Scattering(Scattering),
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
    worker: Option<Member>,
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
    /// Names of tasks that values were put under past the scheduler.
    put_over: BTreeSet<Key>,
    /// Values that are being scattered again.
    under_way: Vec<scattering::Value>,
    next_tick: Option<u64>,
}

/// Virtual time after which a run that has not come to rest hangs.
const PATIENCE_MS: u64 = 600_000;
/// What the scheduler may find out by its own timers must have happened by then.
const REST_MS: u64 = 90_000;

/// One run of one seed.
pub fn run(seed: u64, workers: Workers, verbose: bool) -> Result<Summary, Failure> {
    let mut chance = Chance::new(seed);
    let settings = Settings {
        verbose,
        ..Settings::drawn(&mut chance, workers)
    };
    let mut world = World::new(seed, chance, settings);
    world.schedule_everything();
    world.play(false)?;
    world.check_wishes_granted()?;
    world.check_books_agree()?;
    world.check_scattered_again()?;
    world.drop_what_is_held_in_secret();
    world.everybody_leaves();
    world.play(true)?;
    world.check_nothing_left()?;
    Ok(world.summed_up())
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
            put_over: BTreeSet::new(),
            under_way: Vec::new(),
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
        for _ in 0..self.settings.scatters_again {
            let after = self.chance.between(1000, self.settings.trouble_ends_ms);
            self.add(after, Event::ScatterAgain);
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
                .all(|slot| slot.worker.as_ref().is_none_or(Member::holds_nothing));
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
            Event::ToScheduler(worker, message) => self.worker_says(worker, *message),
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
            Event::FetchBusy {
                slot,
                life,
                from,
                keys,
            } => {
                self.with_worker(slot, life, |worker| worker.fetch_later(&from, &keys));
            }
            Event::Later(slot, life, what) => {
                self.with_worker(slot, life, |worker| worker.later(what));
            }
            Event::Unasked(slot, life, order) => self.unasked_order(slot, life, order),
            Event::FindMissing(slot, life) => self.find_missing(slot, life),
            Event::Heartbeat(slot, life) => self.heartbeat(slot, life),
            Event::Start(slot) => self.start_worker(slot),
            Event::FromClient(client, message) => self.client_says(client, *message),
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
            Event::ScatterAgain => self.scatter_again(),
            Event::Scattering(step) => self.scattering(step),
            Event::Trouble => self.trouble(),
            Event::Recover => self.recover(),
            Event::Tick => {
                self.next_tick = None;
                self.core.tick(now, &mut self.effects);
            }
        }
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
        | Event::Later(..)
        | Event::Unasked(..)
        | Event::Start(..)
        | Event::FromClient(..)
        | Event::GraphFrom(..)
        | Event::ClientGone(..)
        | Event::ToClient(..)
        | Event::Submit
        | Event::ScatterAgain
        | Event::Scattering(..)
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
