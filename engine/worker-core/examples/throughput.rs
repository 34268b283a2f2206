//! CPU nanoseconds a task, core only: an executor and peers that answer at once, no encoding, no sockets. Then what it
//! costs to read orders off the wire and to write answers.
//!
//! `cargo run --release -p worker-core --example throughput`

use protocol::messages::{
    ComputeTask, KeysOrder, Priority, Replica, decode_scheduler_batch, encode_worker_batch,
};
use protocol::{Frames, Key, MessageWriter, Payload, Text, Value};
use smallvec::smallvec;
use std::sync::Arc;
use worker_core::{
    Action, Check, Config, Effects, Event, Executed, GatherOutcome, Gathered, Outcome, Time, Worker,
};

const TASKS: usize = 20_000;
const BATCH: usize = 100;

fn main() {
    let plain = |_: &mut Config| {};
    let limited = |config: &mut Config| config.memory_limit = Some(1 << 40);
    let silent = |config: &mut Config| config.low_level_log_length = 0;
    report("trivial", &orders(0), plain);
    report("trivial, no story", &orders(0), silent);
    report("trivial, with a memory limit", &orders(0), limited);
    report("two inputs here", &orders(2), plain);
    report("an input of its own elsewhere", &remote_orders(), plain);
    wire();
}

/// Nanoseconds this thread has been running: what others do on the machine does not count.
fn cpu_nanos() -> f64 {
    let told = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let ran = told.split(' ').next().and_then(|nanos| nanos.parse().ok());
    ran.unwrap_or(f64::NAN)
}

fn report(name: &str, orders: &[Arc<ComputeTask>], change: impl Fn(&mut Config)) {
    let mut best = f64::MAX;
    for _ in 0..5 {
        let mut config = Config::new("tcp://10.0.0.1:4000", 4);
        change(&mut config);
        let mut bench = Bench::new(config);
        let started = cpu_nanos();
        for batch in orders.chunks(BATCH) {
            bench.step(batch.iter().cloned().map(Event::ComputeTask).collect());
            bench.settle();
        }
        for batch in orders.chunks(BATCH) {
            let keys = batch.iter().map(|order| order.key.clone()).collect();
            bench.step(vec![Event::FreeKeys(KeysOrder {
                keys,
                stimulus_id: Text::from_static("free"),
            })]);
        }
        best = best.min((cpu_nanos() - started) / orders.len() as f64);
        assert_eq!(bench.finished, orders.len());
    }
    println!("{name:32} {best:6.0} ns a task");
}

struct Bench {
    core: Worker,
    fx: Effects,
    next: Vec<Event>,
    finished: usize,
    now: Time,
}

impl Bench {
    fn new(config: Config) -> Self {
        let now = Time::from_seconds(1000.0);
        let mut bench = Self {
            core: Worker::new(config, 7, Check::Never, now),
            fx: Effects::default(),
            next: Vec::new(),
            finished: 0,
            now,
        };
        bench.step(vec![Event::SetStatus(
            protocol::messages::WorkerStatus::Running,
        )]);
        bench
    }

    fn step(&mut self, events: Vec<Event>) {
        self.now = Time(self.now.0 + 10_000);
        self.core.handle(self.now, events, &mut self.fx);
        self.fx.drain_messages().for_each(drop);
        for action in self.fx.drain_actions() {
            match action {
                Action::Execute(execution) => {
                    self.finished += 1;
                    self.next.push(Event::Executed(Box::new(Executed {
                        execution: execution.id,
                        outcome: Outcome::Finished {
                            nbytes: 28,
                            value_type: None,
                            typename: Text::from_static("int"),
                        },
                        thread: Some(1),
                        startstops: smallvec![],
                        metadata: Value::Nil,
                    })));
                }
                Action::Gather(gather) => {
                    let received = gather.keys.iter().map(|key| (key.clone(), 100)).collect();
                    self.next.push(Event::Gathered(Box::new(Gathered {
                        gather: gather.id,
                        outcome: GatherOutcome::Received(received),
                        start_seconds: 1.0,
                        stop_seconds: 1.1,
                    })));
                }
                _ => {}
            }
        }
    }

    fn settle(&mut self) {
        while !self.next.is_empty() {
            let events = std::mem::take(&mut self.next);
            self.step(events);
        }
    }
}

