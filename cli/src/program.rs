//! The command line of `daskjob`, and which program to be when called by another name.

use crate::run::RunArgs;
use crate::supervise::SuperviseArgs;
use crate::validate::ValidateArgs;
use clap::{CommandFactory, Parser, Subcommand};
use clap_complete::Shell;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(name = "daskjob", version, about, long_about = LONG_ABOUT, propagate_version = true, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const LONG_ABOUT: &str = "Runs Dask jobs: a manifest goes in, a Dask cluster comes up for exactly as long as the job runs, \
and everything is gone afterwards.

A first try, without Kubernetes:

    daskjob run examples/quickstart.yaml

The same on the cluster that kubectl would talk to, where daskjob's operator is installed:

    daskjob submit examples/quickstart.yaml --wait";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a job on this machine: the manifest's cluster as processes instead of pods
    Run(RunArgs),
    /// Check manifests without running them: what each job resolves to, or what is wrong and how to mend it
    Validate(ValidateArgs),
    #[command(flatten)]
    Remote(remote::Command),
    /// Run a Dask scheduler; it has the flags of `dask scheduler`
    Scheduler(Box<scheduler::SchedulerArgs>),
    /// Run a Dask worker; it has the flags of `dask worker`
    Worker(Box<worker::WorkerArgs>),
    /// The first process of a container: waits for the scheduler, runs a command, says why it failed
    #[command(hide = true)]
    Launch(Box<launch::LaunchArgs>),
    /// Copy this program to a file
    #[command(hide = true)]
    Install(launch::InstallArgs),
    /// The image's own `dask`, for everything that is not a scheduler or a worker
    #[command(hide = true, disable_help_flag = true, disable_version_flag = true)]
    Dask(AnyArguments),
    /// Run the Kubernetes operator: gives each DaskJob its own cluster and takes it away again
    Operator(Box<operator::OperatorArgs>),
    /// Print what completes these commands in a shell: source <(daskjob completion bash)
    Completion {
        /// The shell
        shell: Shell,
    },
    /// The process that holds all others of a local run; `run` starts it
    #[command(hide = true)]
    Supervise(Box<SuperviseArgs>),
}

/// Whatever stands there: for a program behind ours.
#[derive(Debug, clap::Args)]
struct AnyArguments {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    arguments: Vec<OsString>,
}

/// Names other than `daskjob` that this binary answers to, and the subcommand each means.
const OTHER_NAMES: [(&str, &str); 5] = [
    ("daskjob-operator", "operator"),
    ("daskjob-scheduler", "scheduler"),
    ("dask-scheduler", "scheduler"),
    ("daskjob-worker", "worker"),
    ("dask-worker", "worker"),
];

/// Reads the command line and does what it says.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = Cli::parse_from(by_name(arguments.into_iter().collect()));
    match cli.command {
        Command::Run(arguments) => crate::supervise::front::main(&arguments),
        Command::Supervise(arguments) => crate::supervise::main(*arguments),
        Command::Validate(arguments) => crate::validate::main(&arguments),
        Command::Scheduler(arguments) => scheduler::main(&arguments),
        Command::Worker(arguments) => worker::main(&arguments),
        Command::Dask(arguments) => launch::dask(&arguments.arguments),
        Command::Launch(arguments) => launch::main(&arguments),
        Command::Install(arguments) => launch::install(&arguments),
        Command::Operator(arguments) => operator::main(&arguments),
        Command::Remote(command) => remote::main(command),
        Command::Completion { shell } => {
            terminal::print(&completion(shell));
            ExitCode::SUCCESS
        }
    }
}

fn completion(shell: Shell) -> String {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "daskjob", &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

/// What `dask` is called for that ours stands in for.
const OF_DASK: [&str; 2] = ["scheduler", "worker"];

/// Called as `dask-scheduler --port 0`, the program is `daskjob scheduler --port 0`; so it is called as
/// `dask scheduler --port 0`, but anything else of `dask` is Dask's own.
fn by_name(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let called = arguments
        .first()
        .and_then(|first| Path::new(first).file_name())
        .and_then(|name| name.to_str());
    let of_dask = |word: &OsString| OF_DASK.iter().any(|name| word == name);
    let subcommand = match called {
        Some("dask") if !arguments.get(1).is_some_and(of_dask) => Some("dask"),
        called => OTHER_NAMES
            .iter()
            .find(|(name, _)| Some(*name) == called)
            .map(|(_, subcommand)| *subcommand),
    };
    if let Some(subcommand) = subcommand {
        arguments.insert(1, subcommand.into());
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_name_of_the_program_chooses_the_command() {
        assert_eq!(
            by_name(arguments("/usr/bin/dask-scheduler --port 0")),
            arguments("/usr/bin/dask-scheduler scheduler --port 0")
        );
        assert_eq!(
            by_name(arguments("daskjob-worker x")),
            arguments("daskjob-worker worker x")
        );
        assert_eq!(
            by_name(arguments("/daskjob-operator --namespaces a")),
            arguments("/daskjob-operator operator --namespaces a")
        );
        assert_eq!(
            by_name(arguments("./daskjob run x.yaml")),
            arguments("./daskjob run x.yaml")
        );
    }

    #[test]
    fn dask_is_ours_for_schedulers_and_workers_alone() {
        for (called, meant) in [
            ("dask scheduler --port 0", "dask scheduler --port 0"),
            ("dask worker tcp://x:1", "dask worker tcp://x:1"),
            ("dask config list", "dask dask config list"),
            ("dask --help", "dask dask --help"),
            ("dask", "dask dask"),
        ] {
            assert_eq!(by_name(arguments(called)), arguments(meant));
            Cli::try_parse_from(by_name(arguments(called))).unwrap();
        }
    }

    #[test]
    fn what_stands_behind_another_program_is_all_its_own() {
        for line in [
            "--version",
            "--help",
            "-V",
            "run x -- -y",
            "--python=/p tcp://x:1",
        ] {
            let called = arguments(&format!("dask {line}"));
            let given = match Cli::try_parse_from(by_name(called)).unwrap().command {
                Command::Dask(given) => given.arguments,
                other => panic!("{other:?}"),
            };
            assert_eq!(given, arguments(line));
        }
    }

    #[test]
    fn a_worker_is_ours_by_each_of_its_names() {
        for called in [
            "daskjob worker",
            "daskjob-worker",
            "dask-worker",
            "dask worker",
        ] {
            let line = format!("{called} tcp://x:1 --nthreads 3 --memory-limit 1GiB");
            let cli = Cli::try_parse_from(by_name(arguments(&line))).unwrap();
            let Command::Worker(given) = cli.command else {
                panic!("{called}: {:?}", cli.command)
            };
            assert_eq!(given.scheduler.as_deref(), Some("tcp://x:1"));
            assert_eq!((given.nthreads, given.memory_limit.as_str()), (3, "1GiB"));
        }
    }

    #[test]
    fn shells_complete_what_people_type() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let text = completion(shell);
            for word in ["submit", "with-files", "describe"] {
                assert!(text.contains(word), "{shell}: {word}");
            }
        }
    }
}
