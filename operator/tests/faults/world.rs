//! One job, a cluster that moves a step a second, and operators that come and go.

use crate::kubelet::{self, Cluster, FakeSchedulers, name_of};
use crate::server::{Fault, Server};
use crate::storage::{NAMESPACE, is_over};
use clap::Parser;
use contract::status::{JobStatus, Phase, condition};
use contract::timestamp::Timestamp;
use operator::clock::Clock;
use operator::{Config, Operator, OperatorArgs};
use plan::life::Time;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

const START: Time = Time(1_800_000_000);
pub const JOB: &str = "{job: {command: [a]}, workers: {numberOfWorkers: 2}}";

pub struct World {
    pub server: Server,
    pub cluster: Arc<Mutex<Cluster>>,
    clock: Clock,
    stops: watch::Receiver<u32>,
    /// Dropped, an operator is gone at once.
    operators: JoinSet<()>,
    pub restarts: u32,
    pub replicas: Replicas,
}

/// Operators that stand for leader: `first`, and `second` from when the Lease has run out until it has led for its time.
#[derive(Default)]
pub struct Replicas {
    processes: JoinSet<&'static str>,
    pub reign_seconds: u32,
    /// Seconds until the second is told to stop, by dropping this.
    reign: Option<(u32, oneshot::Sender<()>)>,
    /// It is to be started again as soon as the Lease is free.
    first_is_down: bool,
    first: Option<oneshot::Sender<()>>,
}

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    args: OperatorArgs,
}

impl World {
    /// A cluster with one job and no operator.
    pub fn new(spec: &str) -> Self {
        let server = Server::new();
        let stops = server.stops();
        server.storage().patience_seconds = 2;
        let world = World {
            server,
            cluster: Arc::default(),
            clock: Clock::runtime(START),
            stops,
            operators: JoinSet::new(),
            restarts: 0,
            replicas: Replicas::default(),
        };
        world.add_job("etl", spec);
        world
    }

    pub fn add_job(&self, name: &str, spec: &str) {
        let job = json!({
            "apiVersion": crd::api_version(), "kind": crd::KIND, "metadata": {"name": name},
            "spec": contract::yaml::parse(spec).unwrap(),
        });
        self.server.storage().create("daskjobs", job);
        self.server.publish();
    }

    /// One more operator; those that are there stay.
    pub fn start_operator(&mut self) {
        let config = Config::new(&Flags::parse_from(["operator"]).args, "daskjob", false);
        let schedulers = Arc::new(FakeSchedulers {
            server: self.server.clone(),
            cluster: self.cluster.clone(),
        });
        let (client, clock) = (self.server.client(), self.clock);
        self.operators.spawn(async move {
            let mut running = Operator::start(client, config, schedulers, clock);
            running.act().await;
            running.broken().await;
            panic!("a task of the operator ended");
        });
    }

    /// An operator that acts while it holds the Lease.
    pub fn start_first_replica(&mut self) {
        self.replicas.first = Some(self.start_replica("first"));
    }

    /// It stops in order when the sender is dropped.
    fn start_replica(&mut self, identity: &'static str) -> oneshot::Sender<()> {
        let flags = ["operator", "--leader-election", "--identity", identity];
        let config = Config::new(&Flags::parse_from(flags).args, NAMESPACE, false);
        let schedulers = Arc::new(FakeSchedulers {
            server: self.server.clone(),
            cluster: self.cluster.clone(),
        });
        let (client, clock) = (self.server.client(), self.clock);
        let (sender, told) = oneshot::channel();
        self.replicas.processes.spawn(async move {
            let running = Operator::start(client.clone(), config, schedulers, clock);
            // It ends with an error where it has lost the Lease.
            let _ = operator::serve(client, running, async {
                let _ = told.await;
            })
            .await;
            identity
        });
        sender
    }

    /// What becomes of the replicas in a second. The first is down until the second is, as if its node was: then the
    /// Lease comes back to it.
    fn attend_replicas(&mut self) {
        if self.server.take_lease_ran_out() {
            let word = self.start_replica("second");
            self.replicas.reign = Some((self.replicas.reign_seconds, word));
        }
        while let Some(ended) = self.replicas.processes.try_join_next() {
            self.replicas.first_is_down |= ended.unwrap() == "first";
        }
        match self.replicas.reign.take() {
            Some((0, word)) => drop(word),
            Some((left, word)) => self.replicas.reign = Some((left - 1, word)),
            None => {}
        }
        let is_free = self.replicas.processes.is_empty();
        if is_free && std::mem::take(&mut self.replicas.first_is_down) {
            self.start_first_replica();
        }
    }

