//! `cargo xtask bench …`: builds what is measured and hands over to the program `bench`.

use anyhow::Result;

use crate::command::{Run, release_directory};
use crate::python;

pub fn run(arguments: &[String]) -> Result<()> {
    let python = python::environment(crate::gate::CURRENT_REQUIREMENTS)?;
    Run::cargo()
        .args(&["build", "--release", "--workspace", "--bins"])
        .run()?;
    let release = release_directory()?;
    arguments
        .iter()
        .fold(Run::new(release.join("bench")), Run::arg)
        .env("DASKJOB_BIN", release.join("daskjob"))
        .env(contract::environment::PYTHON, python)
        .run()
}