fn order(number: usize, dependencies: Vec<Replica>) -> Arc<ComputeTask> {
    Arc::new(ComputeTask {
        key: Key::str(&format!("increment-{number:032}")),
        run_id: number as i64,
        priority: Priority([0.0, 1.0, number as f64]),
        dependencies,
        run_spec: Some(Payload::pickled(b"spec", Vec::new())),
        resource_restrictions: Vec::new(),
        actor: false,
        annotations: Value::Nil,
        span_id: None,
        stimulus_id: Text::from_static("compute-task-1000.0"),
    })
}

/// Tasks with as many of the tasks before them for inputs.
fn orders(inputs: usize) -> Vec<Arc<ComputeTask>> {
    let mut orders: Vec<Arc<ComputeTask>> = Vec::with_capacity(TASKS);
    for number in 0..TASKS {
        let replica = |at: usize| Replica {
            key: orders[at].key.clone(),
            nbytes: Some(28),
            holders: smallvec![Text::from_static("tcp://10.0.0.1:4000")],
        };
        let dependencies = (0..inputs.min(number)).map(|back| replica(number - 1 - back));
        let dependencies = dependencies.collect();
        orders.push(order(number, dependencies));
    }
    orders
}

/// Each with an input that one of eight peers has.
fn remote_orders() -> Vec<Arc<ComputeTask>> {
    let remote = |number: usize| {
        let input = Replica {
            key: Key::str(&format!("input-{number:032}")),
            nbytes: Some(100),
            holders: smallvec![Text::from(format!("tcp://10.0.1.{}:4000", number % 8))],
        };
        order(number, vec![input])
    };
    (0..TASKS).map(remote).collect()
}

fn wire() {
    let frames = wire_batch(1000);
    let best = best_of(|| {
        let read = decode_scheduler_batch(&frames).expect("what was written can be read");
        assert_eq!(read.len(), 1000);
    });
    println!(
        "{:32} {:6.0} ns a message",
        "reading 1000 compute-tasks",
        best / 1000.0
    );
    let messages = finished_messages();
    let best = best_of(|| {
        assert!(encode_worker_batch(&messages).0[0].len() > 100_000);
    });
    println!(
        "{:32} {:6.0} ns a message",
        "writing 1000 task-finished",
        best / 1000.0
    );
}

fn best_of(mut act: impl FnMut()) -> f64 {
    let once = |act: &mut dyn FnMut()| {
        let started = cpu_nanos();
        (0..500).for_each(|_| act());
        (cpu_nanos() - started) / 500.0
    };
    (0..5).map(|_| once(&mut act)).fold(f64::MAX, f64::min)
}

fn finished_messages() -> Vec<protocol::messages::FromWorker> {
    let mut bench = Bench::new(Config::new("tcp://10.0.0.1:4000", 1000));
    let orders = orders(0);
    let events = orders[..1000].iter().cloned().map(Event::ComputeTask);
    bench.step(events.collect());
    let ended = std::mem::take(&mut bench.next);
    bench.core.handle(bench.now, ended, &mut bench.fx);
    bench.fx.take_messages()
}

/// As stock schedulers write it.
fn wire_batch(count: usize) -> Frames {
    let mut out = MessageWriter::new();
    out.write_array_len(count);
    for number in 0..count {
        out.write_map_len(12);
        out.write_str("op");
        out.write_str("compute-task");
        out.write_str("key");
        out.write_key(&Key::str(&format!("increment-{number:032}")));
        out.write_str("run_id");
        out.write_i64(number as i64);
        out.write_str("priority");
        out.write_array_len(3);
        (0..3).for_each(|part| out.write_i64(part));
        out.write_str("stimulus_id");
        out.write_str("compute-task-1795262567.9493818");
        out.write_str("who_has");
        out.write_map_len(1);
        out.write_str("input-1");
        out.write_array_len(1);
        out.write_str("tcp://10.0.0.1:4000");
        out.write_str("nbytes");
        out.write_map_len(1);
        out.write_str("input-1");
        out.write_i64(28);
        out.write_str("run_spec");
        out.write_raw_pickle(&[0; 300], &[]);
        out.write_str("resource_restrictions");
        out.write_nil();
        out.write_str("actor");
        out.write_bool(false);
        out.write_str("annotations");
        out.write_map_len(0);
        out.write_str("span_id");
        out.write_str("7084e0d0-5137-43a2-a8fa-cb2dc8b1b93c");
    }
    out.finish()
}
