//! The steps of a run, one after the other, and the summary at its end.
//!
//! Invariant: a failing step does not keep the others from running, and its name is among the last lines printed.

use std::time::Duration;

use anyhow::Result;

use crate::clock;
use crate::tally::Tally;

/// How a step ended.
pub enum Outcome {
    /// With test counts.
    Counted(Tally),
    /// Well, without counts.
    Passed,
    /// Not run, and why.
    Skipped(String),
}

struct Row {
    name: &'static str,
    verdict: &'static str,
    remark: String,
    duration: Duration,
}

#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
    total: Tally,
}

impl Report {
    /// Runs a step, unless a step it needs failed, and notes how it went.
    pub fn step(
        &mut self,
        name: &'static str,
        needs: &[&'static str],
        run: impl FnOnce() -> Result<Outcome>,
    ) {
        println!("\n==> {name}");
        let stopwatch = clock::start();
        let outcome = match needs.iter().find(|need| self.lacks(need)) {
            Some(need) => Ok(Outcome::Skipped(format!("it needs \"{need}\""))),
            None => run(),
        };
        let (tally, verdict, remark) = match outcome {
            Ok(Outcome::Passed) => (Tally::ONE_PASSED, "passed", String::new()),
            Ok(Outcome::Skipped(reason)) => (Tally::default(), "skipped", reason),
            Ok(Outcome::Counted(tally)) if tally.failed == 0 && tally.passed > 0 => {
                (tally, "passed", counts(tally))
            }
            Ok(Outcome::Counted(tally)) if tally.failed == 0 => {
                (Tally::ONE_FAILED, "failed", "it ran no test".to_owned())
            }
            Ok(Outcome::Counted(tally)) => (tally, "failed", counts(tally)),
            Err(error) => {
                let remark = format!("{error:#}");
                eprintln!("{name}: {remark}");
                (Tally::ONE_FAILED, "failed", remark)
            }
        };
        self.total.add(tally);
        self.rows.push(Row {
            name,
            verdict,
            remark,
            duration: stopwatch.elapsed(),
        });
    }

    fn lacks(&self, need: &str) -> bool {
        self.rows
            .iter()
            .any(|row| row.name == need && row.verdict != "passed")
    }

    /// Prints the table; true where nothing failed.
    pub fn finish(self) -> bool {
        println!("\nSummary");
        for row in &self.rows {
            let seconds = row.duration.as_secs_f64();
            let line = format!(
                "  {:<8} {:<22} {seconds:>7.1} s  {}",
                row.verdict, row.name, row.remark
            );
            println!("{}", line.trim_end());
        }
        println!("{} passed, {} failed", self.total.passed, self.total.failed);
        self.total.failed == 0
    }
}

fn counts(tally: Tally) -> String {
    let Tally {
        passed,
        failed,
        skipped,
    } = tally;
    let mut parts = vec![format!("{passed} passed")];
    if failed > 0 {
        parts.push(format!("{failed} failed"));
    }
    if skipped > 0 {
        parts.push(format!("{skipped} skipped or failing as written down"));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_step_leaves_the_others_running_and_skips_what_needs_it() {
        let mut report = Report::default();
        let mut ran = Vec::new();
        report.step("first", &[], || anyhow::bail!("no"));
        report.step("second", &["first"], || {
            ran.push("second");
            Ok(Outcome::Passed)
        });
        report.step("third", &[], || {
            ran.push("third");
            Ok(Outcome::Passed)
        });
        assert_eq!(ran, ["third"]);
        let verdicts: Vec<_> = report.rows.iter().map(|row| row.verdict).collect();
        assert_eq!(verdicts, ["failed", "skipped", "passed"]);
        assert!(!report.finish());
    }

    #[test]
    fn a_step_of_tests_that_ran_none_failed() {
        let mut report = Report::default();
        report.step("empty", &[], || Ok(Outcome::Counted(Tally::default())));
        assert!(!report.finish());
    }
}
