//! The machine: what it holds, and what every batch of events begins and ends with.
//!
//! Invariant: between batches nothing that could run or be fetched waits for anything but a thread, a resource, a peer or
//! a limit.

use crate::config::{Check, Config};
use crate::durations::Durations;
use crate::effects::{Action, Effects, LogLevel};
use crate::events::Event;
use crate::gathers::Gathers;
use crate::ids::{ExecutionId, GatherId, Time, ValueId};
use crate::kinds::Kinds;
use crate::peers::Peers;
use crate::policies::memory::MemoryPolicy;
use crate::queues::Queues;
use crate::runs::Runs;
use crate::store::Store;
use crate::story::Story;
use crate::task::{PHASES, Phase, State, TaskId, Tasks};
use protocol::address::host_of;
use protocol::messages::{AddKeys, FromWorker, WorkerStatus};
use protocol::{Key, Text};
use rand_pcg::Pcg64Mcg;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Decides what a worker fetches, runs, keeps, spills and drops.
///
/// An executor that dies takes its values and runs with it: the worker is then lost as far as the scheduler can tell, and
/// this value is dropped with it. The next executor begins with a new one.
pub struct Worker {
    pub(crate) config: Config,
    pub(crate) own_host: Arc<str>,
    pub(crate) check: Check,
    pub(crate) now: Time,
    /// What the current event is called in messages.
    pub(crate) stimulus: Text,
    /// The last name made here, which many events of one moment share.
    made_name: (&'static str, Time, Text),
    pub(crate) chance: Pcg64Mcg,
    pub(crate) status: WorkerStatus,
    pub(crate) tasks: Tasks,
    pub(crate) peers: Peers,
    pub(crate) queues: Queues,
    pub(crate) runs: Runs,
    pub(crate) durations: Durations,
    pub(crate) gathers: Gathers,
    pub(crate) store: Store,
    pub(crate) memory: MemoryPolicy,
    pub(crate) kinds: Kinds,
    pub(crate) missing: BTreeSet<TaskId>,
    /// Whose holders the scheduler is to be asked for at the end of the batch.
    pub(crate) questions: Vec<Key>,
    /// Falls with each order.
    pub(crate) arrival: i64,
    /// The last number given to an execution, a value or a request.
    number: u64,
    pub(crate) counts: [usize; PHASES.len()],
    pub(crate) story: Story,
    pub(crate) watched: Option<Vec<(Key, &'static str, &'static str)>>,
}

impl Worker {
    /// A worker that knows nothing and is not running yet.
    pub fn new(config: Config, seed: u64, check: Check, now: Time) -> Self {
        Self {
            check,
            now,
            own_host: Arc::from(host_of(&config.address)),
            stimulus: Text::from_static("start"),
            made_name: ("", now, Text::default()),
            chance: Pcg64Mcg::new((u128::from(seed) << 1) | 1),
            status: WorkerStatus::Init,
            tasks: Tasks::default(),
            peers: Peers::default(),
            queues: Queues::new(&config.resources),
            runs: Runs::default(),
            durations: Durations::default(),
            gathers: Gathers::default(),
            store: Store::default(),
            memory: MemoryPolicy::new(&config),
            kinds: Kinds::default(),
            missing: BTreeSet::new(),
            questions: Vec::new(),
            arrival: 0,
            number: 0,
            counts: [0; PHASES.len()],
            story: Story::new(config.low_level_log_length),
            watched: None,
            config,
        }
    }

    /// Applies a batch of events and records what the outside must now do. An empty batch lets time pass.
    ///
    /// What runs and what is fetched is chosen once, after the whole batch, so that the most urgent of it comes first.
    pub fn handle(&mut self, now: Time, events: impl IntoIterator<Item = Event>, fx: &mut Effects) {
        self.now = self.now.max(now);
        for event in events {
            self.apply(event, fx);
        }
        self.end(fx);
    }

    fn apply(&mut self, event: Event, fx: &mut Effects) {
        match event {
            Event::ComputeTask(order) => self.compute_task(order, fx),
            Event::FreeKeys(order) => self.free_keys(&order, fx),
            Event::RemoveReplicas(order) => self.remove_replicas(&order, fx),
            Event::AcquireReplicas(replicas) => self.acquire_replicas(&replicas, fx),
            Event::RefreshWhoHas(replicas) => self.refresh_who_has(&replicas, fx),
            Event::StealRequest(order) => self.steal_request(&order, fx),
            Event::CancelCompute(order) => self.cancel_compute(&order, fx),
            Event::RemoveWorker(gone) => self.remove_worker(&gone, fx),
            Event::StatusOrdered(order) => self.status_ordered(&order, fx),
            Event::Gathered(gathered) => self.gathered(*gathered, fx),
            Event::RetryBusyPeer { peer } => self.retry_busy_peer(&peer),
            Event::FindMissing => self.find_missing(),
            Event::Executed(executed) => self.executed(*executed, fx),
            Event::Seceded {
                execution,
                compute_duration_seconds,
            } => self.seceded(execution, compute_duration_seconds, fx),
            Event::Rejoined { execution } => self.rejoined(execution),
            Event::UpdateData(update) => self.update_data(update, fx),
            Event::MemoryMeasured { process_bytes } => self.memory_measured(process_bytes, fx),
            Event::Spilled {
                key,
                value,
                outcome,
            } => self.spilled(key, value, outcome, fx),
            Event::Relocated {
                key,
                value,
                location,
            } => self.relocated(&key, value, location, fx),
            Event::Lost { key, value } => self.lost(&key, value, fx),
            Event::SetStatus(status) => self.set_status(status, fx),
            Event::SetResources(totals) => {
                for (name, total) in totals {
                    self.queues.set_total(&name, total);
                }
            }
            Event::WatchTransitions(watch) => self.watched = watch.then(Vec::new),
        }
    }

