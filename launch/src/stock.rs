//! Becoming the command line of the image's own Dask.

use crate::command::{Environment, Prepared, StartError, search_path};
use crate::{say, search};
use contract::environment;
use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

const COMMAND_LINE: &str = "dask";

/// Becomes the image's `dask`.
pub fn dask(arguments: &[OsString]) -> ExitCode {
    let environment: Environment = std::env::vars_os().collect();
    let error = match command(arguments, environment) {
        Ok(command) => command.become_it(),
        Err(error) => error,
    };
    say(&error.to_string());
    ExitCode::from(error.code())
}

fn command(arguments: &[OsString], environment: Environment) -> Result<Prepared, StartError> {
    let wish = environment.get(OsStr::new(environment::PYTHON));
    let python = search::python(wish, search_path(&environment))?;
    let mut words = vec![python, "-m".into(), COMMAND_LINE.into()];
    words.extend_from_slice(arguments);
    Ok(Prepared::plain(words, environment))
}
