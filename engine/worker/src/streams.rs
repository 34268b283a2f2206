//! What comes in for the machine over the two long-lived connections: the executor's line and the scheduler's stream.
//!
//! Either ends the life of the worker when it ends or makes no sense.

use crate::executor::line::LineReader;
use crate::life::{End, Life};
use crate::machine::Input;
use protocol::messages::{FromScheduler, decode_scheduler_batch};
use protocol::{Value, encode_value, map};
use tracing::{debug, error, warn};
use transport::FrameReader;

/// Hands on what the executor says until its line ends.
pub async fn from_executor(life: &Life, mut executor: LineReader) {
    loop {
        match executor.next().await {
            Ok(Some(messages)) => life.handle.send(Input::Executor(messages)),
            // Its process ends too, which is seen elsewhere.
            Ok(None) => return,
            Err(failure) => {
                let cause = format!("broke the line: {}", transport::with_sources(&failure));
                error!(error = cause, "the Python process is ended");
                life.kill_executor(rustix::process::Signal::KILL);
                return life.end(End::lost(cause));
            }
        }
    }
}

/// Hands on what the scheduler orders until its stream ends.
pub async fn from_scheduler(life: &Life, mut reader: FrameReader) {
    loop {
        let messages: Vec<FromScheduler> = match reader.recv().await {
            Ok(Some(frames)) => match decode_scheduler_batch(&frames) {
                Ok(messages) => messages,
                Err(failure) => {
                    error!(error = %failure, "the scheduler's stream is not understood");
                    return life.end(End::SchedulerGone);
                }
            },
            Ok(None) => return life.end(End::SchedulerGone),
            Err(failure) => {
                warn!(error = %transport::with_sources(&failure), "the scheduler's stream broke");
                return life.end(End::SchedulerGone);
            }
        };
        life.handle.send(Input::Scheduler(messages));
    }
}

/// Gives the executor the plugins that the scheduler has for workers.
pub async fn install(life: &Life, plugins: Vec<(Value, Value)>) {
    for (name, plugin) in plugins {
        let request = map! {
            "op" => "plugin-add",
            "reply" => true,
            "plugin" => plugin,
            "name" => name.clone(),
        };
        let asked = life.ask_executor("plugin-add".to_owned(), encode_value(&request));
        if asked.await.is_err() {
            return;
        }
        debug!(plugin = ?name, "worker plugin installed");
    }
}
