//! `bench engine`: every scenario, against every kind of worker, engines taking turns.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::args::EngineArgs;
use crate::client::{Client, Measured, Ran};
use crate::cluster::{Cluster, Engine, Shape, Workers};
use crate::figures::{self, Figure};
use crate::report::{self, LoadAverage, Sample};
use crate::scenario::{Outcome, Scenario, ScenarioName};
use crate::usage;

const MIB: f64 = 1024.0 * 1024.0;

/// After which a worker that was started has nothing more to do.
const SETTLED: Duration = Duration::from_secs(3);

/// What came out.
#[derive(Default)]
struct Results {
    samples: Vec<Sample>,
    figures: Vec<Figure>,
}

pub fn run(args: &EngineArgs) -> Result<()> {
    let mut results = Results::default();
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
                measure(engine, workers, args, &mut results)?;
            }
        }
    }
    let load = LoadAverage {
        before: load_before,
        after: usage::load_average(),
    };
    if !results.samples.is_empty() {
        println!("{}", report::table(&results.samples));
    }
    if !results.figures.is_empty() {
        println!("{}", figures::table(&results.figures));
    }
    if let Some(targets) = figures::targets(&results.samples, &results.figures) {
        println!("{targets}");
    }
    println!("{}", report::circumstances(args.quick, load));
    if let Some(path) = &args.json {
        report::write_json(path, &results.samples, &results.figures, load)
            .with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

/// The scenarios, in one fresh cluster for each shape they want.
fn measure(
    engine: Engine,
    workers: Workers,
    args: &EngineArgs,
    results: &mut Results,
) -> Result<()> {
    let scenarios = args.scenarios().into_iter();
    let mut scenarios: Vec<_> = scenarios
        .map(|name| Scenario::new(name, args.quick))
        .filter(|scenario| scenario.applies_to(workers))
        .collect();
    // Whatever order they were asked for in: those behind the first find what the ones before have left in memory.
    scenarios.sort_by_key(|scenario| scenario.name);
    let shapes = [
        Shape::USUAL,
        Shape::ONE_OF_TWO_THREADS,
        Shape::SHORT_OF_MEMORY,
    ];
    for shape in shapes {
        let fitting = scenarios.iter().filter(|it| it.shape() == shape);
        let fitting: Vec<_> = fitting.copied().collect();
        if fitting.is_empty() {
            continue;
        }
        let cluster = Cluster::start(engine, workers, shape, args)?;
        let place = Place {
            cluster: &cluster,
            engine,
            workers,
        };
        let measured = place.measure(&fitting, workers.count(shape), args, results);
        measured.with_context(|| {
            format!(
                "measure the {} scheduler with {} workers; the ends of their logs:\n{}\n{}\n",
                engine.title(),
                workers.title(),
                cluster.scheduler_log_tail(),
                cluster.worker_log_tails()
            )
        })?;
    }
    Ok(())
}

/// One cluster, and whose it is.
struct Place<'a> {
    cluster: &'a Cluster,
    engine: Engine,
    workers: Workers,
}

impl Place<'_> {
    fn measure(
        &self,
        scenarios: &[Scenario],
        worker_count: usize,
        args: &EngineArgs,
        results: &mut Results,
    ) -> Result<()> {
        let mut client = Client::start(self.cluster, worker_count, args)?;
        for scenario in scenarios {
            eprintln!("    {}", scenario.title());
            match scenario.outcome() {
                Outcome::PerTask => {
                    let sample = self.sample(&mut client, *scenario)?;
                    results.samples.push(sample);
                }
                Outcome::Figures => {
                    let measured = match scenario.name {
                        ScenarioName::Idle => self.idle(),
                        _ => client.figures(scenario.word(), scenario.size)?,
                    };
                    let figures = measured.into_iter().map(|it| self.figure(*scenario, it));
                    results.figures.extend(figures);
                }
            }
            client.release()?;
        }
        Ok(())
    }

    fn figure(&self, scenario: Scenario, measured: Measured) -> Figure {
        Figure {
            scenario: scenario.name,
            title: measured.title,
            unit: measured.unit,
            workers: self.workers,
            engine: self.engine,
            value: measured.value,
        }
    }

    /// Memory of one worker with everything below it, and of its first process alone.
    fn idle(&self) -> Vec<Measured> {
        std::thread::sleep(SETTLED);
        let pids = self.cluster.worker_pids();
        let each = |bytes: fn(u32) -> u64| {
            let sum: u64 = pids.iter().copied().map(bytes).sum();
            sum as f64 / pids.len().max(1) as f64 / MIB
        };
        let measured = |title: &str, value| Measured {
            title: title.to_owned(),
            unit: "MiB".to_owned(),
            value,
        };
        vec![
            measured(figures::IDLE_WORKER, each(usage::proportional_bytes)),
            measured(
                figures::IDLE_WITHOUT_EXECUTOR,
                each(usage::own_proportional_bytes),
            ),
        ]
    }

    fn sample(&self, client: &mut Client, scenario: Scenario) -> Result<Sample> {
        let pid = self.cluster.scheduler_pid();
        let holds = scenario.name == ScenarioName::Held;
        let bytes_before = if holds {
            usage::proportional_bytes(pid)
        } else {
            0
        };
        let workers_before = self.cluster.workers_cpu_seconds();
        let before = usage::cpu(pid);
        let ran: Ran = client.run(scenario.word(), scenario.size)?;
        let after = usage::cpu(pid);
        let workers_after = self.cluster.workers_cpu_seconds();
        let tasks = ran.tasks as f64;
        let held_bytes = holds.then(|| {
            let grown = usage::proportional_bytes(pid) as f64 - bytes_before as f64;
            grown / tasks
        });
        let worker_cpu = (workers_after - workers_before) * 1e6 / tasks;
        Ok(Sample {
            scenario: scenario.name,
            title: scenario.title(),
            workers: self.workers,
            engine: self.engine,
            tasks: ran.tasks,
            scheduler_cpu_us_per_task: (after.cpu_seconds - before.cpu_seconds) * 1e6 / tasks,
            scheduler_processes: after.processes,
            worker_cpu_us_per_task: self.workers.are_real().then_some(worker_cpu),
            wall_us_per_task: ran.median_seconds.unwrap_or(ran.wall_seconds / tasks) * 1e6,
            client_cpu_us_per_task: ran.client_cpu_seconds * 1e6 / tasks,
            held_bytes_per_task: held_bytes,
        })
    }
}
