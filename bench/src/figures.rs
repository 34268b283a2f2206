//! Numbers with units of their own: a row each, a column for every pairing; and what was to be reached.

use std::collections::BTreeMap;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, Table};
use serde::Serialize;

use crate::cluster::{Engine, Workers};
use crate::report::{Sample, Spread, Summary, summarise};
use crate::scenario::ScenarioName;

pub const IDLE_WORKER: &str = "idle worker, all of it";
pub const IDLE_WITHOUT_EXECUTOR: &str = "idle worker, its first process";

/// One number, measured once.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    pub scenario: ScenarioName,
    pub title: String,
    pub unit: String,
    pub workers: Workers,
    pub engine: Engine,
    pub value: f64,
}

/// Scheduler and workers, as columns.
const PAIRINGS: [(Engine, Workers); 4] = [
    (Engine::Stock, Workers::Stock),
    (Engine::Stock, Workers::Native),
    (Engine::Native, Workers::Stock),
    (Engine::Native, Workers::Native),
];
const ALL_STOCK: (Engine, Workers) = PAIRINGS[0];
const ALL_NATIVE: (Engine, Workers) = PAIRINGS[3];

/// What the figures of one title came to in one pairing.
fn median(figures: &[Figure], title: &str, pairing: (Engine, Workers)) -> Option<f64> {
    let of = figures
        .iter()
        .filter(|it| it.title == title && (it.engine, it.workers) == pairing);
    Spread::of(of.map(|it| it.value).collect()).map(|spread| spread.median)
}

