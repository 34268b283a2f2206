//! `cargo xtask bench …`: builds what is measured and hands over to the program `bench`.

use anyhow::Result;

use crate::command::{Run, release_directory};
use crate::python;

/// The operator that ours is measured beside.
const DASK_KUBERNETES: &str = "bench/requirements-dask-kubernetes.txt";
const DASK_KUBERNETES_PYTHON: &str = "DASKJOB_BENCH_DASK_KUBERNETES_PYTHON";

/// What `cargo xtask bench --help` adds; the program's own tests keep it true.
pub const HELP: &str = include_str!("../../bench/help.txt");

pub fn run(arguments: &[String]) -> Result<()> {
    let python = python::environment(crate::gate::CURRENT_REQUIREMENTS)?;
    Run::cargo()
        .args(&["build", "--release", "--workspace", "--bins"])
        .run()?;
    let release = release_directory()?;
    let mut bench = arguments
        .iter()
        .fold(Run::new(release.join("bench")), Run::arg);
    if arguments.first().is_some_and(|what| what == "operator") {
        bench = bench.env(
            DASK_KUBERNETES_PYTHON,
            python::environment(DASK_KUBERNETES)?,
        );
    }
    bench
        .env("DASKJOB_BIN", release.join("daskjob"))
        .env(contract::environment::PYTHON, python)
        .run()
}
