//! Runs in the executor, wanted and not: a thread cannot be stopped, so a run outlives the wish for its result.

use crate::ids::{ExecutionId, Time};
use crate::queues::ClassId;
use crate::task::TaskId;
use protocol::messages::ComputeTask;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) struct Run {
    pub task: TaskId,
    /// False once its task has been freed, or given a new order.
    pub wanted: bool,
    /// Whether it counts against the number of threads.
    pub holds_thread: bool,
    pub seceded: bool,
    /// Whose resources it holds.
    pub class: Option<ClassId>,
    pub started: Time,
    pub order: Arc<ComputeTask>,
}

#[derive(Default)]
pub(crate) struct Runs {
    /// By number, which is by start. Never many.
    runs: BTreeMap<ExecutionId, Run>,
    on_threads: usize,
    executed: u64,
}

impl Runs {
    pub fn start(&mut self, id: ExecutionId, run: Run) {
        self.on_threads += usize::from(run.holds_thread);
        self.runs.insert(id, run);
    }

    pub fn end(&mut self, id: ExecutionId) -> Option<Run> {
        let run = self.runs.remove(&id)?;
        self.on_threads -= usize::from(run.holds_thread);
        self.executed += 1;
        Some(run)
    }

    pub fn get(&self, id: ExecutionId) -> Option<&Run> {
        self.runs.get(&id)
    }

    pub fn disown(&mut self, id: ExecutionId) -> Option<&Run> {
        let run = self.runs.get_mut(&id)?;
        run.wanted = false;
        Some(run)
    }

    /// Gives the thread to others, or takes one again. `None` if there is no such run, or nothing changes.
    pub fn set_seceded(&mut self, id: ExecutionId, seceded: bool) -> Option<&Run> {
        let run = self.runs.get_mut(&id)?;
        if run.holds_thread != seceded {
            return None;
        }
        run.holds_thread = !seceded;
        run.seceded |= seceded;
        match seceded {
            true => self.on_threads -= 1,
            false => self.on_threads += 1,
        }
        Some(run)
    }

    pub fn on_threads(&self) -> usize {
        self.on_threads
    }

    /// Runs that have ended since the start.
    pub fn executed(&self) -> u64 {
        self.executed
    }

    pub fn iter(&self) -> impl Iterator<Item = (ExecutionId, &Run)> {
        self.runs.iter().map(|(id, run)| (*id, run))
    }
}
