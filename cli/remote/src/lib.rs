//! Jobs on a cluster, as the person at the command line has them: `daskjob submit`, `list`, `describe`, `logs` and
//! what else is done to a job from outside.
//!
//! `command` is the command line of all of them, `connect` the way to the cluster, `problem` what can go wrong on it.
//! What is shown is made by functions of objects and the time, so that it is tested without a cluster. Knows nothing of
//! how a job lives: that stands in its status. Invariant: nothing is changed but what the command names.

mod change;
mod columns;
mod command;
mod connect;
mod credentials;
mod dashboard;
mod describe;
mod follow;
mod job;
mod list;
mod logs;
mod outcome;
mod preview;
mod problem;
mod proxy;
mod remedy;
mod scale;
mod submit;
mod times;

pub use command::{Command, main};
