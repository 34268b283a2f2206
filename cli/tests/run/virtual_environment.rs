//! No Python with distributed: a virtual environment is made in the cache directory, once. Real `venv` and real `pip`;
//! what they install are stand-ins of a few bytes from a directory of wheels, so that no other host is asked.

use crate::harness::{self, Finished, Place, finished};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

const REQUIREMENTS: &str = include_str!("../../../python/requirements.txt");

/// Writes wheels: `directory name==version …`.
const WHEELS: &str = r#"
import sys, zipfile
directory, *requirements = sys.argv[1:]
for requirement in requirements:
    name, version = requirement.replace("-", "_").split("==")
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(f"{directory}/{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}/__init__.py", "stand_in = True\n")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
"#;

const JOB: &str =
    "job: {command: [python, -c, 'import distributed; print(\"stand-in\", distributed.stand_in)']}";

/// A place whose only Python is a plain one.
struct Bare {
    place: Place,
    wheels: PathBuf,
    search_path: PathBuf,
}

impl Bare {
    /// `None`, with a line that says so, where there is no Python that can make environments.
    fn new() -> Option<Self> {
        let place = Place::new();
        let wheels = place.home().join("wheels");
        let search_path = place.home().join("bin");
        std::fs::create_dir(&wheels).unwrap();
        std::fs::create_dir(&search_path).unwrap();
        let python = plain_python().or_else(|| {
            eprintln!("skipped: python3 with venv and without distributed is not installed here");
            None
        })?;
        // Of itself, not by a link: through one it would not find its library.
        let script = format!("#!/bin/sh\nexec '{}' \"$@\"\n", python.display());
        std::fs::write(search_path.join("python3"), script).unwrap();
        let executable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(search_path.join("python3"), executable).unwrap();
        Some(Bare {
            place,
            wheels,
            search_path,
        })
    }

    fn offer_wheels(&self) {
        let pinned = REQUIREMENTS
            .lines()
            .filter(|line| line.contains("=="))
            .map(|line| line.split(';').next().unwrap());
        let made = Command::new(self.search_path.join("python3"))
            .args(["-c", WHEELS])
            .arg(&self.wheels)
            .args(pinned)
            .status();
        assert!(made.unwrap().success());
    }

    fn command(&self) -> Command {
        let manifest = self.place.manifest(JOB);
        let mut command = self.place.command(&["run", manifest.to_str().unwrap()]);
        let path = format!("{}:/usr/bin:/bin", self.search_path.display());
        command
            .env_remove("DASKJOB_PYTHON")
            .env("PATH", path)
            .env("DASKJOB_CACHE_DIR", self.cache())
            .env("PIP_NO_INDEX", "1")
            .env("PIP_FIND_LINKS", &self.wheels)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn run(&self) -> Finished {
        finished(self.command().output().unwrap())
    }

    fn cache(&self) -> PathBuf {
        self.place.home().join("cache")
    }

    /// The environments in the cache directory.
    fn environments(&self) -> Vec<PathBuf> {
        std::fs::read_dir(self.cache())
            .unwrap()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| path.is_dir())
            .collect()
    }
}

/// The Python that the one with distributed was made from, else the system's.
fn plain_python() -> Option<PathBuf> {
    let base = "import os, sys; print(os.path.join(sys.base_prefix, 'bin', 'python3'))";
    let can = "import importlib.util as i, sys, venv, ensurepip; sys.exit(i.find_spec('distributed') is not None)";
    let output = |python: &Path, program: &str| {
        let output: Option<Output> = Command::new(python).args(["-c", program]).output().ok();
        output.filter(|output| output.status.success())
    };
    let of_tests = harness::python().and_then(|python| output(&python, base));
    let of_tests = of_tests.map(|output| String::from_utf8(output.stdout).unwrap());
    of_tests
        .iter()
        .map(|path| Path::new(path.trim()))
        .chain([Path::new("/usr/bin/python3")])
        .find(|python| output(python, can).is_some())
        .map(Path::to_owned)
}

#[test]
fn what_pip_could_not_install_is_said_with_a_remedy_and_never_used_half_made() {
    let Some(bare) = Bare::new() else {
        return;
    };
    let failed = bare.run();
    let failed = failed.expect(70);
    for said in [
        "making a virtual environment in",
        "pip install failed (exit status: 1); is the package index reachable?",
        "No matching distribution found for",
        "--python",
    ] {
        failed.expect_said(said);
    }
    // What is there looks like an environment, but lacks its mark; a trace shows that it is not used again.
    let half_made = bare.environments();
    let trace = half_made[0].join("trace");
    std::fs::write(&trace, "").unwrap();
    bare.offer_wheels();
    let made = bare.run();
    assert_eq!(
        (made.code, made.text().as_str()),
        (0, "stand-in True\n"),
        "{}",
        made.stderr
    );
    assert!(made.stderr.contains("the virtual environment is ready"));
    assert!(!trace.exists());
    assert_eq!(bare.environments(), half_made);

    let again = bare.run();
    assert_eq!(again.code, 0, "{}", again.stderr);
    assert!(
        !again.stderr.contains("virtual environment"),
        "{}",
        again.stderr
    );
    bare.place.nothing_is_left(&again.stderr);
}

#[test]
fn two_runs_at_once_make_one_environment() {
    let Some(bare) = Bare::new() else {
        return;
    };
    bare.offer_wheels();
    let both = [0, 1].map(|_| bare.command().spawn().unwrap());
    let both = both.map(|child| finished(child.wait_with_output().unwrap()));
    for run in &both {
        assert_eq!(
            (run.code, run.text().as_str()),
            (0, "stand-in True\n"),
            "{}",
            run.stderr
        );
    }
    let made = both
        .iter()
        .filter(|run| run.stderr.contains("making a virtual environment in"));
    assert_eq!(made.count(), 1);
    assert_eq!(bare.environments().len(), 1);
}
