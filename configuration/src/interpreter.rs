//! Where the Python installation of the graph helper lies: its `etc/dask` holds configuration.
//!
//! Invariant: a virtual environment is recognised by its own file; Python is asked only where there is none.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The interpreter that will open graphs: the one named, by path or by name, or the first on PATH.
pub fn find(python: Option<&Path>) -> Option<PathBuf> {
    match python {
        Some(path) if path.components().count() > 1 => path.is_file().then(|| path.to_owned()),
        Some(name) => on_path(name),
        None => on_path(Path::new("python3")).or_else(|| on_path(Path::new("python"))),
    }
}

/// `sys.prefix` of an interpreter, if it can be told.
pub fn prefix(python: &Path) -> Option<PathBuf> {
    let environment = python.parent()?.parent()?;
    if environment.join("pyvenv.cfg").is_file() {
        return Some(environment.to_owned());
    }
    ask(python)
}

fn on_path(name: &Path) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())
}

fn ask(python: &Path) -> Option<PathBuf> {
    let output = Command::new(python)
        .args(["-I", "-S", "-c", "import sys; print(sys.prefix)"])
        .output()
        .ok()?;
    let prefix = String::from_utf8(output.stdout).ok()?;
    let prefix = prefix.trim();
    (output.status.success() && !prefix.is_empty()).then(|| PathBuf::from(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_virtual_environment_is_its_own_prefix() {
        let environment = tempfile::tempdir().unwrap();
        std::fs::create_dir(environment.path().join("bin")).unwrap();
        std::fs::write(environment.path().join("pyvenv.cfg"), "home = /usr/bin").unwrap();
        let python = environment.path().join("bin/python");
        assert_eq!(prefix(&python), Some(environment.path().to_owned()));
    }

    #[test]
    fn an_interpreter_that_is_not_there_is_not_found() {
        assert_eq!(find(Some(Path::new("/nonexistent/bin/python"))), None);
        assert_eq!(find(Some(Path::new("no-such-python-anywhere"))), None);
        assert_eq!(find(Some(Path::new("/bin/sh"))), Some("/bin/sh".into()));
    }
}
