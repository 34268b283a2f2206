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
    /// Expected to take no time worth speaking of.
    pub short: bool,
    pub recalled: bool,
    pub started: Time,
    pub order: Arc<ComputeTask>,
}

#[derive(Default)]
pub(crate) struct Runs {
    /// By number, which is by start. Never many.
    runs: BTreeMap<ExecutionId, Run>,
    on_threads: usize,
    /// Of those, the ones that are not short.
    long_on_threads: usize,
    executed: u64,
}

impl Runs {
    pub fn start(&mut self, id: ExecutionId, run: Run) {
        if run.holds_thread {
            self.take_thread(run.short);
        }
        self.runs.insert(id, run);
    }

    pub fn end(&mut self, id: ExecutionId) -> Option<Run> {
        let run = self.runs.remove(&id)?;
        if run.holds_thread {
            self.leave_thread(run.short);
        }
        self.executed += 1;
        Some(run)
    }

    fn take_thread(&mut self, short: bool) {
        self.on_threads += 1;
        self.long_on_threads += usize::from(!short);
    }

    fn leave_thread(&mut self, short: bool) {
        self.on_threads -= 1;
        self.long_on_threads -= usize::from(!short);
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
        let short = run.short;
        match seceded {
            true => self.leave_thread(short),
            false => self.take_thread(short),
        }
        self.runs.get(&id)
    }

    /// Whether everything on a thread, or ready for one, is short.
    pub fn all_short(&self) -> bool {
        self.long_on_threads == 0
    }

    /// Runs that wait in the executor behind one that began long ago and should have been short; each once. `threads`
    /// run at a time, in the order in which they were given.
    pub fn stuck(&mut self, threads: usize, long_ago: Time) -> Vec<ExecutionId> {
        let given = self.runs.iter_mut().filter(|(_, run)| run.holds_thread);
        let (mut stuck, mut any_long) = (Vec::new(), false);
        for (at, (id, run)) in given.enumerate() {
            if at < threads {
                if run.short && run.started <= long_ago {
                    run.short = false;
                    self.long_on_threads += 1;
                }
                any_long |= !run.short;
            } else if any_long && run.wanted && !run.recalled {
                run.recalled = true;
                stuck.push(*id);
            }
        }
        stuck
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
