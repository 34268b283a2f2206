//! Values that come from outside, go to disk, move, or are lost.

use crate::effects::{Action, Effects, Location, LogLevel, Source};
use crate::events::{SpillOutcome, UpdateData};
use crate::ids::ValueId;
use crate::task::{BIGGEST_BYTES, Phase, Spilling, TaskId};
use crate::worker::Worker;
use protocol::Key;

impl Worker {
    /// Scattered values. They take the place of whatever the name stood for; the scheduler hears of them from whoever
    /// brought them.
    pub(crate) fn update_data(&mut self, update: UpdateData, fx: &mut Effects) {
        self.begin(&update.stimulus_id);
        for (key, nbytes) in update.data {
            let task = self.task_of(&key);
            self.leave(task, fx);
            self.tasks[task].nbytes = nbytes;
            self.keep(task, nbytes, Source::Update(update.update), fx);
        }
    }

    fn holding(&self, key: &Key, value: ValueId) -> Option<TaskId> {
        let task = self.tasks.find(key)?;
        let held = self.tasks[task].held()?;
        (held.value == value).then_some(task)
    }

    pub(crate) fn spilled(
        &mut self,
        key: Key,
        value: ValueId,
        outcome: SpillOutcome,
        fx: &mut Effects,
    ) {
        let task = self.holding(&key, value);
        let spilling = task.and_then(|task| self.tasks[task].held());
        let spilling = spilling.map_or(Spilling::No, |held| held.spilling);
        match (task, spilling, outcome) {
            (Some(task), Spilling::Yes, SpillOutcome::Written { disk_bytes }) => {
                self.store
                    .arrive(&mut self.tasks, task, disk_bytes.min(BIGGEST_BYTES));
                fx.act(Action::DropMemoryCopy { key, value });
            }
            (Some(task), Spilling::Abandoned, SpillOutcome::Written { .. }) => {
                self.store.stay(&mut self.tasks, task, Spilling::No);
                fx.act(Action::DropDiskCopy { key, value });
            }
            (Some(task), Spilling::Yes | Spilling::Abandoned, SpillOutcome::DiskFailed) => {
                self.store.stay(&mut self.tasks, task, Spilling::No);
                self.memory.disk_failed(self.now);
                self.log(LogLevel::Warning, "the disk takes no more", &key, fx);
            }
            (Some(task), Spilling::Yes | Spilling::Abandoned, SpillOutcome::NotSerializable) => {
                self.store.stay(&mut self.tasks, task, Spilling::Never);
                self.log(LogLevel::Warning, "a value cannot be spilled", &key, fx);
            }
            (_, _, SpillOutcome::Written { .. }) => fx.act(Action::DropDiskCopy { key, value }),
            (_, _, SpillOutcome::DiskFailed | SpillOutcome::NotSerializable) => {}
        }
    }

    pub(crate) fn relocated(
        &mut self,
        key: &Key,
        value: ValueId,
        location: Location,
        fx: &mut Effects,
    ) {
        let Some(task) = self.holding(key, value) else {
            return;
        };
        match location {
            Location::Executor => self.store.touch(&mut self.tasks, task),
            Location::Serialized => self.store.moved(&mut self.tasks, task, location),
            // Only on order.
            Location::Disk => self.log(LogLevel::Error, "spilled without order", key, fx),
        }
    }

    /// The scheduler hears of it, and who needs the value here fetches it from elsewhere.
    pub(crate) fn lost(&mut self, key: &Key, value: ValueId, fx: &mut Effects) {
        let Some(task) = self.holding(key, value) else {
            return;
        };
        debug_assert_eq!(self.tasks[task].phase(), Phase::Memory);
        self.begin_named("lost");
        self.log(LogLevel::Error, "a value is lost", key, fx);
        self.leave(task, fx);
        let stimulus = self.stimulus.clone();
        self.say_released(task, &stimulus, fx);
        self.settle_released(task);
    }

    /// Values beyond the target go to disk, the least recently used first.
    pub(crate) fn keep_under_target(&mut self, fx: &mut Effects) {
        let Some(target) = self.memory.target() else {
            return;
        };
        while self.store.in_memory - self.store.leaving > target && self.spill_oldest(fx) {}
    }

    /// False if nothing can be spilled now.
    pub(crate) fn spill_oldest(&mut self, fx: &mut Effects) -> bool {
        let Some(oldest) = self.store.oldest() else {
            return false;
        };
        let nbytes = self.tasks[oldest].held().map_or(0, |held| held.nbytes);
        let on_disk = self.store.on_disk + self.store.leaving;
        if !self.memory.may_spill(nbytes, on_disk, self.now) {
            return false;
        }
        self.spill(oldest, fx);
        true
    }
}
