//! The machine: what it holds, and what every stimulus begins and ends with.
//!
//! Invariant: between stimuli no recommendation is open and every queue slot that could be filled is.

use crate::client::Clients;
use crate::collectors::Collector;
use crate::config::{Check, Config};
use crate::counters::Counters;
use crate::effects::{Action, Effects, LogLevel, TaskPriority, ToClient};
use crate::events::Topics;
use crate::group::{Groups, PrefixId};
use crate::ids::{ClientId, Time, WorkerId};
use crate::policies::retire::Retirements;
use crate::policies::timeouts::Timers;
use crate::recommendations::Recommendations;
use crate::story::Story;
use crate::task::{Phase, State, Task, TaskId, Tasks};
use crate::worker::Workers;
use indexmap::IndexMap;
use protocol::{Key, KeyBuildHasher, Text, Value};
use rand_pcg::Pcg64Mcg;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// Decides which worker runs which task.
pub struct Scheduler {
    pub(crate) config: Config,
    pub(crate) check: Check,
    pub(crate) now: Time,
    pub(crate) started: Time,
    /// What the current event is called in stories and messages.
    pub(crate) stimulus: Text,
    pub(crate) compute_stimulus: Option<Text>,
    pub(crate) chance: Pcg64Mcg,
    pub(crate) tasks: Tasks,
    pub(crate) groups: Groups,
    pub(crate) workers: Workers,
    pub(crate) clients: Clients,
    pub(crate) recommendations: Recommendations,
    pub(crate) queued: BTreeSet<QueuePlace>,
    pub(crate) unrunnable: BTreeMap<u32, (TaskId, Time)>,
    /// Numbers arrivals in `queued` and `unrunnable`.
    pub(crate) arrivals: u32,
    pub(crate) active_prefixes: Vec<PrefixId>,
    /// Bytes all workers have still to fetch.
    pub(crate) network_nbytes: u64,
    pub(crate) bandwidth: f64,
    pub(crate) runs: u64,
    /// Orders to drop a scattered value, to all workers together.
    pub(crate) scattered_freed: u64,
    /// Tasks ever given to a worker.
    pub(crate) n_tasks: u64,
    pub(crate) generation: f64,
    pub(crate) last_graph: Option<Time>,
    pub(crate) graphs_under_way: u32,
    pub(crate) metadata: IndexMap<Key, Value, KeyBuildHasher>,
    pub(crate) topics: Topics,
    pub(crate) story: Story,
    pub(crate) counters: Counters,
    pub(crate) timers: Timers,
    pub(crate) retirements: Retirements,
    pub(crate) collectors: Vec<Collector>,
    pub(crate) scratch: Vec<(u64, u64)>,
    pub(crate) scratch_round: u64,
}

/// A queued task in order of priority, then of arrival.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct QueuePlace {
    pub priority: TaskPriority,
    pub order: u32,
    pub task: TaskId,
}

impl Eq for QueuePlace {}

impl Ord for QueuePlace {
    fn cmp(&self, other: &Self) -> Ordering {
        compare_priority(&self.priority, &other.priority)
            .then(self.order.cmp(&other.order))
            .then(self.task.cmp(&other.task))
    }
}

