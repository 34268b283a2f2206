//! `bench engine`: every scenario, against every kind of worker, engines taking turns.

use anyhow::{Context, Result};

use crate::args::EngineArgs;
use crate::client::{Client, Ran};
use crate::cluster::{Cluster, Engine, Workers};
use crate::report::{self, LoadAverage, Sample};
use crate::scenario::{Scenario, ScenarioName};
use crate::usage;

pub fn run(args: &EngineArgs) -> Result<()> {
    let mut samples = Vec::new();
    let load_before = usage::load_average();
    for workers in args.workers() {
        for repeat in 0..args.repeats() {
            for engine in args.engines() {
                eprintln!(
                    "{} scheduler, {} workers, round {} of {}",
                    engine.title(),
                    workers.title(),
                    repeat + 1,
                    args.repeats()
                );
                samples.extend(measure(engine, workers, args)?);
            }
        }
    }
    let load = LoadAverage {
        before: load_before,
        after: usage::load_average(),
    };
    println!("{}", report::table(&samples, args.quick, load));
    if let Some(path) = &args.json {
        report::write_json(path, &samples, load)
            .with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// All scenarios in one fresh cluster.
fn measure(engine: Engine, workers: Workers, args: &EngineArgs) -> Result<Vec<Sample>> {
    let cluster = Cluster::start(engine, workers, args)?;
    let measured = measure_in(&cluster, engine, workers, args);
    measured.with_context(|| {
        format!(
            "measure the {} scheduler; the end of its log:\n{}\n",
            engine.title(),
            cluster.scheduler_log_tail()
        )
    })
}

fn measure_in(
    cluster: &Cluster,
    engine: Engine,
    workers: Workers,
    args: &EngineArgs,
) -> Result<Vec<Sample>> {
    let mut client = Client::start(cluster, Cluster::worker_count(workers), args)?;
    let mut samples = Vec::new();
    for name in args.scenarios() {
        let scenario = Scenario::new(name, args.quick);
        if !scenario.applies_to(workers) {
            continue;
        }
        samples.push(sample(cluster, &mut client, scenario, engine, workers)?);
        client.release()?;
    }
    Ok(samples)
}

fn sample(
    cluster: &Cluster,
    client: &mut Client,
    scenario: Scenario,
    engine: Engine,
    workers: Workers,
) -> Result<Sample> {
    let pid = cluster.scheduler_pid();
    let holds = scenario.name == ScenarioName::Held;
    let bytes_before = if holds {
        usage::proportional_bytes(pid)
    } else {
        0
    };
    let before = usage::cpu(pid);
    let ran: Ran = client.run(scenario.word(), scenario.size)?;
    let after = usage::cpu(pid);
    let tasks = ran.tasks as f64;
    let held_bytes = holds.then(|| {
        let grown = usage::proportional_bytes(pid) as f64 - bytes_before as f64;
        grown / tasks
    });
    Ok(Sample {
        scenario: scenario.name,
        title: scenario.title(),
        workers,
        engine,
        tasks: ran.tasks,
        scheduler_cpu_us_per_task: (after.cpu_seconds - before.cpu_seconds) * 1e6 / tasks,
        scheduler_processes: after.processes,
        wall_us_per_task: ran.median_seconds.unwrap_or(ran.wall_seconds / tasks) * 1e6,
        client_cpu_us_per_task: ran.client_cpu_seconds * 1e6 / tasks,
        held_bytes_per_task: held_bytes,
    })
}
