//! `daskjob launch` and `daskjob install` as a container has them: the program is run, and its exit code, its termination
//! message and what its command was given are looked at.
//!
//! The program is the static one where DASKJOB_STATIC_BIN names it: what goes into images is what is tested.
//!
//! What a machine does not allow (root, control groups, namespaces) is skipped with a line that says so, as is what needs
//! a Python with distributed (DASKJOB_PYTHON) or the static program (DASKJOB_STATIC_BIN); `cargo xtask test` sets both.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod containers;
mod endings;
mod files;
mod harness;
mod lifelines;
mod memory;
mod schedulers;
mod signals;
mod worker;
