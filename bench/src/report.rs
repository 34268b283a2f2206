//! Samples to a table for people and JSON for programs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Result;
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use serde::Serialize;

use crate::cluster::{Engine, Workers};
use crate::figures::Figure;
use crate::scenario::ScenarioName;

/// One scenario, run once.
#[derive(Clone, Debug, Serialize)]
pub struct Sample {
    pub scenario: ScenarioName,
    pub title: String,
    pub workers: Workers,
    pub engine: Engine,
    pub tasks: usize,
    /// The scheduler's whole process tree.
    pub scheduler_cpu_us_per_task: f64,
    pub scheduler_processes: usize,
    /// Of all workers with everything below them; only real ones cost anything of interest.
    pub worker_cpu_us_per_task: Option<f64>,
    /// Of the whole scenario; the median of one submission where that is what is measured.
    pub wall_us_per_task: f64,
    pub client_cpu_us_per_task: f64,
    pub held_bytes_per_task: Option<f64>,
}

/// How busy the machine was, over the last minute, at both ends of the run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LoadAverage {
    pub before: f64,
    pub after: f64,
}

/// Smallest and middle of several measurements.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub min: f64,
    pub median: f64,
}

/// A row: the same scenario by the same processes, all rounds.
#[derive(Debug, Serialize)]
pub struct Summary<'a> {
    pub scenario: ScenarioName,
    title: &'a str,
    pub workers: Workers,
    pub engine: Engine,
    repeats: usize,
    scheduler_cpu_us_per_task: Spread,
    worker_cpu_us_per_task: Option<Spread>,
    pub wall_us_per_task: Spread,
    client_cpu_us_per_task: Spread,
    held_bytes_per_task: Option<Spread>,
}

impl Spread {
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        Some(Self {
            min: *values.first()?,
            median: values[values.len() / 2],
        })
    }
}

/// Groups samples of the same row, in order of workers, scenario, engine.
pub fn summarise(samples: &[Sample]) -> Vec<Summary<'_>> {
    let mut groups: BTreeMap<(Workers, ScenarioName, Engine), Vec<&Sample>> = BTreeMap::new();
    for sample in samples {
        groups
            .entry((sample.workers, sample.scenario, sample.engine))
            .or_default()
            .push(sample);
    }
    groups
        .into_values()
        .filter_map(|group| summary(&group))
        .collect()
}

fn summary<'a>(group: &[&'a Sample]) -> Option<Summary<'a>> {
    let first = *group.first()?;
    let spread = |value: fn(&Sample) -> f64| Spread::of(group.iter().map(|it| value(it)).collect());
    let held = group.iter().filter_map(|it| it.held_bytes_per_task);
    let worker_cpu = group.iter().filter_map(|it| it.worker_cpu_us_per_task);
    Some(Summary {
        scenario: first.scenario,
        title: &first.title,
        workers: first.workers,
        engine: first.engine,
        repeats: group.len(),
        scheduler_cpu_us_per_task: spread(|it| it.scheduler_cpu_us_per_task)?,
        worker_cpu_us_per_task: Spread::of(worker_cpu.collect()),
        wall_us_per_task: spread(|it| it.wall_us_per_task)?,
        client_cpu_us_per_task: spread(|it| it.client_cpu_us_per_task)?,
        held_bytes_per_task: Spread::of(held.collect()),
    })
}

impl Summary<'_> {
    /// Of scheduler and workers.
    pub fn cpu_us_per_task(&self) -> f64 {
        let workers = self.worker_cpu_us_per_task.map_or(0.0, |cpu| cpu.median);
        self.scheduler_cpu_us_per_task.median + workers
    }
}

