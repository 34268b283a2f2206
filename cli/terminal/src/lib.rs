//! What the commands of `daskjob` share towards the person in front of them: reading a manifest, saying sentences,
//! showing progress, naming what is wrong with a manifest.
//!
//! Knows neither of local runs nor of clusters. Standard output is for what was asked for, standard error for what is
//! said about it; a reader that has left is no reason to complain.

mod console;
mod manifest;

pub use console::{Console, Stream};
pub use manifest::{OneJob, one_job, read_text, refusals_text};

use std::io::Write;

/// Writes to standard output; a reader that has left is no reason to complain.
pub fn print(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush());
}
