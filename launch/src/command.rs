//! What is run: the words of the command, the file behind the first, and its environment.

use crate::args::LaunchArgs;
use crate::files::FilesError;
use crate::search;
use contract::environment as names;
use contract::exit_code;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};

/// The code of a program that is there and cannot be run (the code a shell uses).
const NOT_EXECUTABLE: u8 = 126;

pub type Environment = BTreeMap<OsString, OsString>;

/// Why the command was never started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("the command's first word is empty")]
    Empty,
    #[error("{name} was not found on PATH ({search_path}); is it installed in this image?")]
    NotOnPath { name: String, search_path: String },
    #[error("there is no file {file} in this image")]
    NoFile { file: PathBuf },
    #[error(
        "there is neither python3 nor python on PATH ({search_path}); set {} to this image's interpreter",
        names::PYTHON
    )]
    NoPython { search_path: String },
    #[error("{file} cannot be run: it is a directory")]
    Directory { file: PathBuf },
    #[error(
        "{file} cannot be run: nobody may execute it (mode {mode:04o}); `chmod +x` it, or begin the command with its interpreter"
    )]
    NotExecutable { file: PathBuf, mode: u32 },
    #[error("{file} cannot be run: {needs} is not in this image")]
    NoInterpreter { file: PathBuf, needs: String },
    #[error(
        "{file} cannot be run: it is neither a program for this machine ({}) nor a script that begins with #!",
        std::env::consts::ARCH
    )]
    WrongFormat { file: PathBuf },
    #[error("{file} cannot be run: {source}")]
    Refused { file: PathBuf, source: io::Error },
    #[error(transparent)]
    Files(#[from] FilesError),
    #[error("cannot take lifelines on port {port}: {source}")]
    Lifeline { port: u16, source: io::Error },
    #[error("the launcher cannot work here: {0}")]
    Launcher(#[source] io::Error),
}

impl StartError {
    pub fn not_executable(file: PathBuf, mode: Option<u32>) -> Self {
        match mode {
            Some(mode) => StartError::NotExecutable { file, mode },
            None => StartError::Directory { file },
        }
    }

    pub fn code(&self) -> u8 {
        match self {
            StartError::Empty
            | StartError::NotOnPath { .. }
            | StartError::NoFile { .. }
            | StartError::NoPython { .. }
            | StartError::NoInterpreter { .. } => exit_code::NOT_FOUND,
            StartError::Directory { .. }
            | StartError::NotExecutable { .. }
            | StartError::WrongFormat { .. }
            | StartError::Refused { .. } => NOT_EXECUTABLE,
            StartError::Files(_) | StartError::Lifeline { .. } | StartError::Launcher(_) => {
                exit_code::INFRASTRUCTURE
            }
        }
    }
}

/// A command with all that is needed to start it, as often as need be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    words: Vec<OsString>,
    environment: Environment,
}

impl Prepared {
    /// The command as the flags make it.
    pub fn new(args: &LaunchArgs, inherited: Environment) -> Result<Self, StartError> {
        let mut environment = inherited;
        for (name, value) in &args.default_env {
            if !has(&environment, name) {
                environment.insert(name.into(), value.into());
            }
        }
        if let Some(files) = &args.files {
            put_first(&mut environment, files);
        }
        let mut words = args.command.clone();
        if args.python_command {
            let wish = environment.get(OsStr::new(names::PYTHON));
            words.insert(0, search::python(wish, search_path(&environment))?);
        }
        Ok(Prepared { words, environment })
    }

