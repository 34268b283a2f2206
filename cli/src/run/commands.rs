//! The command lines of the cluster's processes, by engine.

use super::directories::Directories;
use super::interpreter::Interpreter;
use contract::flags;
use crd::Engine;
use plan::ResolvedWorkerGroup;
use std::ffi::OsString;
use std::path::PathBuf;

/// Everything of a local run listens here only: whoever may connect may run code.
pub const LOOPBACK: &str = "127.0.0.1";

/// A program and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    pub program: OsString,
    /// What the process calls itself; `None` is the program.
    pub called: Option<&'static str>,
    pub arguments: Vec<OsString>,
}

impl CommandLine {
    /// A module of the chosen Python.
    fn module(interpreter: &Interpreter, module: &str) -> Self {
        CommandLine {
            program: interpreter.path.clone().into(),
            called: None,
            arguments: vec!["-m".into(), module.into()],
        }
    }

    /// Another part of this very program.
    fn own(subcommand: &str) -> Self {
        CommandLine {
            program: "/proc/self/exe".into(),
            called: Some("daskjob"),
            arguments: vec![subcommand.into()],
        }
    }

    fn flag(&mut self, name: &str, value: impl Into<OsString>) {
        self.arguments.push(name.into());
        self.arguments.push(value.into());
    }
}

/// The scheduler on a free port of loopback. It writes where it listens into the scheduler file.
pub fn scheduler_command(
    engine: Engine,
    interpreter: &Interpreter,
    directories: &Directories,
    idle_timeout_seconds: Option<u64>,
) -> CommandLine {
    let mut command = match engine {
        Engine::Native => {
            let mut command = CommandLine::own("scheduler");
            command.flag(flags::PYTHON, &interpreter.path);
            command
        }
        Engine::Dask => CommandLine::module(interpreter, "distributed.cli.dask_scheduler"),
    };
    command.flag(flags::HOST, LOOPBACK);
    command.flag(flags::PORT, "0");
    command.flag(flags::DASHBOARD_ADDRESS, format!("{LOOPBACK}:0"));
    command.flag(flags::SCHEDULER_FILE, &directories.scheduler_file);
    if let Some(seconds) = idle_timeout_seconds {
        command.flag(flags::IDLE_TIMEOUT, format!("{seconds}s"));
    }
    command
}

/// Where a worker of ours leaves why its Python process was lost.
pub fn left_behind(directories: &Directories, name: &str) -> PathBuf {
    directories.scratch.join(format!("{name}.left"))
}

/// One worker with what starts its Python process again: itself, or a stock nanny.
pub fn worker_command(
    engine: Engine,
    interpreter: &Interpreter,
    directories: &Directories,
    group: &ResolvedWorkerGroup,
    name: &str,
    address: &str,
) -> CommandLine {
    let mut command = match engine {
        Engine::Native => {
            let mut command = CommandLine::own("worker");
            command.flag(flags::PYTHON, &interpreter.path);
            command.flag(flags::TERMINATION_LOG, left_behind(directories, name));
            // It is told to end when everything is.
            command.flag(flags::DRAIN_TIMEOUT, "0");
            command.flag(flags::DASHBOARD_ADDRESS, format!("{LOOPBACK}:0"));
            command
        }
        Engine::Dask => CommandLine::module(interpreter, "distributed.cli.dask_worker"),
    };
    command.arguments.push(address.into());
    command.flag(flags::HOST, LOOPBACK);
    command.flag(flags::NAME, name);
    command.flag(flags::NTHREADS, group.threads.to_string());
    command.flag(flags::LOCAL_DIRECTORY, &directories.scratch);
    command.arguments.push(flags::NO_DASHBOARD.into());
    if let Some(bytes) = group.memory_limit_bytes {
        command.flag(flags::MEMORY_LIMIT, bytes.to_string());
    }
    if let Some(resources) = group.resources_flag() {
        command.flag(flags::RESOURCES, resources);
    }
    command
}
