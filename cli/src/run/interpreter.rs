//! Which Python runs the job, the workers and the graph helper; makes a virtual environment when there is none.

use super::logs;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use terminal::Console;
use tokio::process::Command;

/// What a virtual environment of ours gets.
const REQUIREMENTS: &str = include_str!("../../../python/requirements.txt");

/// Name of the file that marks a virtual environment as complete; it holds the requirements.
const MARK: &str = "daskjob-requirements.txt";

/// Prints the version of Python and of distributed; quick, because nothing of Dask is imported.
const PROBE: &str = "import sys, importlib.metadata as metadata
print('.'.join(map(str, sys.version_info[:3])))
try:
    print(metadata.version('distributed'))
except metadata.PackageNotFoundError:
    pass
";

/// The oldest Python that Dask's supported releases run on.
const OLDEST_PYTHON: (u32, u32) = (3, 10);

/// A Python that has distributed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interpreter {
    pub path: PathBuf,
    pub python_version: String,
    pub distributed_version: String,
}

/// Where a user says which Python to take.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    pub flag: Option<PathBuf>,
    /// `DASKJOB_PYTHON`
    pub variable: Option<OsString>,
    /// `VIRTUAL_ENV`
    pub virtual_environment: Option<OsString>,
    /// `PATH`
    pub search_path: Option<OsString>,
    pub cache_directory: Option<PathBuf>,
}

/// Why there is no Python to run with: sentences for people.
#[derive(Debug, thiserror::Error)]
pub enum InterpreterError {
    #[error("{path} (from {source_of_wish}) cannot be run as a Python interpreter: {reason}")]
    NotPython {
        path: String,
        source_of_wish: &'static str,
        reason: String,
    },
    #[error(
        "{path} (from {source_of_wish}) has no distributed. Install it there: {path} -m pip install distributed"
    )]
    NoDistributed {
        path: String,
        source_of_wish: &'static str,
    },
    #[error(
        "there is no python3 on PATH. Install Python {}.{} or newer, or name an interpreter with --python",
        OLDEST_PYTHON.0,
        OLDEST_PYTHON.1
    )]
    NoPython,
    #[error("{path} is Python {version}; Dask needs {}.{} or newer. Name another interpreter with --python", OLDEST_PYTHON.0, OLDEST_PYTHON.1)]
    TooOld { path: String, version: String },
    #[error(
        "there is no cache directory to make a virtual environment in: set HOME or {}",
        contract::environment::CACHE_DIRECTORY
    )]
    NoCacheDirectory,
    #[error(
        "cannot make a virtual environment in {directory}: {reason}\n\
         Or name a Python that has distributed, with --python PATH"
    )]
    VirtualEnvironment { directory: String, reason: String },
}

impl Wishes {
    /// From the command line and the environment of this process.
    pub fn of_process(flag: Option<PathBuf>) -> Self {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let cache_directory = set(contract::environment::CACHE_DIRECTORY)
            .map(PathBuf::from)
            .or_else(|| {
                let cache = set("XDG_CACHE_HOME")
                    .map(PathBuf::from)
                    .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".cache")));
                cache.map(|directory| directory.join("daskjob"))
            });
        Wishes {
            flag,
            variable: set(contract::environment::PYTHON),
            virtual_environment: set("VIRTUAL_ENV"),
            search_path: set("PATH"),
            cache_directory,
        }
    }

    /// What was asked for by name, and where.
    fn named(&self) -> Option<(PathBuf, &'static str)> {
        if let Some(path) = &self.flag {
            return Some((path.clone(), "--python"));
        }
        if let Some(path) = &self.variable {
            return Some((PathBuf::from(path), contract::environment::PYTHON));
        }
        let environment = self.virtual_environment.as_ref()?;
        Some((
            Path::new(environment).join("bin").join("python"),
            "VIRTUAL_ENV",
        ))
    }
}

