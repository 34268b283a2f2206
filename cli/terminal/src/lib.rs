//! What the commands of `daskjob` share towards the person in front of them: reading a manifest, saying sentences,
//! showing progress, naming what is wrong with a manifest, telling the time.
//!
//! Knows neither of local runs nor of clusters. Standard output is for what was asked for, standard error for what is
//! said about it; a reader that has left is no reason to complain.

pub mod clock;
mod console;
mod lane;
mod manifest;

pub use console::{Console, Stream};
pub use manifest::{OneJob, one_job, read_text, refusals_text};

use std::io::Write;

/// Writes to standard output; a reader that has left is no reason to complain.
pub fn print(text: &str) {
    let _ = try_print(text);
}

/// The same for what goes on for long: an error means that nobody reads it any more.
pub fn try_print(text: &str) -> std::io::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
