//! `daskjob run`: the job of a manifest on this machine, with processes instead of pods.
//!
//! `session` is one run from manifest to exit code; `attempt` one cluster and one try of the program. The other
//! modules each know one thing: the interpreter, the directories, the environment, the command lines, the processes,
//! the scheduler's numbers, what people see.

mod args;
mod attempt;
mod commands;
mod directories;
mod environment;
mod groups;
mod http;
mod interpreter;
mod left;
mod logs;
mod manifest;
mod nanny;
mod notes;
mod output;
mod pace;
mod process;
mod progress;
mod report;
mod session;

pub use args::RunArgs;
pub use session::Session;
