//! Scenarios of the core: given a worker, when something happens, expect what it says and does.
//!
//! [`Scene`] is the one helper. What came of an event is read as short lines: `run a`, `ask p2 for a`, `finished a`.

mod cancelled;
mod fetching;
mod memory;
mod replicas;
mod runs;
mod stealing;

use crate::{
    Action, Check, Config, Effects, Event, Executed, ExecutionId, GatherId, GatherOutcome,
    Gathered, Outcome, Source, SpillOutcome, TaskError, Time, UpdateData, UpdateId, ValueId,
    Worker,
};
use protocol::messages::{Action as Doing, StartStop};
use protocol::messages::{
    ComputeTask, FromWorker, KeyOrder, KeysOrder, Priority, Replica, Replicas, StatusOrder,
    WorkerGone, WorkerStatus,
};
use protocol::{Key, Payload, Text, Value};
use smallvec::smallvec;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A worker whose surroundings do what the test says. Peers are called `p2`, `p3` …; it is `p1` itself.
struct Scene {
    core: Worker,
    fx: Effects,
    now: Time,
    runs_made: i64,
    /// The latest run of each task.
    runs: BTreeMap<String, ExecutionId>,
    /// The latest request to each peer.
    requests: BTreeMap<String, GatherId>,
    /// The latest value of each key.
    values: BTreeMap<String, ValueId>,
}

/// An order in the making.
struct Order(ComputeTask);

fn address(peer: &str) -> String {
    format!("tcp://10.0.0.{}:4000", peer.trim_start_matches('p'))
}

fn peer_of(address: &str) -> String {
    let host = protocol::address::host_of(address);
    format!("p{}", host.rsplit('.').next().unwrap_or_default())
}

fn keys(names: &[&str]) -> Vec<Key> {
    names.iter().map(|name| Key::str(name)).collect()
}

fn named(keys: &[Key]) -> String {
    let names: Vec<&str> = keys.iter().filter_map(Key::as_str).collect();
    names.join("+")
}

fn replica(key: &str, nbytes: u64, holders: &[&str]) -> Replica {
    Replica {
        key: Key::str(key),
        nbytes: Some(nbytes),
        holders: holders
            .iter()
            .map(|peer| Text::from(address(peer)))
            .collect(),
    }
}

fn error(text: &'static str) -> TaskError {
    TaskError {
        exception: Value::text(text),
        traceback: Value::Nil,
        exception_text: Text::from_static(text),
        traceback_text: Text::default(),
    }
}

fn result(nbytes: u64) -> Outcome {
    Outcome::Finished {
        nbytes,
        value_type: None,
        typename: Text::from_static("int"),
    }
}

/// A task that needs nothing.
fn task(name: &str) -> Order {
    Order(ComputeTask {
        key: Key::str(name),
        run_id: 0,
        priority: Priority([0.0, 0.0, 0.0]),
        dependencies: Vec::new(),
        run_spec: Some(Payload::pickled(b".", Vec::new())),
        resource_restrictions: Vec::new(),
        actor: false,
        annotations: Value::Nil,
        span_id: None,
        stimulus_id: Text::from_static("compute"),
    })
}

impl Order {
    /// With an input of so many bytes that these peers have.
    fn needing(mut self, key: &str, nbytes: u64, holders: &[&str]) -> Self {
        self.0.dependencies.push(replica(key, nbytes, holders));
        self
    }

    fn priority(mut self, number: f64) -> Self {
        self.0.priority = Priority([number, 0.0, 0.0]);
        self
    }

    fn with(mut self, resource: &str, amount: f64) -> Self {
        let resource = Text::from(resource);
        self.0.resource_restrictions.push((resource, amount));
        self
    }
}

impl Scene {
    fn new() -> Self {
        Self::with(|_| {})
    }

