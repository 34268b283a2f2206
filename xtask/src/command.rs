//! Running other programs: what is run is shown, what is missing is named.

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result, bail};

/// What cargo tells a program it runs of the program's own package.
const OF_OUR_PACKAGE: [&str; 2] = ["CARGO_PKG_", "CARGO_MANIFEST_"];

/// A program with its arguments, run at the root of the repository.
pub struct Run {
    command: Command,
    shown: String,
}

impl Run {
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(&program);
        command.current_dir(root());
        Self {
            command,
            shown: program.as_ref().to_string_lossy().into_owned(),
        }
    }

    /// Cargo, as whoever called us uses it.
    pub fn cargo() -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut run = Self::new(cargo).without_our_package();
        run.shown = "cargo".to_owned();
        run
    }

    /// For cargo and what starts it. It must not hear of our package: build scripts that look at such variables (ring's)
    /// would run again, and all that is built on them would be compiled again, here and in the next shell.
    pub fn without_our_package(mut self) -> Self {
        for (name, _) in std::env::vars() {
            if OF_OUR_PACKAGE.iter().any(|prefix| name.starts_with(prefix)) {
                self.command.env_remove(name);
            }
        }
        self
    }

    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.shown.push(' ');
        self.shown.push_str(&argument.as_ref().to_string_lossy());
        self.command.arg(argument);
        self
    }

    pub fn args(self, arguments: &[&str]) -> Self {
        arguments
            .iter()
            .fold(self, |run, argument| run.arg(argument))
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it with our own output; fails where it fails.
    pub fn run(mut self) -> Result<()> {
        self.show();
        let status = self.command.status().with_context(|| self.missing())?;
        self.judge(status)
    }

    /// Runs it in silence; what it printed is shown only where it fails.
    pub fn run_quietly(mut self) -> Result<()> {
        let output = self.command.output().with_context(|| self.missing())?;
        if !output.status.success() {
            io::stderr().write_all(&output.stdout)?;
            io::stderr().write_all(&output.stderr)?;
        }
        self.judge(output.status)
    }

    /// Runs it in silence; whether it succeeds is all that is asked.
    pub fn succeeds(mut self) -> bool {
        self.command
            .output()
            .is_ok_and(|output| output.status.success())
    }

    /// Runs it and takes what it printed.
    pub fn read(mut self) -> Result<String> {
        let output = self
            .command
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| self.missing())?;
        self.judge(output.status)?;
        String::from_utf8(output.stdout).with_context(|| format!("read the output of {self}"))
    }

    /// Runs it with our own output and shows each line of it to `see`. The verdict is returned, not judged.
    pub fn run_seeing(mut self, mut see: impl FnMut(&str)) -> Result<ExitStatus> {
        self.show();
        let mut child = self
            .command
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| self.missing())?;
        let output = child
            .stdout
            .take()
            .expect("the output was asked for as a pipe");
        for line in BufReader::new(output).split(b'\n') {
            let line = line.with_context(|| format!("read the output of {self}"))?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            see(&line);
        }
        child.wait().with_context(|| format!("wait for {self}"))
    }

    fn show(&self) {
        println!("    $ {self}");
    }

    fn judge(&self, status: ExitStatus) -> Result<()> {
        if status.success() {
            return Ok(());
        }
        bail!("{self}: {status}")
    }

    fn missing(&self) -> String {
        format!("start {self}: is it installed and on PATH?")
    }
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("this crate lies one directory below the root")
        .to_owned()
}

/// The directory release programs are built into.
pub fn release_directory() -> Result<PathBuf> {
    let target = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(target) => root().join(target),
        None => root().join("target"),
    };
    Ok(target.join("release"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_hears_nothing_of_the_package_that_runs_it() {
        let name = OsStr::new("CARGO_PKG_NAME");
        assert!(std::env::var_os(name).is_some(), "cargo runs this test");
        let run = Run::cargo();
        let mut changes = run.command.get_envs();
        assert!(changes.any(|change| change == (name, None)));
        let mut changes = run.command.get_envs();
        assert!(changes.all(|(name, _)| name != "CARGO_HOME" && name != "CARGO_TARGET_DIR"));
    }
}
