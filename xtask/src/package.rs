//! The Python package as a user gets it: built by `pip` from this checkout, installed where there is nothing else of ours.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::command::{Run, release_directory};
use crate::python;

const BUILD_REQUIREMENTS: &str = "python/requirements-wheel.txt";

/// The interpreter of a fresh environment with the package in it, and the packages of `others`.
pub fn installed(others: &Path) -> Result<PathBuf> {
    let wheel = wheel()?;
    python::with_wheel(&release_directory()?.join("installed"), &wheel, others)
}

/// Built with the programs that are there already: nothing is compiled twice.
fn wheel() -> Result<PathBuf> {
    let python = python::environment(BUILD_REQUIREMENTS)?;
    let directory = release_directory()?.join("wheels");
    if directory.exists() {
        fs::remove_dir_all(&directory).context("remove older wheels")?;
    }
    Run::new(&python)
        .without_our_package()
        .env("PATH", path_with(&python))
        .args(&[
            "-m",
            "pip",
            "wheel",
            "--no-build-isolation",
            "--no-deps",
            "--quiet",
        ])
        .arg("--wheel-dir")
        .arg(&directory)
        .arg(".")
        .run()
        .context("build the wheel")?;
    let made = fs::read_dir(&directory).context("find the wheel")?;
    let mut wheels = made.filter_map(|entry| Some(entry.ok()?.path()));
    wheels.next().context("find the wheel: none was made")
}

/// The build calls maturin by its name.
fn path_with(python: &Path) -> OsString {
    let beside = python.parent().map(Path::to_path_buf);
    let usual = env::var_os("PATH").unwrap_or_default();
    let all = beside.into_iter().chain(env::split_paths(&usual));
    env::join_paths(all).unwrap_or(usual.clone())
}
