//! Scenarios of the core: given a cluster, when something happens, expect what is said and where tasks are.
//!
//! [`Scene`] is the one helper. What was said is read as short lines: `run a`, `free a`, `a in memory`.

mod clients;
mod failures;
mod graphs;
mod losses;
mod pickled;
mod placed;
mod retiring;
mod runs;
mod splitting;
mod told;
mod waiting_for_time;

use crate::{
    Actors, Annotations, Check, ClientId, Config, Dep, Effects, Graph, GraphTask, Heartbeat,
    HeartbeatAnswer, Registration, Removal, RunSpec, Scheduler, SpecSlab, Time, ToClient, ToWorker,
    WorkerId, WorkerStatus,
};
use protocol::messages::{
    Action, AddKeys, CancelKeys, ClientKeys, FromClient, FromWorker, KeyEvent, LongRunning,
    StartStop, TaskErred, TaskFinished, WorkerStatusChange,
};
use protocol::{Key, Text, Value, map};
use smallvec::smallvec;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A core with peers that do what the test says.
struct Scene {
    core: Scheduler,
    fx: Effects,
    now: Time,
    /// Latest run of each key on each worker.
    runs: BTreeMap<(WorkerId, Key), i64>,
    to_workers: BTreeMap<WorkerId, Vec<ToWorker>>,
    to_clients: BTreeMap<ClientId, Vec<ToClient>>,
    actions: Vec<crate::Action>,
    workers_made: u32,
}

fn key(name: &str) -> Key {
    Key::str(name)
}

fn keys(names: &[&str]) -> Vec<Key> {
    names.iter().map(|name| key(name)).collect()
}

/// A graph from `("task", ["input", …])`; inputs that are no task of it are external. All are wanted.
fn graph(tasks: &[(&str, &[&str])]) -> Graph {
    let mut graph = Graph {
        fifo_timeout_ns: 100_000_000,
        ..Graph::default()
    };
    let slab = SpecSlab::new(bytes::Bytes::from_static(b"."), Vec::new());
    for (at, (name, inputs)) in tasks.iter().enumerate() {
        let start = graph.dependencies.len() as u32;
        for input in *inputs {
            graph
                .dependencies
                .push(match tasks.iter().position(|(own, _)| own == input) {
                    Some(at) => Dep::Task(at as u32),
                    None => Dep::External(key(input)),
                });
        }
        graph.tasks.push(GraphTask {
            key: key(name),
            dependencies: start..graph.dependencies.len() as u32,
            run_spec: Some(RunSpec {
                slab: Arc::clone(&slab),
                start: 0,
                len: 1,
            }),
            data_producer: false,
            is_barrier: false,
            annotations: None,
        });
        graph.internal_priority.push(at as i32);
        graph.keys.push(key(name));
    }
    graph
}

impl Graph {
    fn wanting(mut self, names: &[&str]) -> Self {
        self.keys = keys(names);
        self
    }

    fn annotated(mut self, name: &str, annotations: Annotations) -> Self {
        let task = self
            .tasks
            .iter_mut()
            .find(|task| task.key == key(name))
            .unwrap();
        task.annotations = Some(Arc::new(annotations));
        self
    }

    fn with_actors(mut self, names: &[&str]) -> Self {
        self.actors = Actors::These(keys(names));
        self
    }
}

