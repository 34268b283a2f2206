//! The gate: which steps `test` and `check` consist of, in which order.
//!
//! Invariant: `test` runs everything `check` does, so that passing it means passing all there is.

use anyhow::{Context, Result, bail};

use crate::check;
use crate::cluster::{self, Tier, Unavailable};
use crate::command::{Run, release_directory};
use crate::generate;
use crate::image;
use crate::package;
use crate::python;
use crate::report::{Outcome, Report};
use crate::tally::Tally;

/// The newest supported release of distributed, which most tests run against.
pub const CURRENT_REQUIREMENTS: &str = "tests/compat/requirements.txt";
/// The oldest supported release.
const OLDEST_REQUIREMENTS: &str = "tests/compat/requirements-oldest.txt";

/// How much of the tests to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// What a change is merged on.
    Usual,
    /// Also what takes minutes and tells little more.
    All,
}

type Perform = fn(Extent) -> Result<Outcome>;

/// How many modules of the compatibility suite run at once, each with a cluster of its own. Its tests wait as much as
/// they compute; with more of them those that look at time would meet a machine too busy to tell anything.
const COMPATIBILITY_PROCESSES: &str = "2";

/// How many tests of the operator run at once: most of the time of a job is spent waiting.
const JOBS_AT_ONCE: &str = "4";

/// One step, and the steps without which it cannot succeed.
struct Step {
    name: &'static str,
    needs: &'static [&'static str],
    run: Perform,
}

const fn step(name: &'static str, run: Perform) -> Step {
    Step {
        name,
        needs: &[],
        run,
    }
}

const fn after(needs: &'static [&'static str], name: &'static str, run: Perform) -> Step {
    Step { name, needs, run }
}

const CHECKS: [Step; 5] = [
    step("format", |_| passed(check::format_is_kept())),
    step("lints", |_| passed(check::lints())),
    step("dependencies", |_| passed(check::dependencies())),
    step("generated files", |_| passed(generate::run(true))),
    step("documentation", |_| passed(check::documentation())),
];

/// Part of the Rust tests too, so that `test` has no step for them.
const ARROWS: Step = step("arrows", |_| passed(check::arrows()));

const BINARIES: &str = "release binaries";
const ENVIRONMENTS: &str = "python environments";

const STATIC_PROGRAM: &str = "static program";

const TESTS: [Step; 15] = [
    step(BINARIES, |_| passed(build())),
    step(ENVIRONMENTS, |_| environments()),
    step(STATIC_PROGRAM, |_| static_program()),
    after(&[ENVIRONMENTS], "rust tests", rust_tests),
    step("simulation", |_| simulation()),
    step("cluster", |_| on_cluster(Tier::ControlPlane, "api_server")),
    step("cluster node", |_| on_cluster(Tier::Node, "node")),
    after(&[STATIC_PROGRAM], "operator", |extent| {
        with_images("operator", extent)
    }),
    after(&[STATIC_PROGRAM], "helm", |extent| {
        with_images("helm", extent)
    }),
    after(&[STATIC_PROGRAM], "cluster cli", |extent| {
        with_images("cli", extent)
    }),
    after(&[BINARIES, ENVIRONMENTS], "executor", |extent| {
        pytest(CURRENT_REQUIREMENTS, "tests/executor", extent)
    }),
    after(&[BINARIES, ENVIRONMENTS], "oldest executor", |extent| {
        pytest(OLDEST_REQUIREMENTS, "tests/executor", extent)
    }),
    after(&[BINARIES, ENVIRONMENTS], "python package", python_package),
    after(&[BINARIES, ENVIRONMENTS], "compatibility", compatibility),
    after(&[BINARIES, ENVIRONMENTS], "oldest release", oldest_release),
];

/// Runs the checks.
pub fn check() -> Result<bool> {
    let extent = Extent::Usual;
    let mut report = Report::default();
    for step in CHECKS.iter().chain([&ARROWS]) {
        report.step(step.name, step.needs, || (step.run)(extent));
    }
    Ok(report.finish())
}

/// Runs the checks and the tests, or those whose names contain one of the words and what they need.
pub fn test(only: &[String], list: bool, extent: Extent) -> Result<bool> {
    let wanted =
        |step: &Step| only.is_empty() || only.iter().any(|word| step.name.contains(word.as_str()));
    let all: Vec<_> = TESTS.iter().chain(&CHECKS).collect();
    let needed: Vec<_> = all
        .iter()
        .filter(|step| wanted(step))
        .flat_map(|step| step.needs)
        .collect();
    let steps: Vec<_> = all
        .into_iter()
        .filter(|step| wanted(step) || needed.contains(&&step.name))
        .collect();
    if steps.is_empty() {
        bail!("find a step named like {only:?}: `cargo xtask test --list` shows them");
    }
    if list {
        steps.iter().for_each(|step| println!("{}", step.name));
        return Ok(true);
    }
    let mut report = Report::default();
    for step in steps {
        report.step(step.name, step.needs, || (step.run)(extent));
    }
    cluster::down_unless_somebody_stays();
    Ok(report.finish())
}

fn passed(result: Result<()>) -> Result<Outcome> {
    result.map(|()| Outcome::Passed)
}

