//! `daskjob` as a user meets it: the program is run, its output, exit code and what it leaves behind are looked at.
//!
//! Tests that need a Python with distributed take it from DASKJOB_PYTHON and are skipped, with a line that says so,
//! where it is not set (`cargo xtask test` sets it).

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod endings;
mod examples;
mod harness;
mod limits;
mod outcomes;
mod output;
mod refusals;
mod surroundings;
mod virtual_environment;
