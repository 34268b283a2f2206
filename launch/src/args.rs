//! The command line of the launcher. Names and meaning of the flags are those of `contract::launch`.

use protocol::{Address, Scheme};
use std::ffi::OsString;
use std::path::PathBuf;

/// `daskjob launch`.
#[derive(Debug, Clone, clap::Args)]
pub struct LaunchArgs {
    /// Address of the scheduler: the command starts once it answers
    #[arg(long, value_name = "ADDRESS", value_parser = address)]
    pub scheduler: Option<Address>,
    /// Start the command at once, and again if it fails before the scheduler has answered
    #[arg(long, requires = "scheduler")]
    pub start_beside: bool,
    /// Kill a command that was told to end as soon as the scheduler takes no connection
    #[arg(long, requires = "scheduler")]
    pub end_with_scheduler: bool,
    /// Give up on a scheduler that has not answered for this long
    #[arg(long, requires = "scheduler", value_name = "SECONDS")]
    pub scheduler_timeout: Option<u64>,
    /// Hold a lifeline to this port of the scheduler while the command runs
    #[arg(long, requires = "scheduler", value_name = "PORT")]
    pub hold_lifeline: Option<u16>,
    /// Take lifelines on this port
    #[arg(long, requires = "lifeline_timeout", value_name = "PORT")]
    pub lifeline_port: Option<u16>,
    /// End an idle scheduler that has had no lifeline for this long
    #[arg(long, requires = "lifeline_port", value_name = "SECONDS")]
    pub lifeline_timeout: Option<u64>,
    /// Where the scheduler answers HTTP on loopback
    #[arg(long, value_name = "PORT", default_value_t = contract::ports::DASHBOARD)]
    pub dashboard_port: u16,
    /// Directory of the job's files, to be first on PYTHONPATH
    #[arg(long, value_name = "DIRECTORY")]
    pub files: Option<PathBuf>,
    /// Copy the files here and run the command here
    #[arg(long, requires = "files", value_name = "DIRECTORY")]
    pub work_directory: Option<PathBuf>,
    /// A variable of the command where it has none of that name
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    pub default_env: Vec<(String, String)>,
    /// End the command as soon as any process here was killed for want of memory
    #[arg(long)]
    pub end_when_out_of_memory: bool,
    /// Become the command instead of watching it
    #[arg(long, conflicts_with_all = ["scheduler", "lifeline_port", "work_directory", "end_when_out_of_memory"])]
    pub exec: bool,
    /// The command is arguments for the image's Python
    #[arg(long)]
    pub python_command: bool,
    /// File of the termination message
    #[arg(long, value_name = "FILE", default_value = contract::termination::PATH)]
    pub termination_log: PathBuf,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// `daskjob install`.
#[derive(Debug, Clone, clap::Args)]
pub struct InstallArgs {
    /// Where the copy goes
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

fn address(text: &str) -> Result<Address, String> {
    let address = Address::parse(text).map_err(|error| error.to_string())?;
    match address.scheme {
        Scheme::Tcp => Ok(address),
        Scheme::Tls => Err(
            "the launcher has no certificates; it asks schedulers at tcp:// addresses only"
                .to_owned(),
        ),
    }
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, Command};
    use contract::launch as words;

    #[test]
    fn every_flag_of_the_contract_is_there_and_no_other() {
        let mut known: Vec<String> = LaunchArgs::augment_args(Command::new("launch"))
            .get_arguments()
            .filter_map(|argument| argument.get_long())
            .map(|long| format!("--{long}"))
            .collect();
        let mut agreed = [
            words::SCHEDULER,
            words::START_BESIDE,
            words::END_WITH_SCHEDULER,
            words::SCHEDULER_TIMEOUT,
            words::HOLD_LIFELINE,
            words::LIFELINE_PORT,
            words::LIFELINE_TIMEOUT,
            words::DASHBOARD_PORT,
            words::FILES,
            words::WORK_DIRECTORY,
            words::DEFAULT_ENV,
            words::END_WHEN_OUT_OF_MEMORY,
            words::EXEC,
            words::PYTHON_COMMAND,
            words::TERMINATION_LOG,
        ]
        .map(str::to_owned);
        known.sort();
        agreed.sort();
        assert_eq!(known, agreed);
    }

    #[test]
    fn a_value_of_a_default_may_hold_anything() {
        assert_eq!(
            variable("A=b=c, [\"d\"]"),
            Ok(("A".to_owned(), "b=c, [\"d\"]".to_owned()))
        );
        assert_eq!(variable("A="), Ok(("A".to_owned(), String::new())));
        variable("A").unwrap_err();
        variable("=b").unwrap_err();
    }

    #[test]
    fn a_scheduler_is_asked_over_tcp_only() {
        address("tcp://a.b.svc.cluster.local:8786").unwrap();
        address("tls://a:8786").unwrap_err();
        address("tcp://a").unwrap_err();
    }
}