fn build() -> Result<()> {
    Run::cargo()
        .args(&["build", "--release", "--workspace", "--bins", "--examples"])
        .run()
}

fn environments() -> Result<Outcome> {
    for requirements in [CURRENT_REQUIREMENTS, OLDEST_REQUIREMENTS] {
        let python = python::environment(requirements)?;
        println!("    {requirements}: {}", python.display());
    }
    Ok(Outcome::Passed)
}

/// As it goes into images; tests of the launcher put it where there is nothing else.
fn static_program() -> Result<Outcome> {
    match image::static_program() {
        Err(error) if error.is::<Unavailable>() => Ok(Outcome::Skipped(error.to_string())),
        outcome => outcome.map(|_| Outcome::Passed),
    }
}

fn rust_tests(extent: Extent) -> Result<Outcome> {
    let mut run = Run::cargo()
        .args(&[
            "test",
            "--release",
            "--workspace",
            "--exclude",
            "simulation",
            "--exclude",
            "cluster",
            "--no-fail-fast",
        ])
        .env("DASKJOB_BIN", release_directory()?.join("daskjob"))
        .env(
            contract::environment::PYTHON,
            python::environment(CURRENT_REQUIREMENTS)?,
        );
    if let Some(program) = image::built_static_program() {
        run = run.env("DASKJOB_STATIC_BIN", program);
    }
    counted(at_extent(run, extent))
}

/// Ten thousand seeds; a failing one is printed with the command that replays it.
fn simulation() -> Result<Outcome> {
    // Of the whole workspace, so that nothing is compiled again with other features.
    counted(Run::cargo().args(&["test", "--release", "--workspace", "--test", "seeds"]))
}

/// Tests on a real Kubernetes, where this machine can have one.
fn on_cluster(tier: Tier, tests: &str) -> Result<Outcome> {
    let description = match cluster::up(tier) {
        Err(error) if error.is::<Unavailable>() => {
            return Ok(Outcome::Skipped(error.to_string()));
        }
        outcome => outcome?,
    };
    let run = Run::cargo()
        .args(&["test", "--release", "--workspace", "--test", tests])
        .env(cluster::DESCRIPTION, description);
    counted(run)
}

/// Tests on the real node that need the images: jobs (one for each class of failure, or all there are), the chart.
fn with_images(tests: &str, extent: Extent) -> Result<Outcome> {
    let description = match cluster::up(Tier::Node) {
        Err(error) if error.is::<Unavailable>() => {
            return Ok(Outcome::Skipped(error.to_string()));
        }
        outcome => outcome?,
    };
    let mut run = Run::cargo()
        .args(&["test", "--release", "--workspace", "--test", tests])
        .args(&["--no-fail-fast", "--", "--test-threads", JOBS_AT_ONCE])
        .env(cluster::DESCRIPTION, description)
        .env("DASKJOB_STATIC_BIN", image::give_to_node()?);
    if extent == Extent::All {
        run = run.arg("--include-ignored");
    }
    counted(run)
}

/// What `pip install .` brings, used as a user would.
fn python_package(extent: Extent) -> Result<Outcome> {
    let others = python::environment(CURRENT_REQUIREMENTS)?;
    let python = package::installed(&others)?;
    let run = Run::new(&python).args(&["-m", "pytest", "tests/package", "-ra"]);
    counted(at_extent(run, extent))
}

/// Unmodified Dask against its own scheduler and workers and ours, the same assertions for all.
fn compatibility(extent: Extent) -> Result<Outcome> {
    pytest(CURRENT_REQUIREMENTS, "tests/compat", extent)
}

/// The main features once more, with the oldest release we support on both sides.
fn oldest_release(extent: Extent) -> Result<Outcome> {
    pytest(
        OLDEST_REQUIREMENTS,
        "tests/compat/test_supported_range.py",
        extent,
    )
}

fn pytest(requirements: &str, tests: &str, extent: Extent) -> Result<Outcome> {
    let program = release_directory()?.join("daskjob");
    if !program.exists() {
        bail!("test {}: it was not built", program.display());
    }
    let python = python::environment(requirements).context("set up the compatibility suite")?;
    let run = Run::new(&python)
        .args(&["-m", "pytest", tests, "-ra"])
        .args(&["--numprocesses", COMPATIBILITY_PROCESSES])
        .args(&["--dist", "loadfile", "--no-loadscope-reorder"])
        .env("DASKJOB_BIN", program)
        .env(
            "DASKJOB_PROTOCOL_PROBE",
            release_directory()?.join("examples/protocol_probe"),
        )
        .env(contract::environment::PYTHON, &python);
    counted(at_extent(run, extent))
}

fn at_extent(run: Run, extent: Extent) -> Run {
    match extent {
        Extent::Usual => run,
        Extent::All => run.env("COMPAT_FULL", "1"),
    }
}

/// Runs tests and counts them. A run that failed without a failing test (it did not even start) is a failure.
fn counted(run: Run) -> Result<Outcome> {
    let shown = run.to_string();
    let mut tally = Tally::default();
    let status = run.run_seeing(|line| tally.see(line))?;
    if !status.success() && tally.failed == 0 {
        bail!("{shown}: {status}");
    }
    Ok(Outcome::Counted(tally))
}