    pub fn kill_operators(&mut self) {
        self.operators.abort_all();
        self.operators = JoinSet::new();
    }

    pub fn now(&self) -> Timestamp {
        self.clock.now().timestamp()
    }

    /// A second passes for everybody.
    pub async fn second(&mut self) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if self.stops.has_changed().unwrap() {
            self.stops.mark_unchanged();
            self.restarts += 1;
            self.kill_operators();
            self.start_operator();
        }
        self.attend_replicas();
        {
            let mut storage = self.server.storage();
            storage.now = self.clock.now().since(START);
            let mut cluster = self.cluster.lock().unwrap();
            kubelet::step(&mut storage, &mut cluster, self.clock.now().0);
        }
        self.server.publish();
    }

    pub async fn seconds(&mut self, count: u32) {
        for _ in 0..count {
            self.second().await;
        }
    }

    pub async fn until(&mut self, what: &str, so: impl Fn(&World) -> bool) {
        for _ in 0..500 {
            if so(self) {
                return;
            }
            self.second().await;
        }
        let owned = self.owned();
        panic!("never: {what}; {owned:?}, {:?}", self.status());
    }

    // What is so.

    pub fn status(&self) -> JobStatus {
        let storage = self.server.storage();
        let job = storage.get("daskjobs", "etl");
        let status = job.map(|job| job["status"].clone());
        match status {
            None | Some(Value::Null) => JobStatus::default(),
            Some(status) => serde_json::from_value(status).unwrap(),
        }
    }

    pub fn phase(&self) -> Phase {
        self.status().job_status
    }

    pub fn job_exists(&self) -> bool {
        self.server.storage().get("daskjobs", "etl").is_some()
    }

    pub fn owned(&self) -> Vec<String> {
        self.server.storage().owned()
    }

    pub fn runs(&self, attempt: u32) -> bool {
        let status = self.status();
        status.job_status == Phase::Running && status.attempt == attempt
    }

    /// How many workers run.
    pub fn workers(&self) -> usize {
        let storage = self.server.storage();
        let workers = storage
            .of("pods")
            .filter(|pod| name_of(pod).contains("-worker-") && pod["status"]["phase"] == "Running");
        workers.count()
    }

    /// Nothing is left that should not be.
    pub fn is_torn_down(&self) -> bool {
        if !self.job_exists() {
            return self.owned().is_empty();
        }
        let status = self.status();
        let storage = self.server.storage();
        let runner = format!("pods/etl-{}-runner", status.attempt);
        status.finished().is_some()
            && status.holds(condition::TORN_DOWN)
            && storage.owned().iter().all(|name| *name == runner)
            && storage.of("pods").all(is_over)
    }

    // What happens.

    pub fn edit(&mut self, spec: &str) {
        let spec = contract::yaml::parse(spec).unwrap();
        self.server.storage().change("daskjobs", "etl", |job| {
            job["spec"] = spec;
            let generation = job["metadata"]["generation"].as_i64().unwrap();
            job["metadata"]["generation"] = (generation + 1).into();
        });
        self.server.publish();
    }

    pub fn annotate(&mut self, key: &str, value: &str) {
        let annotations = json!({key: value});
        self.server.storage().change("daskjobs", "etl", |job| {
            job["metadata"]["annotations"] = annotations;
        });
        self.server.publish();
    }

    pub fn delete_job(&mut self) {
        self.server.storage().remove("daskjobs", "etl");
        self.server.publish();
    }

    /// The program of an attempt ends.
    pub fn finish(&mut self, attempt: u32, exit_code: i32) {
        let now = self.now();
        let name = format!("etl-{attempt}-runner");
        kubelet::end(&mut self.server.storage(), &name, exit_code, &now);
        self.server.publish();
    }

    /// A pod is gone without a trace.
    pub fn lose(&mut self, name: &str) {
        self.server.storage().remove("pods", name);
        self.server.publish();
    }

    /// The API server refuses a pod from now on.
    pub fn refuse(&mut self, name: &str, code: u16, message: &str) {
        let refused = (code, message.to_owned());
        self.server
            .storage()
            .refuses
            .insert(name.to_owned(), refused);
    }

    pub fn allow_all(&mut self) {
        self.server.storage().refuses.clear();
    }

    pub fn set_faults(&mut self, faults: &[(u32, Fault)]) {
        self.server.set_faults(faults);
    }
}
