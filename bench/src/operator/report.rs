//! What was measured, as a table for people and JSON for programs.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use serde::Serialize;

use super::contender::Product;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    Seconds,
    Mebibytes,
    PercentOfCore,
    PerSecond,
    Count,
    Ratio,
}

impl Unit {
    fn title(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Mebibytes => "MiB",
            Self::PercentOfCore => "% of a core",
            Self::PerSecond => "1/s",
            Self::Count | Self::Ratio => "",
        }
    }
}

/// One thing about one operator, measured once or more often.
#[derive(Debug, Serialize)]
struct Measured {
    product: Product,
    what: &'static str,
    unit: Unit,
    values: Vec<f64>,
}

#[derive(Debug, Serialize)]
pub struct Report {
    load_before: f64,
    load_after: f64,
    measured: Vec<Measured>,
}

impl Report {
    pub fn new(load_before: f64) -> Self {
        Self {
            load_before,
            load_after: load_before,
            measured: Vec::new(),
        }
    }

    pub fn load_after(&mut self, load: f64) {
        self.load_after = load;
    }

    pub fn add(&mut self, product: Product, what: &'static str, unit: Unit, values: Vec<f64>) {
        let known = self
            .measured
            .iter_mut()
            .find(|it| it.product == product && it.what == what);
        match known {
            Some(known) => known.values.extend(values),
            None => self.measured.push(Measured {
                product,
                what,
                unit,
                values,
            }),
        }
    }

    fn find(&self, product: Product, what: &str) -> Option<&Measured> {
        self.measured
            .iter()
            .find(|it| it.product == product && it.what == what)
    }

    pub fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(UTF8_FULL_CONDENSED).set_header([
            "",
            "unit",
            "daskjob\np50",
            "\np99",
            "\nmax",
            "\nn",
            "dask-kubernetes\np50",
            "\np99",
            "\nmax",
            "\nn",
        ]);
        let mut rows: Vec<(&str, Unit)> = Vec::new();
        for it in &self.measured {
            if !rows.iter().any(|(what, _)| *what == it.what) {
                rows.push((it.what, it.unit));
            }
        }
        for (what, unit) in rows {
            let mut cells = vec![Cell::new(what), Cell::new(unit.title())];
            for product in [Product::Daskjob, Product::DaskKubernetes] {
                cells.extend(figures(self.find(product, what)));
            }
            table.add_row(cells);
        }
        for column in 2..10 {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        format!(
            "{table}\nload average before {:.1}, after {:.1}: what else runs makes everything slower",
            self.load_before, self.load_after
        )
    }

    pub fn write_json(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(path, text).with_context(|| format!("write {}", path.display()))
    }
}

fn figures(measured: Option<&Measured>) -> Vec<Cell> {
    let Some(measured) = measured else {
        return (0..4).map(|_| Cell::new("")).collect();
    };
    let mut values = measured.values.clone();
    values.sort_by(f64::total_cmp);
    let single = values.len() == 1;
    let mut cells = vec![Cell::new(number(percentile(&values, 50)))];
    for percent in [99, 100] {
        let text = if single {
            String::new()
        } else {
            number(percentile(&values, percent))
        };
        cells.push(Cell::new(text));
    }
    cells.push(Cell::new(values.len()));
    cells
}

/// The smallest value that so many percent do not exceed.
fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(f64::NAN)
}

fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Report, Unit, percentile};
    use crate::operator::contender::Product;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0];
        assert_eq!(percentile(&values, 50), 5.0);
        assert_eq!(percentile(&values, 99), 10.0);
        assert_eq!(percentile(&values[..1], 99), 1.0);
    }

    #[test]
    fn both_stand_in_one_row() {
        let mut report = Report::new(0.5);
        report.add(
            Product::Daskjob,
            "apply → first task",
            Unit::Seconds,
            vec![3.0],
        );
        report.add(
            Product::Daskjob,
            "apply → first task",
            Unit::Seconds,
            vec![3.5],
        );
        report.add(
            Product::DaskKubernetes,
            "apply → first task",
            Unit::Seconds,
            vec![4.4],
        );
        let table = report.table();
        let row = table
            .lines()
            .find(|line| line.contains("first task"))
            .expect("there is a row");
        assert!(row.contains("3.50") && row.contains("4.40"), "{table}");
    }
}