/// The table; a row with something of ours in it shows how many times less than stock it took.
pub fn table(samples: &[Sample]) -> String {
    let summaries = summarise(samples);
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_header([
        "workers",
        "scenario",
        "scheduler",
        "scheduler CPU µs/task\nmin",
        "\nmedian",
        "workers' CPU\nµs/task",
        "stock ÷\nthis",
        "wall µs/task\nmin",
        "\nmedian",
        "stock ÷\nthis",
        "held\nbytes/task",
        "client CPU\nµs/task",
    ]);
    for row in &summaries {
        table.add_row(cells(row, stock_of(row, &summaries)));
    }
    for column in 3..12 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

/// What else there is to know about a run.
pub fn circumstances(quick: bool, load: LoadAverage) -> String {
    let note = if quick {
        "\nquick run: short scenarios, measured once"
    } else {
        ""
    };
    format!(
        "load average before {:.1}, after {:.1}: what else runs makes a task dearer{note}",
        load.before, load.after
    )
}

/// The row of stock's scheduler: with the same workers where they are fake, with its own where they are real.
fn stock_of<'a>(row: &Summary<'_>, all: &'a [Summary<'a>]) -> Option<&'a Summary<'a>> {
    let workers = match row.workers {
        Workers::Stock | Workers::Native => Workers::Stock,
        fake => fake,
    };
    all.iter().find(|other| {
        (other.engine, other.workers) == (Engine::Stock, workers)
            && (row.engine, row.workers) != (Engine::Stock, workers)
            && other.scenario == row.scenario
    })
}

fn cells(row: &Summary<'_>, stock: Option<&Summary<'_>>) -> Vec<Cell> {
    let factor = |of: &dyn Fn(&Summary<'_>) -> f64| {
        stock.map_or_else(String::new, |stock| format!("{:.1}×", of(stock) / of(row)))
    };
    let held = row
        .held_bytes_per_task
        .map_or_else(String::new, |held| format!("{:.0}", held.median));
    let worker_cpu = row
        .worker_cpu_us_per_task
        .map_or_else(|| Cell::new(""), |cpu| number(cpu.median));
    vec![
        Cell::new(row.workers.title()),
        Cell::new(row.title),
        Cell::new(row.engine.title()),
        number(row.scheduler_cpu_us_per_task.min),
        number(row.scheduler_cpu_us_per_task.median),
        worker_cpu,
        Cell::new(factor(&|row| row.cpu_us_per_task())),
        number(row.wall_us_per_task.min),
        number(row.wall_us_per_task.median),
        Cell::new(factor(&|row| row.wall_us_per_task.median)),
        Cell::new(held),
        number(row.client_cpu_us_per_task.median),
    ]
}

fn number(value: f64) -> Cell {
    Cell::new(if value < 100.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    })
}

pub fn write_json(
    path: &Path,
    samples: &[Sample],
    figures: &[Figure],
    load: LoadAverage,
) -> Result<()> {
    let report = serde_json::json!({
        "load_average": load,
        "summary": summarise(samples),
        "samples": samples,
        "figures": figures,
    });
    fs::write(path, serde_json::to_string_pretty(&report)? + "\n")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Sample, Spread, summarise, table};
    use crate::cluster::{Engine, Workers};
    use crate::scenario::ScenarioName;

    fn sample(engine: Engine, cpu: f64) -> Sample {
        Sample {
            scenario: ScenarioName::Map,
            title: "map of 10".into(),
            workers: Workers::FakeWide,
            engine,
            tasks: 10,
            scheduler_cpu_us_per_task: cpu,
            scheduler_processes: 1,
            worker_cpu_us_per_task: None,
            wall_us_per_task: 2.0 * cpu,
            client_cpu_us_per_task: 65.0,
            held_bytes_per_task: None,
        }
    }

    #[test]
    fn samples_of_a_row_become_min_and_median() {
        let samples = [130.0, 110.0, 120.0].map(|cpu| sample(Engine::Stock, cpu));
        let summaries = summarise(&samples);
        assert_eq!(summaries.len(), 1);
        let expected = Spread {
            min: 110.0,
            median: 120.0,
        };
        assert_eq!(summaries[0].scheduler_cpu_us_per_task, expected);
    }

    #[test]
    fn native_rows_show_the_factor() {
        let samples = [sample(Engine::Stock, 120.0), sample(Engine::Native, 10.0)];
        let text = table(&samples);
        assert!(text.contains("12.0×"), "{text}");
    }
    #[test]
    fn real_workers_are_compared_with_stock_throughout_and_count_with_the_scheduler() {
        let of = |engine, workers, worker_cpu| Sample {
            workers,
            worker_cpu_us_per_task: Some(worker_cpu),
            ..sample(engine, 100.0)
        };
        let samples = [
            of(Engine::Stock, Workers::Stock, 900.0),
            of(Engine::Native, Workers::Native, 25.0),
        ];
        let text = table(&samples);
        assert!(text.contains("8.0×"), "{text}");
    }
}