/// The interpreter to use.
pub async fn find(wishes: &Wishes, console: &Console) -> Result<Interpreter, InterpreterError> {
    if let Some((path, source_of_wish)) = wishes.named() {
        let path = absolute(&path, wishes);
        let shown = path.display().to_string();
        let probed = probe(&path)
            .await
            .map_err(|reason| InterpreterError::NotPython {
                path: shown.clone(),
                source_of_wish,
                reason,
            })?;
        return probed
            .into_interpreter(path)
            .ok_or(InterpreterError::NoDistributed {
                path: shown,
                source_of_wish,
            });
    }
    let python3 = search("python3", wishes).ok_or(InterpreterError::NoPython)?;
    let shown = python3.display().to_string();
    let probed = probe(&python3)
        .await
        .map_err(|reason| InterpreterError::NotPython {
            path: shown.clone(),
            source_of_wish: "PATH",
            reason,
        })?;
    if probed.distributed_version.is_some() {
        return probed
            .into_interpreter(python3)
            .ok_or(InterpreterError::NoPython);
    }
    if probed.is_too_old() {
        return Err(InterpreterError::TooOld {
            path: shown,
            version: probed.python_version,
        });
    }
    in_virtual_environment(&python3, &probed.python_version, wishes, console).await
}

/// A path stays as it is written, also a symbolic link: it is how an interpreter knows its virtual environment.
/// A bare name is looked up on PATH.
fn absolute(path: &Path, wishes: &Wishes) -> PathBuf {
    let bare = path.components().count() == 1 && !path.exists();
    let found = if bare {
        path.to_str().and_then(|name| search(name, wishes))
    } else {
        None
    };
    found.unwrap_or_else(|| std::path::absolute(path).unwrap_or_else(|_| path.to_owned()))
}

fn search(name: &str, wishes: &Wishes) -> Option<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let path = wishes.search_path.as_ref()?;
    let executable = |file: &PathBuf| {
        file.metadata()
            .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    std::env::split_paths(path)
        .map(|directory| directory.join(name))
        .find(executable)
}

struct Probed {
    python_version: String,
    distributed_version: Option<String>,
}

impl Probed {
    fn into_interpreter(self, path: PathBuf) -> Option<Interpreter> {
        Some(Interpreter {
            path,
            python_version: self.python_version,
            distributed_version: self.distributed_version?,
        })
    }

    fn is_too_old(&self) -> bool {
        let mut numbers = self
            .python_version
            .split('.')
            .map(|number| number.parse().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < OLDEST_PYTHON
    }
}

async fn probe(python: &Path) -> Result<Probed, String> {
    let output = Command::new(python)
        .args(["-c", PROBE])
        .stdin(Stdio::null())
        .output()
        .await
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut lines = text.lines();
    match (output.status.success(), lines.next()) {
        (true, Some(version)) => Ok(Probed {
            python_version: version.to_owned(),
            distributed_version: lines.next().map(str::to_owned),
        }),
        _ => Err(last_line(&output.stderr).unwrap_or_else(|| output.status.to_string())),
    }
}

fn last_line(stderr: &[u8]) -> Option<String> {
    String::from_utf8_lossy(stderr)
        .lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .map(str::to_owned)
}

/// The virtual environment in the cache directory, made now if it is not there.
async fn in_virtual_environment(
    python3: &Path,
    version: &str,
    wishes: &Wishes,
    console: &Console,
) -> Result<Interpreter, InterpreterError> {
    let cache = wishes
        .cache_directory
        .as_ref()
        .ok_or(InterpreterError::NoCacheDirectory)?;
    let release: String = version.split('.').take(2).collect::<Vec<_>>().join(".");
    let directory = cache.join(format!(
        "python{release}-{:08x}",
        plan::names::hash(REQUIREMENTS) >> 32
    ));
    let refuse = |reason: String| InterpreterError::VirtualEnvironment {
        directory: directory.display().to_string(),
        reason,
    };
    std::fs::create_dir_all(cache).map_err(|error| refuse(error.to_string()))?;
    let _lock = lock(cache.join("lock"))
        .await
        .map_err(|error| refuse(error.to_string()))?;
    if !is_complete(&directory) {
        console.say(&format!(
            "python3 has no distributed: making a virtual environment in {} with dask, distributed, numpy, pandas and pyarrow \
             (once; this takes a minute or two)",
            directory.display()
        ));
        make(python3, &directory).await.map_err(refuse)?;
        console.say("the virtual environment is ready");
    }
    let path = directory.join("bin").join("python");
    let probed = probe(&path).await.map_err(refuse)?;
    probed.into_interpreter(path).ok_or_else(|| {
        refuse("distributed is missing in it; remove the directory and try again".to_owned())
    })
}

fn is_complete(directory: &Path) -> bool {
    std::fs::read_to_string(directory.join(MARK)).is_ok_and(|text| text == REQUIREMENTS)
}

async fn make(python3: &Path, directory: &Path) -> Result<(), String> {
    // What a run that was interrupted left.
    if directory.exists() {
        std::fs::remove_dir_all(directory).map_err(|error| error.to_string())?;
    }
    std::fs::create_dir_all(directory).map_err(|error| error.to_string())?;
    step(
        Command::new(python3).args(["-m", "venv"]).arg(directory),
        "python3 -m venv",
        "is the package python3-venv installed?",
    )
    .await?;
    let requirements = directory.join("requirements.txt");
    std::fs::write(&requirements, REQUIREMENTS).map_err(|error| error.to_string())?;
    let python = directory.join("bin").join("python");
    let mut install = Command::new(python);
    install
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--requirement",
        ])
        .arg(&requirements);
    step(
        &mut install,
        "pip install",
        "is the package index reachable?",
    )
    .await?;
    std::fs::rename(&requirements, directory.join(MARK)).map_err(|error| error.to_string())
}