    /// Every batch ends here.
    fn end(&mut self, fx: &mut Effects) {
        self.recall_stuck_runs(fx);
        self.start_runs(fx);
        self.start_gathers(fx);
        self.keep_under_target(fx);
        self.ask_for_holders(fx);
        if let Some(watched) = &mut self.watched {
            for (key, start, finish) in watched.drain(..) {
                fx.act(Action::Transitioned { key, start, finish });
            }
        }
        if self.check == Check::EveryEvent {
            self.check_invariants();
        }
    }

    /// Events that came with a name use that; it is not kept beyond the batch.
    pub(crate) fn begin(&mut self, stimulus: &Text) {
        self.stimulus = stimulus.clone();
    }

    /// A name for an event that came without one.
    pub(crate) fn begin_named(&mut self, name: &'static str) {
        if self.made_name.0 != name || self.made_name.1 != self.now {
            self.made_name = (name, self.now, self.now.stamp(name));
        }
        self.stimulus = self.made_name.2.clone();
    }

    pub(crate) fn next_execution(&mut self) -> ExecutionId {
        ExecutionId(self.next_number())
    }

    pub(crate) fn next_value(&mut self) -> ValueId {
        ValueId(self.next_number())
    }

    pub(crate) fn next_gather(&mut self) -> GatherId {
        GatherId(self.next_number())
    }

    /// Executions and values share one sequence, since results are named by their executions.
    fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// New work begins only in status running; what has begun goes on in any.
    pub(crate) fn is_running(&self) -> bool {
        self.status == WorkerStatus::Running
    }

    /// A task of this name, new or known.
    pub(crate) fn task_of(&mut self, key: &Key) -> TaskId {
        let before = self.tasks.len();
        let task = self.tasks.find_or_add(key);
        if self.tasks.len() > before {
            self.counts[Phase::Released as usize] += 1;
        }
        task
    }

    /// The one place where a state changes.
    pub(crate) fn set_state(&mut self, task: TaskId, state: State) -> State {
        let own = &mut self.tasks[task];
        let (start, finish) = (own.phase(), state.phase());
        let before = std::mem::replace(&mut own.state, state);
        if start != finish {
            self.counts[start as usize] -= 1;
            self.counts[finish as usize] += 1;
            self.note(task, start.name(), finish.name());
        }
        before
    }

    fn note(&mut self, task: TaskId, start: &'static str, finish: &'static str) {
        if self.story.keeps_anything() {
            let key = self.tasks[task].key.clone();
            self.story
                .push(key, start, finish, &self.stimulus, self.now);
        }
        if let Some(watched) = &mut self.watched {
            watched.push((self.tasks[task].key.clone(), start, finish));
        }
    }

    /// Drops a released task that nothing needs and no run is left of.
    pub(crate) fn forget_if_idle(&mut self, task: TaskId) {
        let own = &self.tasks[task];
        let idle = own.phase() == Phase::Released && !own.is_wanted() && own.orphans == 0;
        if idle {
            self.note(task, Phase::Released.name(), "forgotten");
            self.counts[Phase::Released as usize] -= 1;
            self.tasks.remove(task);
        }
    }

    fn ask_for_holders(&mut self, fx: &mut Effects) {
        if self.questions.is_empty() {
            return;
        }
        let mut keys = std::mem::take(&mut self.questions);
        let mut asked = BTreeSet::new();
        keys.retain(|key| {
            let coming = |task| self.tasks[task].phase().is_coming();
            self.tasks.find(key).is_some_and(coming) && asked.insert(key.clone())
        });
        if !keys.is_empty() {
            fx.say(FromWorker::RequestRefreshWhoHas(AddKeys {
                keys,
                stimulus_id: self.stimulus.clone(),
            }));
        }
    }

    pub(crate) fn log(
        &self,
        level: LogLevel,
        message: &'static str,
        subject: impl ToString,
        fx: &mut Effects,
    ) {
        fx.act(Action::Log {
            level,
            message,
            subject: subject.to_string(),
        });
    }
}