impl Scene {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        let now = Time::from_seconds(1000.0);
        Self {
            core: Scheduler::new(config, 7, Check::EveryEvent, now),
            fx: Effects::default(),
            now,
            runs: BTreeMap::new(),
            to_workers: BTreeMap::new(),
            to_clients: BTreeMap::new(),
            actions: Vec::new(),
            workers_made: 0,
        }
    }

    fn registration(&self, number: u32, nthreads: u32) -> Registration {
        Registration {
            address: Arc::from(format!("tcp://10.0.0.{number}:4000")),
            host: Arc::from(format!("10.0.0.{number}")),
            name: Value::Int(i64::from(number)),
            nthreads,
            memory_limit: Some(1 << 30),
            resources: Vec::new(),
            local_directory: Arc::from("/tmp"),
            services: Value::Nil,
            nanny: None,
            pid: 4711,
            versions: Value::Nil,
            metrics: metrics(0),
            extra: Value::Nil,
            server_id: Arc::from(format!("Worker-{number}")),
            status: WorkerStatus::Init,
            now_seconds: self.now.seconds(),
            stimulus_id: Text::from_static("worker-connect"),
        }
    }

    /// A running worker; the first is number 1 at 10.0.0.1 and calls itself 1.
    fn worker(&mut self, nthreads: u32) -> WorkerId {
        self.workers_made += 1;
        let registration = self.registration(self.workers_made, nthreads);
        self.join(registration)
    }

    fn join(&mut self, registration: Registration) -> WorkerId {
        let worker = self
            .core
            .add_worker(registration, self.now, &mut self.fx)
            .unwrap();
        self.says_status(worker, "running");
        worker
    }

    fn client(&mut self) -> ClientId {
        let name = format!("Client-{}", self.core.client_count() + 1);
        let client = self
            .core
            .add_client(&name, Value::Nil, self.now, &mut self.fx);
        self.take();
        client
    }

    /// Sorts what the core wants said.
    fn take(&mut self) {
        for (worker, messages) in self.fx.drain_workers() {
            for message in messages {
                if let ToWorker::ComputeTask(order) = &message {
                    self.runs
                        .insert((worker, order.key.clone()), order.run_id as i64);
                }
                self.to_workers.entry(worker).or_default().push(message);
            }
        }
        for (client, messages) in self.fx.drain_clients() {
            self.to_clients.entry(client).or_default().extend(messages);
        }
        self.actions.extend(self.fx.drain_actions());
    }

    fn submit(&mut self, client: ClientId, graph: Graph) {
        self.core
            .update_graph(client, graph, self.now, &mut self.fx);
        self.take();
    }

    fn hears(&mut self, worker: WorkerId, message: FromWorker) {
        self.core
            .worker_message(worker, message, self.now, &mut self.fx);
        self.take();
    }

    fn run_of(&self, worker: WorkerId, name: &str) -> i64 {
        self.runs.get(&(worker, key(name))).copied().unwrap_or(-1)
    }

    fn finishes(&mut self, worker: WorkerId, name: &str) {
        self.finishes_with(worker, name, self.run_of(worker, name), 100);
    }

    fn finishes_with(&mut self, worker: WorkerId, name: &str, run_id: i64, nbytes: u64) {
        let message = TaskFinished {
            key: key(name),
            run_id,
            nbytes: Some(nbytes),
            value_type: Some(bytes::Bytes::from_static(b"pickled int")),
            typename: Text::from_static("int"),
            metadata: Value::Nil,
            thread: Value::Int(1),
            startstops: smallvec![StartStop {
                action: Action::Compute,
                start: 0.0,
                stop: 0.1,
                source: None
            }],
            stimulus_id: Text::from_static("task-finished"),
        };
        self.hears(worker, FromWorker::TaskFinished(message));
    }

    fn fails(&mut self, worker: WorkerId, name: &str) {
        let message = TaskErred {
            key: key(name),
            run_id: self.run_of(worker, name),
            exception: Value::from(format!("{name} broke")),
            traceback: Value::Nil,
            exception_text: Text::from_static("broke"),
            traceback_text: Text::default(),
            thread: Value::Nil,
            startstops: smallvec![],
            stimulus_id: Text::from_static("task-erred"),
        };
        self.hears(worker, FromWorker::TaskErred(message));
    }

    fn says_status(&mut self, worker: WorkerId, status: &'static str) {
        let message = WorkerStatusChange {
            status: Text::from_static(status),
            stimulus_id: Text::from_static("worker-status-change"),
        };
        self.hears(worker, FromWorker::WorkerStatusChange(message));
    }

    fn adds(&mut self, worker: WorkerId, names: &[&str]) {
        let message = AddKeys {
            keys: keys(names),
            stimulus_id: Text::from_static("add-keys"),
        };
        self.hears(worker, FromWorker::AddKeys(message));
    }

    fn drops(&mut self, worker: WorkerId, name: &str) {
        let message = KeyEvent {
            key: key(name),
            stimulus_id: Text::from_static("release-worker-data"),
        };
        self.hears(worker, FromWorker::ReleaseWorkerData(message));
    }

    /// Drops data because it was told to.
    fn obeys(&mut self, worker: WorkerId) {
        self.take();
        let told = self.to_workers.get(&worker).into_iter().flatten();
        let orders: Vec<(Key, Text)> = told
            .filter_map(|message| match message {
                ToWorker::FreeKeys { keys, stimulus_id } => Some((keys, stimulus_id)),
                _ => None,
            })
            .flat_map(|(keys, stimulus)| keys.iter().map(|key| (key.clone(), stimulus.clone())))
            .collect();
        for (key, stimulus_id) in orders {
            self.hears(
                worker,
                FromWorker::ReleaseWorkerData(KeyEvent { key, stimulus_id }),
            );
        }
    }

    fn reschedules(&mut self, worker: WorkerId, name: &str) {
        let message = KeyEvent {
            key: key(name),
            stimulus_id: Text::from_static("reschedule"),
        };
        self.hears(worker, FromWorker::Reschedule(message));
    }

    fn secedes(&mut self, worker: WorkerId, name: &str) {
        let message = LongRunning {
            key: key(name),
            run_id: Some(self.run_of(worker, name)),
            compute_duration: Some(0.2),
            stimulus_id: Text::from_static("long-running"),
        };
        self.hears(worker, FromWorker::LongRunning(message));
    }

    fn reports(
        &mut self,
        worker: WorkerId,
        executing: &[(&str, f64)],
        memory: u64,
    ) -> HeartbeatAnswer {
        let address = self.core.worker(worker).map(|own| own.address);
        let report = Heartbeat {
            now_seconds: self.now.seconds(),
            metrics: metrics(memory),
            executing: executing
                .iter()
                .map(|(name, seconds)| (key(name), *seconds))
                .collect(),
            host_info: Value::Nil,
        };
        let address = address.unwrap_or_else(|| Arc::from("tcp://10.9.9.9:1"));
        self.core.heartbeat(&address, report, self.now)
    }

    fn loses(&mut self, worker: WorkerId) {
        self.core
            .remove_worker(worker, Removal::connection_lost(), self.now, &mut self.fx);
        self.take();
    }

    fn releases(&mut self, client: ClientId, names: &[&str]) {
        let message = FromClient::ClientReleasesKeys(ClientKeys {
            keys: keys(names),
            client: None,
        });
        self.client_says(client, message);
    }

    fn cancels(&mut self, client: ClientId, names: &[&str], force: bool) {
        let message = FromClient::CancelKeys(CancelKeys {
            keys: keys(names),
            force,
            reason: Value::Nil,
            msg: Value::Nil,
        });
        self.client_says(client, message);
    }

    fn client_says(&mut self, client: ClientId, message: FromClient) {
        self.core
            .client_message(client, message, self.now, &mut self.fx);
        self.take();
    }

    fn scatters(&mut self, client: ClientId, worker: WorkerId, name: &str) {
        let address = self.core.worker(worker).unwrap().address;
        let who_has = [(key(name), vec![Text::from(&*address)])];
        self.core.update_data(
            &who_has,
            &[(key(name), 50)],
            Some(client),
            self.now,
            &mut self.fx,
        );
        self.take();
    }

    /// Time passes, in steps of the core's own timers.
    fn passes(&mut self, seconds: f64) {
        let end = self.now.plus_seconds(seconds);
        while let Some(next) = self.core.next_tick().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.core.tick(self.now, &mut self.fx);
            self.take();
        }
        self.now = end;
    }

    fn status(&self, name: &str) -> Option<&'static str> {
        self.core.task_status(&key(name))
    }

    /// What a worker has been told since this was last asked.
    fn told(&mut self, worker: WorkerId) -> Vec<String> {
        self.take();
        let messages = self.to_workers.remove(&worker).unwrap_or_default();
        messages.iter().flat_map(lines_to_worker).collect()
    }

    /// What a client has been told since this was last asked.
    fn heard(&mut self, client: ClientId) -> Vec<String> {
        self.take();
        let messages = self.to_clients.remove(&client).unwrap_or_default();
        messages.iter().flat_map(lines_to_client).collect()
    }

    fn held_by(&self, name: &str) -> Vec<WorkerId> {
        let mut holders = self.core.holders(&key(name));
        holders.sort();
        holders
    }
}

