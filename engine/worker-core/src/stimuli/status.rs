//! The worker's status, and what its memory does to it.

use crate::effects::{Action, Effects, LogLevel};
use crate::policies::memory::Verdict;
use crate::worker::Worker;
use protocol::Text;
use protocol::messages::{FromWorker, StatusOrder, WorkerStatus, WorkerStatusChange};

impl Worker {
    /// What the scheduler wants is done and confirmed, unless it cannot be: then the scheduler is reminded of what is so.
    pub(crate) fn status_ordered(&mut self, order: &StatusOrder, fx: &mut Effects) {
        self.begin(&order.stimulus_id);
        let wanted = order.status.as_str().and_then(WorkerStatus::from_name);
        match wanted {
            Some(status) if self.may_become(status) => self.become_status(status, fx),
            Some(_) | None => {
                self.log(LogLevel::Error, "impossible status", &order.status, fx);
                self.announce_status(fx);
            }
        }
    }

    /// A worker that is ending cannot be called back, and one that has not begun cannot retire.
    fn may_become(&self, status: WorkerStatus) -> bool {
        let alive = matches!(
            self.status,
            WorkerStatus::Running | WorkerStatus::Paused | WorkerStatus::ClosingGracefully
        );
        match status {
            WorkerStatus::Running | WorkerStatus::Paused | WorkerStatus::ClosingGracefully => alive,
            WorkerStatus::Init
            | WorkerStatus::Closing
            | WorkerStatus::Closed
            | WorkerStatus::Failed => false,
        }
    }

    pub(crate) fn set_status(&mut self, status: WorkerStatus, fx: &mut Effects) {
        if status != self.status {
            self.begin_named("worker-status-change");
            self.become_status(status, fx);
        }
    }

    fn become_status(&mut self, status: WorkerStatus, fx: &mut Effects) {
        if status != self.status {
            self.status = status;
            fx.act(Action::StatusChanged(status));
        }
        self.memory.paused &= status == WorkerStatus::Paused;
        self.announce_status(fx);
    }

    fn announce_status(&mut self, fx: &mut Effects) {
        fx.say(FromWorker::WorkerStatusChange(WorkerStatusChange {
            status: Text::from_static(self.status.name()),
            stimulus_id: self.stimulus.clone(),
        }));
    }

    pub(crate) fn memory_measured(&mut self, process_bytes: u64, fx: &mut Effects) {
        let verdict = self.memory.judge(process_bytes, self.status);
        self.pause_or_go_on(&verdict, process_bytes, fx);
        let mut excess = verdict.excess_bytes.saturating_sub(self.store.leaving);
        while excess > 0 {
            let before = self.store.leaving;
            if !self.spill_oldest(fx) {
                break;
            }
            excess = excess.saturating_sub((self.store.leaving - before).max(1));
        }
        let nothing_left = self.store.oldest().is_none() && self.store.leaving == 0;
        if verdict.excess_bytes > 0 && nothing_left && self.memory.complain() {
            let message = "memory is high, and no value is left to be spilled: what tasks and Python themselves take is \
                too much for the memory limit";
            self.log(LogLevel::Warning, message, self.of_limit(process_bytes), fx);
        }
        if let Some(force) = verdict.terminate {
            fx.act(Action::TerminateExecutor {
                process_bytes,
                memory_limit: self.config.memory_limit.unwrap_or_default(),
                force,
            });
        }
    }

    fn of_limit(&self, process_bytes: u64) -> String {
        let limit = self.config.memory_limit.unwrap_or_default();
        format!("{process_bytes} of {limit} bytes")
    }

    fn pause_or_go_on(&mut self, verdict: &Verdict, process_bytes: u64, fx: &mut Effects) {
        if verdict.above_pause {
            fx.act(Action::CollectGarbage);
        }
        let Some(status) = verdict.status else { return };
        let message = match status {
            WorkerStatus::Paused => "memory is so high that no task begins until some is free",
            _ => "there is memory again: tasks begin",
        };
        self.log(LogLevel::Warning, message, self.of_limit(process_bytes), fx);
        self.set_status(status, fx);
        self.memory.paused = status == WorkerStatus::Paused;
    }
}
