//! The directories of a run, below one that is removed at the end.
//!
//! ```text
//! <run>/bin/            python, python3: the chosen interpreter, first on PATH
//! <run>/<attempt>/files the job's files, on everyone's PYTHONPATH
//! <run>/<attempt>/work  the same files again: the program's working directory, to write into
//! <run>/<attempt>/logs  one file a process
//! <run>/<attempt>/tmp   everyone's TMPDIR, and Dask's scratch space
//! ```

use super::interpreter::Interpreter;
use plan::Files;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The directories of one attempt.
#[derive(Debug, Clone)]
pub struct Directories {
    /// First on everyone's PATH.
    pub programs: PathBuf,
    pub files: PathBuf,
    pub work: PathBuf,
    pub logs: PathBuf,
    pub scratch: PathBuf,
    /// What the scheduler writes when it answers.
    pub scheduler_file: PathBuf,
}

impl Directories {
    /// Makes them and writes the files. Logs go to `logs` where it is given.
    pub fn make(
        run: &Path,
        attempt: u32,
        files: &Files,
        interpreter: &Interpreter,
        logs: Option<&Path>,
    ) -> io::Result<Self> {
        let of_attempt = run.join(attempt.to_string());
        let directories = Directories {
            programs: run.join("bin"),
            files: of_attempt.join("files"),
            work: of_attempt.join("work"),
            logs: logs.map_or_else(
                || of_attempt.join("logs"),
                |logs| logs.join(format!("attempt-{attempt}")),
            ),
            scratch: of_attempt.join("tmp"),
            scheduler_file: of_attempt.join("scheduler.json"),
        };
        for directory in [
            &directories.programs,
            &directories.files,
            &directories.work,
            &directories.logs,
            &directories.scratch,
        ] {
            std::fs::create_dir_all(directory)?;
        }
        for (path, text) in files.iter() {
            write_below(&directories.files, path.as_str(), text)?;
            write_below(&directories.work, path.as_str(), text)?;
        }
        for name in ["python", "python3"] {
            write_wrapper(&directories.programs.join(name), interpreter)?;
        }
        Ok(directories)
    }
}

fn write_below(directory: &Path, path: &str, text: &str) -> io::Result<()> {
    let file = directory.join(path);
    if let Some(parent) = file.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(file, text)
}

/// A script and not a link: through a link an interpreter would not find its virtual environment.
fn write_wrapper(file: &Path, interpreter: &Interpreter) -> io::Result<()> {
    let quoted = interpreter.path.to_string_lossy().replace('\'', r"'\''");
    std::fs::write(file, format!("#!/bin/sh\nexec '{quoted}' \"$@\"\n"))?;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o700))
}
