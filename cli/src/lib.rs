//! The program `daskjob`: run a job on this machine, check a manifest, and stand in for the programs of a
//! cluster (one binary, by its name or a subcommand).
//!
//! `program` is the command line. `run` runs a manifest with processes instead of pods; `supervise` is what
//! makes sure that none of them stays behind; `control_groups` is how the kernel limits them.

mod clock;
mod control_groups;
pub mod program;
mod run;
mod supervise;
mod validate;
