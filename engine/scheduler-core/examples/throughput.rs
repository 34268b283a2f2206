//! CPU nanoseconds and bytes a task, core only: workers that answer at once, no encoding, no sockets.
//!
//! `cargo run --release -p scheduler-core --example throughput`

use protocol::messages::{Action, FromWorker, StartStop, TaskFinished, WorkerStatusChange};
use protocol::{Key, Text, Value};
use scheduler_core::{
    Check, ClientId, Config, Dep, Effects, Graph, GraphTask, Registration, RunSpec, Scheduler,
    SpecSlab, Time, ToWorker, WorkerId, WorkerStatus,
};
use smallvec::smallvec;
use std::sync::Arc;

struct Bench {
    core: Scheduler,
    fx: Effects,
    client: ClientId,
    now: Time,
}

fn main() {
    for (workers, threads) in [(8, 64), (8, 1), (200, 4), (2_000, 1)] {
        println!("{workers} workers of {threads}");
        report("map 20,000", workers, threads, &map_graph(20_000));
        report("tree 10,000", workers, threads, &tree_graph(10_000));
        report(
            "all-to-all 100x100",
            workers,
            threads,
            &all_to_all_graph(100),
        );
    }
    held_bytes();
}

/// Nanoseconds this thread has been running: what others do on the machine does not count.
fn cpu_nanos() -> f64 {
    let told = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let ran = told.split(' ').next().and_then(|nanos| nanos.parse().ok());
    ran.unwrap_or(f64::NAN)
}

fn report(name: &str, workers: u32, threads: u32, graph: &Graph) {
    let mut best = f64::MAX;
    for _ in 0..5 {
        let mut bench = Bench::new(workers, threads);
        let graph = graph.clone();
        let tasks = graph.tasks.len() as f64;
        let keys = graph.keys.clone();
        let started = cpu_nanos();
        bench
            .core
            .update_graph(bench.client, graph, bench.now, &mut bench.fx);
        bench.run_all();
        bench
            .core
            .client_releases_keys(bench.client, &keys, bench.now, &mut bench.fx);
        bench.run_all();
        best = best.min((cpu_nanos() - started) / tasks);
        assert_eq!(bench.core.task_count(), 0);
    }
    println!("  {name:20} {best:8.0} ns a task");
}

/// A map of 100,000 with all results in memory.
fn held_bytes() {
    let mut bench = Bench::new(8, 64);
    bench
        .core
        .update_graph(bench.client, map_graph(100_000), bench.now, &mut bench.fx);
    bench.run_all();
    let held = bench.core.memory_use();
    let tasks = held.tasks as f64;
    println!(
        "map 100,000 held: {:.0} bytes a task in structures, {:.0} in keys",
        held.structures() as f64 / tasks,
        held.keys as f64 / tasks
    );
    println!("  {held:?}");
}

impl Bench {
    fn new(workers: u32, threads: u32) -> Self {
        let now = Time::from_seconds(1.7e9);
        let mut core = Scheduler::new(Config::default(), 1, Check::Never, now);
        let mut fx = Effects::default();
        let client = core.add_client("Client-1", Value::Nil, now, &mut fx);
        for number in 0..workers {
            let worker = core
                .add_worker(registration(number, threads), now, &mut fx)
                .expect("its address is its own");
            let status = WorkerStatusChange {
                status: Text::from_static("running"),
                stimulus_id: Text::from_static("status"),
            };
            core.worker_message(worker, FromWorker::WorkerStatusChange(status), now, &mut fx);
        }
        Self {
            core,
            fx,
            client,
            now,
        }
    }

    /// Answers every order until there is none left.
    fn run_all(&mut self) {
        loop {
            let orders: Vec<(WorkerId, Vec<ToWorker>)> = self.fx.drain_workers().collect();
            self.fx.drain_clients().for_each(drop);
            self.fx.drain_actions().for_each(drop);
            if orders.is_empty() {
                return;
            }
            self.now = self.now.plus_seconds(0.001);
            for (worker, messages) in orders {
                for message in messages {
                    self.answer(worker, message);
                }
            }
        }
    }

