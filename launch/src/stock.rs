//! Becoming a program of the image's own Dask: its worker, as long as there is none of ours, and its command line.

use crate::command::{Environment, Prepared, StartError, search_path};
use crate::{say, search};
use contract::{environment, flags};
use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

const WORKER: &str = "distributed.cli.dask_worker";
const COMMAND_LINE: &str = "dask";

/// Becomes the image's `dask worker`.
pub fn worker(arguments: &[OsString]) -> ExitCode {
    let (python, rest) = without_python(arguments);
    say("this version has no worker of its own: starting the worker of this image's distributed");
    become_module(WORKER, python, rest)
}

/// Becomes the image's `dask`.
pub fn dask(arguments: &[OsString]) -> ExitCode {
    become_module(COMMAND_LINE, None, arguments.to_vec())
}

fn become_module(module: &str, python: Option<OsString>, arguments: Vec<OsString>) -> ExitCode {
    let environment: Environment = std::env::vars_os().collect();
    let error = match command(module, python, arguments, environment) {
        Ok(command) => command.become_it(),
        Err(error) => error,
    };
    say(&error.to_string());
    ExitCode::from(error.code())
}

fn command(
    module: &str,
    python: Option<OsString>,
    arguments: Vec<OsString>,
    environment: Environment,
) -> Result<Prepared, StartError> {
    let wish = python.or_else(|| environment.get(OsStr::new(environment::PYTHON)).cloned());
    let python = search::python(wish.as_ref(), search_path(&environment))?;
    let mut words = vec![python, "-m".into(), module.into()];
    words.extend(arguments);
    Ok(Prepared::plain(words, environment))
}

/// Our own flag for the interpreter, which the stock program does not know.
fn without_python(arguments: &[OsString]) -> (Option<OsString>, Vec<OsString>) {
    let mut python = None;
    let mut rest = Vec::with_capacity(arguments.len());
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let value = word
            .to_str()
            .and_then(|word| word.strip_prefix(flags::PYTHON)?.strip_prefix('='));
        if let Some(value) = value {
            python = Some(value.into());
        } else if word == flags::PYTHON {
            python = words.next().cloned();
        } else {
            rest.push(word.clone());
        }
    }
    (python, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn our_flag_for_the_interpreter_is_not_passed_on() {
        for line in [
            "tcp://a:1 --python /p --nthreads 2",
            "tcp://a:1 --python=/p --nthreads 2",
        ] {
            let (python, rest) = without_python(&words(line));
            assert_eq!(python, Some("/p".into()));
            assert_eq!(rest, words("tcp://a:1 --nthreads 2"));
        }
        let (python, rest) = without_python(&words("--pythonic x"));
        assert_eq!((python, rest), (None, words("--pythonic x")));
    }
}