pub fn table(figures: &[Figure]) -> String {
    let mut titles: BTreeMap<(ScenarioName, usize), &Figure> = BTreeMap::new();
    for (place, figure) in figures.iter().enumerate() {
        let known = titles.values().any(|it| it.title == figure.title);
        if !known {
            titles.insert((figure.scenario, place), figure);
        }
    }
    let mut table = Table::new();
    let header = ["figure".to_owned(), "unit".to_owned()].into_iter();
    let pairings = PAIRINGS.iter().map(|(engine, workers)| {
        format!("{} scheduler\n{} workers", engine.title(), workers.title())
    });
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_header(header.chain(pairings));
    for figure in titles.values() {
        let values = PAIRINGS
            .map(|pairing| median(figures, &figure.title, pairing).map_or_else(String::new, shown));
        let row = [figure.title.clone(), figure.unit.clone()];
        table.add_row(row.into_iter().chain(values));
    }
    for column in 2..6 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

fn shown(value: f64) -> String {
    match value {
        large if large >= 100.0 => format!("{large:.0}"),
        middle if middle >= 10.0 => format!("{middle:.1}"),
        small => format!("{small:.2}"),
    }
}

/// A line of what was to be reached.
struct Target {
    what: &'static str,
    wanted: String,
    found: f64,
    is_reached: bool,
}

impl Target {
    fn at_most(what: &'static str, most: f64, unit: &str, found: f64) -> Self {
        Self {
            what,
            wanted: format!("≤ {} {unit}", shown(most)),
            found,
            is_reached: found <= most,
        }
    }

    fn at_least(what: &'static str, least: f64, unit: &str, found: f64) -> Self {
        Self {
            what,
            wanted: format!("≥ {} {unit}", shown(least)),
            found,
            is_reached: found >= least,
        }
    }
}

/// What our engine is to reach beside stock's in the same run, as far as it was measured; None where nothing was.
pub fn targets(samples: &[Sample], figures: &[Figure]) -> Option<String> {
    let lines: Vec<_> = of_tasks(&summarise(samples))
        .into_iter()
        .chain(of_figures(figures))
        .collect();
    if lines.is_empty() {
        return None;
    }
    let mut table = Table::new();
    table
        .load_style(UTF8_FULL_CONDENSED)
        .set_header(["to reach, all of ours", "", "found", ""]);
    for line in lines {
        let verdict = if line.is_reached {
            "reached"
        } else {
            "not yet"
        };
        table.add_row([
            line.what.to_owned(),
            line.wanted,
            shown(line.found),
            verdict.to_owned(),
        ]);
    }
    Some(table.to_string())
}

fn of_tasks(summaries: &[Summary<'_>]) -> Vec<Target> {
    let row = |scenario, pairing| {
        summaries
            .iter()
            .find(|it| it.scenario == scenario && (it.engine, it.workers) == pairing)
    };
    let stock = row(ScenarioName::Map, ALL_STOCK);
    let ours = row(ScenarioName::Map, ALL_NATIVE);
    let mut targets = Vec::new();
    if let (Some(stock), Some(ours)) = (stock, ours) {
        let wall = stock.wall_us_per_task.median / ours.wall_us_per_task.median;
        let cpu = stock.cpu_us_per_task() / ours.cpu_us_per_task();
        targets.push(Target::at_least(
            "trivial tasks, wall: stock ÷ ours",
            5.0,
            "",
            wall,
        ));
        targets.push(Target::at_least(
            "trivial tasks, CPU of scheduler and workers: stock ÷ ours",
            6.0,
            "",
            cpu,
        ));
    }
    if let Some(chain) = row(ScenarioName::Chain, ALL_NATIVE) {
        let link_ms = chain.wall_us_per_task.median / 1000.0;
        targets.push(Target::at_most("a link of a chain", 2.0, "ms", link_ms));
    }
    targets
}

/// Figures where ours are to be no less than stock's.
const NOT_BELOW_STOCK: [&str; 5] = [
    "gather",
    "gather, past the scheduler",
    "scatter",
    "scatter, past the scheduler",
    "worker to worker",
];

/// Figures that ours are not to exceed, with units.
const AT_MOST: [(&str, f64, &str); 3] = [
    ("METG(50 %), no dependencies", 1.0, "ms"),
    ("METG(50 %), stencil", 2.0, "ms"),
    (IDLE_WITHOUT_EXECUTOR, 16.0, "MiB"),
];

fn of_figures(figures: &[Figure]) -> Vec<Target> {
    let moved = NOT_BELOW_STOCK.into_iter().filter_map(|title| {
        let stock = median(figures, title, ALL_STOCK)?;
        let ours = median(figures, title, ALL_NATIVE)?;
        Some(Target::at_least(title, stock, "MB/s", ours))
    });
    let bounded = AT_MOST.into_iter().filter_map(|(title, most, unit)| {
        let ours = median(figures, title, ALL_NATIVE)?;
        Some(Target::at_most(title, most, unit, ours))
    });
    moved.chain(bounded).collect()
}

#[cfg(test)]
mod tests {
    use super::{ALL_NATIVE, ALL_STOCK, Figure, IDLE_WITHOUT_EXECUTOR, table, targets};
    use crate::cluster::{Engine, Workers};
    use crate::scenario::ScenarioName;

    fn figure(title: &str, (engine, workers): (Engine, Workers), value: f64) -> Figure {
        Figure {
            scenario: ScenarioName::Gather,
            title: title.into(),
            unit: "MB/s".into(),
            workers,
            engine,
            value,
        }
    }

    #[test]
    fn pairings_stand_side_by_side_with_their_medians() {
        let figures = [100.0, 300.0, 200.0].map(|value| figure("gather", ALL_NATIVE, value));
        let text = table(&figures);
        assert!(text.contains("gather") && text.contains("200"), "{text}");
        assert!(!text.contains("300"), "{text}");
    }

    #[test]
    fn ours_must_not_move_less_than_stock() {
        let of = |ours| {
            let figures = [
                figure("gather", ALL_STOCK, 1000.0),
                figure("gather", ALL_NATIVE, ours),
            ];
            targets(&[], &figures).expect("there is a target")
        };
        assert!(of(1001.0).contains("reached"));
        assert!(of(999.0).contains("not yet"));
    }

    #[test]
    fn what_has_a_bound_is_judged_alone() {
        let figures = [figure(IDLE_WITHOUT_EXECUTOR, ALL_NATIVE, 12.0)];
        assert!(targets(&[], &figures).is_some_and(|text| text.contains("reached")));
        assert!(targets(&[], &[]).is_none());
    }
}