    fn answer(&mut self, worker: WorkerId, message: ToWorker) {
        let ToWorker::ComputeTask(order) = message else {
            return;
        };
        let finished = TaskFinished {
            key: order.key,
            run_id: order.run_id as i64,
            nbytes: Some(28),
            value_type: None,
            typename: Text::from_static("int"),
            metadata: Value::Nil,
            thread: Value::Int(1),
            startstops: smallvec![StartStop {
                action: Action::Compute,
                start: 1.0,
                stop: 1.001,
                source: None
            }],
            stimulus_id: Text::from_static("task-finished-1700000000.123"),
        };
        self.core.worker_message(
            worker,
            FromWorker::TaskFinished(finished),
            self.now,
            &mut self.fx,
        );
    }
}

fn registration(number: u32, threads: u32) -> Registration {
    Registration {
        address: Arc::from(format!("tcp://10.0.{}.{}:4000", number / 256, number % 256)),
        host: Arc::from("10.0.0.1"),
        name: Value::Int(i64::from(number)),
        nthreads: threads,
        memory_limit: Some(8 << 30),
        resources: Vec::new(),
        local_directory: Arc::from("/tmp"),
        services: Value::Nil,
        nanny: None,
        pid: 1,
        versions: Value::Nil,
        metrics: Value::Nil,
        extra: Value::Nil,
        server_id: Arc::from(format!("Worker-{number}")),
        status: WorkerStatus::Init,
        now_seconds: 0.0,
        stimulus_id: Text::from_static("worker-connect"),
    }
}

fn add(
    graph: &mut Graph,
    slab: &Arc<SpecSlab>,
    key: String,
    dependencies: impl Iterator<Item = u32>,
) -> u32 {
    let start = graph.dependencies.len() as u32;
    graph.dependencies.extend(dependencies.map(Dep::Task));
    let at = graph.tasks.len() as u32;
    graph.tasks.push(GraphTask {
        key: Key::str(&key),
        dependencies: start..graph.dependencies.len() as u32,
        run_spec: Some(RunSpec {
            slab: Arc::clone(slab),
            start: 0,
            len: 1,
        }),
        data_producer: false,
        is_barrier: false,
        annotations: None,
    });
    graph.internal_priority.push(at as i32);
    at
}

fn token(number: u32) -> u128 {
    u128::from(number).wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
}

fn slab() -> Arc<SpecSlab> {
    SpecSlab::new(bytes::Bytes::from_static(b"."), Vec::new())
}

fn map_graph(tasks: u32) -> Graph {
    let (mut graph, slab) = (Graph::default(), slab());
    for number in 0..tasks {
        add(
            &mut graph,
            &slab,
            format!("neg-{:032x}", token(number)),
            std::iter::empty(),
        );
    }
    graph.keys = graph.tasks.iter().map(|task| task.key.clone()).collect();
    graph
}

/// Pairs are added until one is left.
fn tree_graph(leaves: u32) -> Graph {
    let (mut graph, slab) = (Graph::default(), slab());
    let mut level: Vec<u32> = (0..leaves)
        .map(|number| {
            add(
                &mut graph,
                &slab,
                format!("leaf-{:032x}", token(number)),
                std::iter::empty(),
            )
        })
        .collect();
    let mut made = leaves;
    while level.len() > 1 {
        level = level
            .chunks(2)
            .map(|pair| {
                made += 1;
                add(
                    &mut graph,
                    &slab,
                    format!("add-{:032x}", token(made)),
                    pair.iter().copied(),
                )
            })
            .collect();
    }
    graph.keys = graph
        .tasks
        .last()
        .map(|task| task.key.clone())
        .into_iter()
        .collect();
    graph
}

/// Every input is split into as many parts as there are outputs, and every output joins one part of each.
fn all_to_all_graph(size: u32) -> Graph {
    let (mut graph, slab) = (Graph::default(), slab());
    let inputs: Vec<u32> = (0..size)
        .map(|number| {
            add(
                &mut graph,
                &slab,
                format!("make-{:032x}", token(number)),
                std::iter::empty(),
            )
        })
        .collect();
    let mut parts = Vec::new();
    for input in &inputs {
        for number in 0..size {
            let key = format!("split-{:032x}", token(input * size + number));
            parts.push(add(&mut graph, &slab, key, std::iter::once(*input)));
        }
    }
    for number in 0..size {
        let own = (0..size).map(|input| parts[(input * size + number) as usize]);
        let own: Vec<u32> = own.collect();
        add(
            &mut graph,
            &slab,
            format!("join-{:032x}", token(number)),
            own.into_iter(),
        );
    }
    graph.keys = graph
        .tasks
        .iter()
        .rev()
        .take(size as usize)
        .map(|task| task.key.clone())
        .collect();
    graph
}