    /// A running worker of one thread, unless `change` says otherwise.
    fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::new(&address("p1"), 1);
        change(&mut config);
        let now = Time::from_seconds(1000.0);
        let mut scene = Self {
            core: Worker::new(config, 7, Check::EveryEvent, now),
            fx: Effects::default(),
            now,
            runs_made: 0,
            runs: BTreeMap::new(),
            requests: BTreeMap::new(),
            values: BTreeMap::new(),
        };
        scene.status(WorkerStatus::Running);
        scene
    }

    fn happen(&mut self, events: Vec<Event>) -> Vec<String> {
        self.core.handle(self.now, events, &mut self.fx);
        let messages: Vec<FromWorker> = self.fx.drain_messages().collect();
        let actions: Vec<Action> = self.fx.drain_actions().collect();
        let mut lines: Vec<String> = messages.iter().map(said).collect();
        lines.extend(actions.into_iter().filter_map(|action| self.done(action)));
        lines
    }

    fn done(&mut self, action: Action) -> Option<String> {
        let name = |key: &Key| key.as_str().unwrap_or_default().to_owned();
        Some(match action {
            Action::Execute(run) => {
                let name = name(&run.order.key);
                self.runs.insert(name.clone(), run.id);
                format!("run {name}")
            }
            Action::CancelExecution { .. } => "cancel".to_owned(),
            Action::RecallExecution { .. } => "recall".to_owned(),
            Action::Gather(gather) => {
                let peer = peer_of(&gather.peer);
                self.requests.insert(peer.clone(), gather.id);
                format!("ask {peer} for {}", named(&gather.keys))
            }
            Action::RetryBusyPeerLater { peer, .. } => format!("retry {} later", peer_of(&peer)),
            Action::ForgetPeer { peer } => format!("forget {}", peer_of(&peer)),
            Action::Store { key, value, source } => {
                self.values.insert(name(&key), value);
                match source {
                    Source::Gather(_) => format!("keep {}", name(&key)),
                    Source::Update(_) => format!("keep new {}", name(&key)),
                }
            }
            Action::Free { key, .. } => format!("free {}", name(&key)),
            Action::Spill { key, value, .. } => {
                self.values.insert(name(&key), value);
                format!("spill {}", name(&key))
            }
            Action::DropMemoryCopy { key, .. } => format!("{} is on disk", name(&key)),
            Action::DropDiskCopy { key, .. } => format!("{} is not on disk", name(&key)),
            Action::TerminateExecutor { force: false, .. } => "terminate".to_owned(),
            Action::TerminateExecutor { force: true, .. } => "kill".to_owned(),
            Action::Transitioned { key, start, finish } => {
                format!("{} {start} -> {finish}", name(&key))
            }
            Action::CollectGarbage | Action::StatusChanged(_) | Action::Log { .. } => return None,
        })
    }

    fn order(&mut self, order: Order) -> Event {
        self.runs_made += 1;
        let mut task = order.0;
        task.run_id = self.runs_made;
        Event::ComputeTask(Arc::new(task))
    }

    fn compute(&mut self, order: Order) -> Vec<String> {
        let event = self.order(order);
        self.happen(vec![event])
    }

    /// In one batch.
    fn compute_all(&mut self, orders: Vec<Order>) -> Vec<String> {
        let events = orders.into_iter().map(|order| self.order(order)).collect();
        self.happen(events)
    }

    fn run_of(&self, name: &str) -> ExecutionId {
        self.runs[name]
    }

    fn end(&mut self, execution: ExecutionId, outcome: Outcome) -> Vec<String> {
        self.happen(vec![Event::Executed(Box::new(Executed {
            execution,
            outcome,
            thread: Some(1),
            startstops: smallvec![],
            metadata: Value::Nil,
        }))])
    }

    fn finish_run(&mut self, name: &str, execution: ExecutionId, nbytes: u64) -> Vec<String> {
        self.values.insert(name.to_owned(), execution.into());
        self.end(execution, result(nbytes))
    }

    /// It has computed for so long.
    fn finish_after(&mut self, name: &str, seconds: f64) -> Vec<String> {
        let execution = self.run_of(name);
        self.happen(vec![Event::Executed(Box::new(Executed {
            execution,
            outcome: result(1),
            thread: Some(1),
            startstops: smallvec![StartStop {
                action: Doing::Compute,
                start: 5.0,
                stop: 5.0 + seconds,
                source: None,
            }],
            metadata: Value::Nil,
        }))])
    }

    fn finish_sized(&mut self, name: &str, nbytes: u64) -> Vec<String> {
        self.finish_run(name, self.run_of(name), nbytes)
    }

    fn finish(&mut self, name: &str) -> Vec<String> {
        self.finish_sized(name, 28)
    }

    fn secede(&mut self, name: &str) -> Vec<String> {
        let execution = self.run_of(name);
        self.happen(vec![Event::Seceded {
            execution,
            compute_duration_seconds: 0.5,
        }])
    }

    fn gathered(&mut self, peer: &str, outcome: GatherOutcome) -> Vec<String> {
        let gather = self.requests[peer];
        self.happen(vec![Event::Gathered(Box::new(Gathered {
            gather,
            outcome,
            start_seconds: 1.0,
            stop_seconds: 2.0,
        }))])
    }

    /// The peer answers with these.
    fn receive(&mut self, peer: &str, names: &[&str]) -> Vec<String> {
        let received = keys(names).into_iter().map(|key| (key, 10)).collect();
        self.gathered(peer, GatherOutcome::Received(received))
    }

    fn free(&mut self, names: &[&str]) -> Vec<String> {
        self.happen(vec![Event::FreeKeys(KeysOrder {
            keys: keys(names),
            stimulus_id: Text::from_static("free"),
        })])
    }

    fn remove_replicas(&mut self, names: &[&str]) -> Vec<String> {
        self.happen(vec![Event::RemoveReplicas(KeysOrder {
            keys: keys(names),
            stimulus_id: Text::from_static("remove"),
        })])
    }

    fn acquire(&mut self, replicas: Vec<Replica>) -> Vec<String> {
        let stimulus_id = Text::from_static("acquire");
        self.happen(vec![Event::AcquireReplicas(Replicas {
            replicas,
            stimulus_id,
        })])
    }

    fn refresh(&mut self, key: &str, holders: &[&str]) -> Vec<String> {
        let mut replica = replica(key, 0, holders);
        replica.nbytes = None;
        self.happen(vec![Event::RefreshWhoHas(Replicas {
            replicas: vec![replica],
            stimulus_id: Text::from_static("refresh"),
        })])
    }

    fn steal(&mut self, name: &str) -> Vec<String> {
        self.happen(vec![Event::StealRequest(KeyOrder {
            key: Key::str(name),
            stimulus_id: Text::from_static("steal"),
        })])
    }

    fn remove_worker(&mut self, peer: &str) -> Vec<String> {
        self.happen(vec![Event::RemoveWorker(WorkerGone {
            worker: Text::from(address(peer)),
            stimulus_id: Text::from_static("gone"),
        })])
    }

    fn find_missing(&mut self) -> Vec<String> {
        self.happen(vec![Event::FindMissing])
    }

    fn retry_busy(&mut self, peer: &str) -> Vec<String> {
        let peer = Arc::from(address(peer));
        self.happen(vec![Event::RetryBusyPeer { peer }])
    }

    fn status(&mut self, status: WorkerStatus) -> Vec<String> {
        self.happen(vec![Event::SetStatus(status)])
    }

    fn order_status(&mut self, status: &'static str) -> Vec<String> {
        self.happen(vec![Event::StatusOrdered(StatusOrder {
            status: Text::from_static(status),
            stimulus_id: Text::from_static("ordered"),
        })])
    }

    fn bring(&mut self, name: &str, nbytes: u64) -> Vec<String> {
        self.happen(vec![Event::UpdateData(UpdateData {
            update: UpdateId(1),
            data: vec![(Key::str(name), nbytes)],
            stimulus_id: Text::from_static("update"),
        })])
    }

    fn spilled(&mut self, name: &str, outcome: SpillOutcome) -> Vec<String> {
        self.happen(vec![Event::Spilled {
            key: Key::str(name),
            value: self.values[name],
            outcome,
        }])
    }

    fn measure(&mut self, process_bytes: u64) -> Vec<String> {
        self.happen(vec![Event::MemoryMeasured { process_bytes }])
    }

    fn state(&self, name: &str) -> Option<&'static str> {
        self.core.state_of(&Key::str(name))
    }
}