async fn step(command: &mut Command, name: &str, question: &str) -> Result<(), String> {
    let output = command
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .map_err(|error| format!("{name}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let mut said = output.stdout;
    said.extend_from_slice(&output.stderr);
    Err(format!(
        "{name} failed ({}); {question} It said:\n{}",
        output.status,
        logs::last_lines(&String::from_utf8_lossy(&said), 12)
    ))
}

/// Held until dropped, so that two runs do not make the same environment at once.
async fn lock(path: PathBuf) -> std::io::Result<std::fs::File> {
    let locking = tokio::task::spawn_blocking(move || {
        let file = std::fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)?;
        file.lock()?;
        Ok(file)
    });
    locking.await.map_err(std::io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wishes() -> Wishes {
        Wishes {
            search_path: std::env::var_os("PATH"),
            ..Wishes::default()
        }
    }

    async fn error_of(wishes: &Wishes) -> String {
        find(wishes, &Console::silent())
            .await
            .unwrap_err()
            .to_string()
    }

    #[tokio::test]
    async fn what_is_named_is_taken_or_refused_never_replaced() {
        let flag = Wishes {
            flag: Some("/nowhere/python".into()),
            ..wishes()
        };
        assert!(
            error_of(&flag)
                .await
                .starts_with("/nowhere/python (from --python) cannot be run")
        );
        let variable = Wishes {
            variable: Some("/bin/false".into()),
            ..wishes()
        };
        assert!(
            error_of(&variable)
                .await
                .contains("(from DASKJOB_PYTHON) cannot be run")
        );
        let environment = Wishes {
            virtual_environment: Some("/nowhere".into()),
            ..wishes()
        };
        assert!(
            error_of(&environment)
                .await
                .contains("/nowhere/bin/python (from VIRTUAL_ENV)")
        );
    }

    #[tokio::test]
    async fn a_missing_python_is_a_sentence() {
        let nothing = Wishes {
            search_path: Some("/nowhere".into()),
            ..Wishes::default()
        };
        assert!(
            error_of(&nothing)
                .await
                .starts_with("there is no python3 on PATH. Install Python 3.10 or newer")
        );
    }

    #[test]
    fn an_old_python_is_recognised() {
        let probed = |version: &str| Probed {
            python_version: version.to_owned(),
            distributed_version: None,
        };
        assert!(probed("3.9.18").is_too_old());
        assert!(!probed("3.10.0").is_too_old());
        assert!(!probed("4.0.0").is_too_old());
    }
}