    /// What people call it: its first word.
    pub fn name(&self) -> String {
        let first = self.words.first().map(Path::new);
        let name = first.and_then(Path::file_name).unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// Starts it. Nobody waits for the child through what is returned: the launcher waits for everything at once.
    pub fn start(&self) -> Result<u32, StartError> {
        let (mut command, file) = self.command()?;
        match command.spawn() {
            Ok(child) => Ok(child.id()),
            Err(error) => Err(explain(file, error)),
        }
    }

    /// Becomes it.
    pub fn become_it(&self) -> StartError {
        match self.command() {
            Ok((mut command, file)) => explain(file, command.exec()),
            Err(error) => error,
        }
    }

    fn command(&self) -> Result<(std::process::Command, PathBuf), StartError> {
        let (name, arguments) = self.words.split_first().ok_or(StartError::Empty)?;
        let file = search::program(name, search_path(&self.environment))?;
        let mut command = std::process::Command::new(&file);
        command
            .arg0(name)
            .args(arguments)
            .env_clear()
            .envs(&self.environment);
        Ok((command, file))
    }

    /// A command with this environment, without the flags of a launcher.
    pub fn plain(words: Vec<OsString>, environment: Environment) -> Self {
        Prepared { words, environment }
    }
}

pub fn search_path(environment: &Environment) -> Option<&OsString> {
    environment.get(OsStr::new("PATH"))
}

/// Whether a variable is set. A hash seed of 0 counts as none, as for Dask's nanny: images set it to make builds repeatable.
fn has(environment: &Environment, name: &str) -> bool {
    match environment.get(OsStr::new(name)) {
        Some(value) => !(name == names::HASH_SEED.0 && value == "0"),
        None => false,
    }
}

/// The job's files before whatever the command has on its PYTHONPATH.
fn put_first(environment: &mut Environment, files: &Path) {
    let known = environment.remove(OsStr::new(names::PYTHON_PATH));
    let mut path = files.as_os_str().to_owned();
    if let Some(known) = known.filter(|known| !known.is_empty()) {
        path.push(":");
        path.push(known);
    }
    environment.insert(names::PYTHON_PATH.into(), path);
}

/// The file was there when it was looked for.
fn explain(file: PathBuf, error: io::Error) -> StartError {
    match error.kind() {
        io::ErrorKind::NotFound => {
            let needs = interpreter_of(&file).unwrap_or_else(|| {
                "the dynamic loader it was linked for (another C library?)".to_owned()
            });
            StartError::NoInterpreter { file, needs }
        }
        _ if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => {
            StartError::WrongFormat { file }
        }
        _ => StartError::Refused {
            file,
            source: error,
        },
    }
}

/// What the line `#!` of a script names.
fn interpreter_of(file: &Path) -> Option<String> {
    use std::io::Read;
    let mut beginning = Vec::new();
    let script = std::fs::File::open(file).ok()?;
    script.take(256).read_to_end(&mut beginning).ok()?;
    let beginning = String::from_utf8_lossy(&beginning);
    let line = beginning.strip_prefix("#!")?.lines().next()?;
    let interpreter = line.split_whitespace().next()?;
    let hint = if beginning.contains('\r') {
        " (its lines end as on Windows)"
    } else {
        ""
    };
    Some(format!("its interpreter {interpreter}{hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: LaunchArgs,
    }

    fn prepared(line: &[&str], inherited: &[(&str, &str)]) -> Prepared {
        let args = Line::parse_from([&["launch"], line].concat()).args;
        let inherited = inherited
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        Prepared::new(&args, inherited).unwrap()
    }

    fn variable(prepared: &Prepared, name: &str) -> String {
        let value = prepared.environment.get(OsStr::new(name));
        value.map_or("-".to_owned(), |value| value.to_string_lossy().into_owned())
    }

    #[test]
    fn the_files_come_before_the_images_python_path() {
        let line = ["--files", "/f", "--", "x"];
        let with = prepared(&line, &[("PYTHONPATH", "/opt/app")]);
        assert_eq!(variable(&with, "PYTHONPATH"), "/f:/opt/app");
        // An empty entry would be the working directory.
        for inherited in [&[("PYTHONPATH", "")][..], &[]] {
            assert_eq!(variable(&prepared(&line, inherited), "PYTHONPATH"), "/f");
        }
    }

    #[test]
    fn a_default_gives_way_to_whatever_is_set() {
        let line = ["--default-env", "A=1", "--default-env", "B=2", "--", "x"];
        let with = prepared(&line, &[("A", "")]);
        assert_eq!(
            (variable(&with, "A"), variable(&with, "B")),
            (String::new(), "2".to_owned())
        );
    }

    #[test]
    fn a_hash_seed_of_zero_is_none() {
        let line = ["--default-env", "PYTHONHASHSEED=6640", "--", "x"];
        for (set, used) in [("0", "6640"), ("7", "7"), ("random", "random")] {
            let with = prepared(&line, &[("PYTHONHASHSEED", set)]);
            assert_eq!(variable(&with, "PYTHONHASHSEED"), used);
        }
    }

    #[test]
    fn a_python_command_gets_its_interpreter() {
        let with = prepared(
            &["--python-command", "--", "-m", "x"],
            &[("DASKJOB_PYTHON", "/opt/python")],
        );
        assert_eq!(with.words, ["/opt/python", "-m", "x"]);
        assert_eq!(with.name(), "python");
    }
}