fn metrics(memory: u64) -> Value {
    map! {
        "bandwidth" => map! {"total" => 100_000_000},
        "memory" => memory,
        "spilled_bytes" => map! {"memory" => 0, "disk" => 0},
    }
}

fn each(verb: &str, keys: &[Key]) -> Vec<String> {
    keys.iter().map(|key| format!("{verb} {key}")).collect()
}

fn lines_to_worker(message: &ToWorker) -> Vec<String> {
    let named = |who_has: &crate::Replicas| {
        who_has
            .iter()
            .map(|(key, _)| key.clone())
            .collect::<Vec<_>>()
    };
    match message {
        ToWorker::ComputeTask(order) => vec![format!("run {}", order.key)],
        ToWorker::FreeKeys { keys, .. } => each("free", keys),
        ToWorker::RemoveReplicas { keys, .. } => each("drop", keys),
        ToWorker::AcquireReplicas { who_has, .. } => each("acquire", &named(who_has)),
        ToWorker::RefreshWhoHas { who_has, .. } => each("refresh", &named(who_has)),
        ToWorker::StatusChange { status, .. } => vec![format!("be {}", status.name())],
        ToWorker::RemoveWorker { .. } => Vec::new(),
        ToWorker::Close { .. } => vec!["close".to_owned()],
        ToWorker::CloseStream => vec!["end".to_owned()],
    }
}

fn lines_to_client(message: &ToClient) -> Vec<String> {
    match message {
        ToClient::KeyInMemory { key, .. } => vec![format!("{key} in memory")],
        ToClient::TaskErred { key, exception, .. } => {
            vec![format!(
                "{key} erred: {}",
                exception.as_str().unwrap_or("pickled")
            )]
        }
        ToClient::LostData { key } => vec![format!("{key} lost")],
        ToClient::CancelledKeys { keys, .. } => {
            keys.iter().map(|key| format!("{key} cancelled")).collect()
        }
        ToClient::TaskRetried { key } => vec![format!("{key} retried")],
        ToClient::Restart => vec!["restart".to_owned()],
        ToClient::Event { topic, .. } => vec![format!("event {topic}")],
        ToClient::AdjustHeartbeatInterval { seconds } => vec![format!("heartbeat every {seconds}")],
    }
}