fn said(message: &FromWorker) -> String {
    let name = |key: &Key| key.as_str().unwrap_or_default().to_owned();
    match message {
        FromWorker::TaskFinished(it) => format!("finished {} of {}", name(&it.key), it.run_id),
        FromWorker::TaskErred(it) => {
            format!(
                "erred {} of {}: {}",
                name(&it.key),
                it.run_id,
                it.exception_text
            )
        }
        FromWorker::ReleaseWorkerData(it) => format!("released {}", name(&it.key)),
        FromWorker::AddKeys(it) => format!("added {}", named(&it.keys)),
        FromWorker::LongRunning(it) => {
            let run = it.run_id.unwrap_or_default();
            format!("long-running {} of {run}", name(&it.key))
        }
        FromWorker::Reschedule(it) => format!("reschedule {}", name(&it.key)),
        FromWorker::RequestRefreshWhoHas(it) => format!("who has {}", named(&it.keys)),
        FromWorker::StealResponse(it) => match &it.state {
            Some(state) => format!("thief of {}: {state}", name(&it.key)),
            None => format!("thief of {}: unknown", name(&it.key)),
        },
        FromWorker::WorkerStatusChange(it) => format!("status {}", it.status),
        FromWorker::LogEvent(_)
        | FromWorker::KeepAlive
        | FromWorker::CloseStream
        | FromWorker::Other { .. } => "something else".to_owned(),
    }
}