impl PartialOrd for QueuePlace {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// As Python compares the tuples; no part is ever NaN.
pub(crate) fn compare_priority(left: &TaskPriority, right: &TaskPriority) -> Ordering {
    left.user
        .total_cmp(&right.user)
        .then(left.generation.total_cmp(&right.generation))
        .then(left.internal.cmp(&right.internal))
}

impl Scheduler {
    pub fn new(config: Config, seed: u64, check: Check, now: Time) -> Self {
        Self {
            check,
            now,
            started: now,
            stimulus: Text::from_static("start"),
            compute_stimulus: None,
            chance: Pcg64Mcg::new(u128::from(seed) << 1 | 1),
            tasks: Tasks::default(),
            groups: Groups::new(config.default_task_durations.clone()),
            workers: Workers::default(),
            clients: Clients::new(now),
            recommendations: Recommendations::default(),
            queued: BTreeSet::new(),
            unrunnable: BTreeMap::new(),
            arrivals: 0,
            active_prefixes: Vec::new(),
            network_nbytes: 0,
            bandwidth: config.bandwidth,
            runs: 0,
            scattered_freed: 0,
            n_tasks: 0,
            generation: 0.0,
            last_graph: None,
            graphs_under_way: 0,
            metadata: IndexMap::default(),
            topics: Topics::new(config.low_level_log_length),
            story: Story::new(config.low_level_log_length),
            counters: Counters::default(),
            timers: Timers::new(&config, now),
            retirements: Retirements::default(),
            collectors: Vec::new(),
            scratch: Vec::new(),
            scratch_round: 0,
            config,
        }
    }

    /// Every event starts here.
    pub(crate) fn begin(&mut self, now: Time, stimulus: Text) {
        if now != self.now {
            self.now = self.now.max(now);
            self.compute_stimulus = None;
        }
        // It is kept in the story; the frame it came in must not be.
        self.stimulus = stimulus.detached();
    }

    /// A name for an event that came without one.
    pub(crate) fn begin_named(&mut self, now: Time, name: &str) {
        let stimulus = now.stamp(name);
        self.begin(now, stimulus);
    }

    /// Every event ends here.
    pub(crate) fn end(&mut self) {
        self.tasks.bury();
        if self.check == Check::EveryEvent {
            self.check_invariants();
        }
    }

    /// Adds a recommendation.
    pub(crate) fn recommend(&mut self, task: TaskId, target: Phase) {
        self.recommendations.put(&mut self.tasks, task, target);
    }

    /// A new task in state released.
    pub(crate) fn add_task(&mut self, key: Key) -> TaskId {
        let group = self.groups.of_key(&key);
        self.groups.count_new(group);
        self.tasks.add(Task::new(key, group))
    }

    pub(crate) fn set_state(&mut self, task: TaskId, state: State) {
        let own = &mut self.tasks[task];
        let from = own.phase();
        own.state = state;
        self.groups.count_transition(own.group, from, state.phase());
        let done = matches!(state, State::Memory | State::Erred);
        if done && !self.collectors.is_empty() {
            self.collect_done(task, state.phase());
        }
    }

    /// The size of a result; an assumed one while unknown.
    pub(crate) fn size_of(&self, task: TaskId) -> u64 {
        match self.tasks[task].nbytes {
            crate::task::UNKNOWN_SIZE => self.config.default_data_size,
            known => known,
        }
    }

    /// Tells each connected client that wants the task.
    pub(crate) fn tell_wanters(
        &self,
        task: TaskId,
        fx: &mut Effects,
        message: impl Fn(&Self) -> ToClient,
    ) {
        for client in self.tasks[task].who_wants.iter() {
            if self.clients.is_connected(client) {
                fx.client(client, message(self));
            }
        }
    }

    pub(crate) fn tell_client(&self, client: ClientId, fx: &mut Effects, message: ToClient) {
        if self.clients.is_connected(client) {
            fx.client(client, message);
        }
    }

    pub(crate) fn free_key(&self, worker: WorkerId, key: &Key, fx: &mut Effects) {
        if self.workers.is_registered(worker) {
            fx.free_key(worker, key, &self.stimulus);
        }
    }

    pub(crate) fn log(
        &self,
        level: LogLevel,
        message: &'static str,
        subject: impl ToString,
        fx: &mut Effects,
    ) {
        let subject = subject.to_string();
        fx.action(Action::Log {
            level,
            message,
            subject,
        });
    }

    /// The name that compute-task messages of this moment carry.
    pub(crate) fn compute_stimulus(&mut self) -> Text {
        let now = self.now;
        self.compute_stimulus
            .get_or_insert_with(|| now.stamp("compute-task"))
            .clone()
    }
}
