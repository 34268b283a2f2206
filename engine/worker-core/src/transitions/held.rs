//! Memory.

use crate::effects::{Action, Effects, Location};
use crate::ids::ValueId;
use crate::store::is_listed;
use crate::task::{BIGGEST_BYTES, Held, KindId, Spilling, State, TaskId};
use crate::worker::Worker;
use protocol::messages::{FromWorker, KeyEvent, StartStop, TaskFinished};
use protocol::{Text, Value};
use smallvec::SmallVec;

/// A value that has come to be here.
pub(crate) struct Arrival {
    pub value: ValueId,
    pub location: Location,
    pub nbytes: u64,
    pub actor: bool,
    pub kind: Option<KindId>,
    pub thread: Option<i64>,
}

impl Worker {
    /// From anywhere but memory itself; what the old state had it in has been left.
    pub(crate) fn enter_memory(&mut self, task: TaskId, arrival: Arrival) {
        let held = Held {
            value: arrival.value,
            location: arrival.location,
            nbytes: arrival.nbytes.min(BIGGEST_BYTES),
            actor: arrival.actor,
            kind: arrival.kind,
            thread: arrival.thread,
            spilling: Spilling::No,
            disk_bytes: 0,
            older: None,
            newer: None,
        };
        let own = &mut self.tasks[task];
        own.acquired = false;
        own.asked = false;
        own.failures = 0;
        self.set_state(task, State::Memory(Box::new(held)));
        self.store.add(&mut self.tasks, task);
        self.input_arrived(task);
    }

    pub(super) fn leave_memory(&mut self, task: TaskId, fx: &mut Effects) {
        self.store.remove(&mut self.tasks, task);
        if let State::Memory(held) = self.set_state(task, State::Released) {
            let own = &mut self.tasks[task];
            own.nbytes = held.nbytes;
            own.priority = None;
            fx.act(Action::Free {
                key: own.key.clone(),
                value: held.value,
            });
        }
        self.input_lost(task);
    }

    /// Says that a value is here as the result of the task's latest order.
    pub(crate) fn say_finished(
        &self,
        task: TaskId,
        metadata: Value,
        startstops: SmallVec<[StartStop; 1]>,
        fx: &mut Effects,
    ) {
        let own = &self.tasks[task];
        let Some(held) = own.held() else { return };
        let (value_type, typename) = self.kinds.told(held.kind);
        fx.say(FromWorker::TaskFinished(TaskFinished {
            key: own.key.clone(),
            run_id: own.run_id,
            nbytes: Some(held.nbytes),
            value_type,
            typename,
            metadata,
            thread: held.thread.map_or(Value::Nil, Value::Int),
            startstops,
            stimulus_id: self.stimulus.clone(),
        }));
    }

    /// Says that a value that was here is not any more.
    pub(crate) fn say_released(&self, task: TaskId, stimulus_id: &Text, fx: &mut Effects) {
        fx.say(FromWorker::ReleaseWorkerData(KeyEvent {
            key: self.tasks[task].key.clone(),
            stimulus_id: stimulus_id.clone(),
        }));
    }

    /// Orders a value to disk; one that has been called back in the middle of it just goes on.
    pub(crate) fn spill(&mut self, task: TaskId, fx: &mut Effects) {
        debug_assert!(is_listed(&self.tasks, task));
        let under_way = self.tasks[task]
            .held()
            .is_some_and(|held| held.spilling == Spilling::Abandoned);
        self.store.leave(&mut self.tasks, task);
        if under_way {
            return;
        }
        let own = &self.tasks[task];
        if let Some(held) = own.held() {
            fx.act(Action::Spill {
                key: own.key.clone(),
                value: held.value,
                nbytes: held.nbytes,
            });
        }
    }
}
