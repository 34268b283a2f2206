//! Child processes that end with this program's interest in them: each in a group of its own, killed when dropped.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};

/// A running child with its output in a file.
#[derive(Debug)]
pub struct Process {
    child: Child,
    log: PathBuf,
}

/// Where standard input and output of a child lead.
#[derive(Clone, Copy)]
enum Channels {
    Log,
    Pipes,
}

impl Process {
    /// Starts it in `directory`, with its output in `<name>.log` there.
    pub fn start(name: &str, command: Command, directory: &Path) -> Result<Self> {
        Self::start_with(name, command, directory, Channels::Log)
    }

    /// Starts it with pipes to talk through instead of standard input and output.
    pub fn start_talking(name: &str, command: Command, directory: &Path) -> Result<Self> {
        Self::start_with(name, command, directory, Channels::Pipes)
    }

    fn start_with(
        name: &str,
        mut command: Command,
        directory: &Path,
        channels: Channels,
    ) -> Result<Self> {
        let log = directory.join(format!("{name}.log"));
        let file = File::create(&log).with_context(|| format!("create {}", log.display()))?;
        let (input, output) = match channels {
            Channels::Log => (Stdio::null(), Stdio::from(file.try_clone()?)),
            Channels::Pipes => (Stdio::piped(), Stdio::piped()),
        };
        end_with_this_program(&mut command);
        let child = command
            .current_dir(directory)
            .stdin(input)
            .stdout(output)
            .stderr(file)
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {}", printable(command.get_program())))?;
        Ok(Self { child, log })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The end of what it printed.
    pub fn log_tail(&self) -> String {
        let mut text = String::new();
        let read = File::open(&self.log).and_then(|mut file| file.read_to_string(&mut text));
        match read {
            Ok(_) => {
                let lines: Vec<&str> = text.lines().collect();
                lines[lines.len().saturating_sub(20)..].join("\n")
            }
            Err(error) => format!("<{error}>"),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Ok(group) = libc::pid_t::try_from(self.child.id()) {
            // SAFETY: takes no pointer; the group is the child's own and the child has not been waited for elsewhere.
            unsafe { libc::kill(-group, libc::SIGKILL) };
        }
        let _ = self.child.wait();
    }
}

/// Also when this program is killed. Children are started by the main thread, whose end is the program's.
fn end_with_this_program(command: &mut Command) {
    // SAFETY: between fork and exec only one system call is made, which takes no pointer.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            Ok(())
        });
    }
}

fn printable(program: &OsStr) -> String {
    program.to_string_lossy().into_owned()
}
