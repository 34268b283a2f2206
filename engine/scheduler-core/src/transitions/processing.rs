//! Into and out of processing.

use crate::effects::{ComputeTask, DependencyLocation, Effects, LogLevel, ToWorker};
use crate::error::TaskError;
use crate::ids::WorkerId;
use crate::pickles;
use crate::scheduler::Scheduler;
use crate::task::{Blame, Flags, Phase, State, TaskId, UNKNOWN_SIZE};
use crate::transitions::Fault;
use bytes::Bytes;
use protocol::messages::{Action, StartStop};
use std::sync::Arc;

/// What a worker says about a task it has finished.
pub(crate) struct Finished<'a> {
    pub nbytes: Option<u64>,
    pub type_pickle: Option<Bytes>,
    pub typename: &'a str,
    pub startstops: &'a [StartStop],
}

impl Scheduler {
    /// Gives the task to the worker.
    pub(super) fn add_to_processing(&mut self, task: TaskId, worker: WorkerId, fx: &mut Effects) {
        self.count_processing(task, worker);
        let slot = self.workers.at(worker).processing.len() as u32;
        self.workers.at_mut(worker).processing.push(task);
        self.set_state(task, State::Processing { worker, slot });
        self.acquire_resources(task, worker);
        self.check_idle_saturated(worker);
        self.n_tasks += 1;
        if self.tasks[task].is_actor() {
            self.workers.at_mut(worker).actors.insert(task);
        }
        if let Some(excess) = self.too_big_for(task, worker) {
            self.refuse_as_too_big(task, worker, excess, fx);
            return;
        }
        let order = self.compute_task(task);
        fx.worker(worker, ToWorker::ComputeTask(Box::new(order)));
    }

    /// Books its work and its transfers on the worker.
    fn count_processing(&mut self, task: TaskId, worker: WorkerId) {
        let prefix = self.groups.prefix_of(self.tasks[task].group);
        let own = self.workers.at_mut(worker);
        own.count_prefix(prefix);
        self.count_active(prefix);
        for dependency in self.dependencies_of(task) {
            if self.tasks[dependency].who_has.contains(worker) {
                continue;
            }
            let nbytes = self.size_of(dependency);
            let own = self.workers.at_mut(worker);
            if own.needs_what.add(dependency) {
                own.network_nbytes += nbytes;
                self.network_nbytes += nbytes;
            }
        }
    }

    /// How much its inputs take, if that cannot fit the worker.
    fn too_big_for(&self, task: TaskId, worker: WorkerId) -> Option<u64> {
        let limit = self.workers.at(worker).memory_limit;
        if limit == 0 || !self.config.memory_terminate {
            return None;
        }
        let known = |id: TaskId| match self.tasks[id].nbytes {
            UNKNOWN_SIZE => 0,
            known => known,
        };
        let inputs: u64 = self.tasks[task].dependencies.iter().map(known).sum();
        (inputs > limit).then_some(inputs)
    }

    fn refuse_as_too_big(&mut self, task: TaskId, worker: WorkerId, inputs: u64, fx: &mut Effects) {
        let own = &self.tasks[task];
        let on = self.workers.at(worker);
        let message = pickles::too_big_message(
            &own.key,
            inputs,
            &on.address,
            on.memory_limit,
            own.dependents.is_empty(),
        );
        self.log(
            LogLevel::Error,
            "task is too big for its worker",
            &message,
            fx,
        );
        let blame = Arc::new(Blame {
            key: own.key.clone(),
            error: TaskError::made_here(
                pickles::memory_error(&message),
                &format!("MemoryError({message:?})"),
            ),
        });
        self.fail(
            task,
            Fault {
                worker: Some(worker),
                blame,
            },
            fx,
        );
    }

    fn compute_task(&mut self, task: TaskId) -> ComputeTask {
        let run_id = self.runs;
        self.runs += 1;
        let stimulus_id = self.compute_stimulus();
        let own = &mut self.tasks[task];
        own.run_id = run_id as u32;
        own.flags.set(Flags::HAS_RUN, true);
        let own = &self.tasks[task];
        let dependencies = own
            .dependencies
            .iter()
            .map(|id| self.location(id))
            .collect();
        ComputeTask {
            key: own.key.clone(),
            run_id,
            priority: own.priority,
            run_spec: own.run_spec.clone(),
            dependencies,
            resource_restrictions: own.resources().cloned(),
            actor: own.is_actor(),
            annotations: own.rare.as_ref().and_then(|rare| rare.annotations.clone()),
            span_id: self.groups.group(own.group).span_id.clone(),
            stimulus_id,
        }
    }

    fn location(&self, dependency: TaskId) -> DependencyLocation {
        let own = &self.tasks[dependency];
        DependencyLocation {
            key: own.key.clone(),
            nbytes: (own.nbytes != UNKNOWN_SIZE).then_some(own.nbytes),
            holders: self.addresses(own.who_has.iter()),
        }
    }

    /// Undoes the bookkeeping of [`Self::add_to_processing`]; the worker, if it is still registered.
    pub(super) fn exit_processing(&mut self, task: TaskId) -> Option<WorkerId> {
        let State::Processing { worker, slot } = self.tasks[task].state else {
            return None;
        };
        self.uncount_processing(task, worker);
        let own = self.workers.at_mut(worker);
        own.processing.swap_remove(slot as usize);
        if let Some(moved) = own.processing.get(slot as usize).copied() {
            self.tasks[moved].state = State::Processing { worker, slot };
        }
        if !self.workers.is_registered(worker) {
            return None;
        }
        self.check_idle_saturated(worker);
        self.release_resources(task, worker);
        Some(worker)
    }

    fn uncount_processing(&mut self, task: TaskId, worker: WorkerId) {
        let prefix = self.groups.prefix_of(self.tasks[task].group);
        if self.tasks[task].has(Flags::LONG_RUNNING) {
            self.tasks[task].flags.set(Flags::LONG_RUNNING, false);
            self.workers.at_mut(worker).long_running -= 1;
        } else {
            self.workers.at_mut(worker).uncount_prefix(prefix);
            self.uncount_active(prefix);
        }
        for dependency in self.dependencies_of(task) {
            let nbytes = self.size_of(dependency);
            let own = self.workers.at_mut(worker);
            if own.needs_what.subtract(dependency) {
                self.unbook_transfer(worker, nbytes);
            }
        }
    }

    pub(super) fn processing_to_released(&mut self, task: TaskId, fx: &mut Effects) {
        let on = self.tasks[task].processing_on();
        if self.exit_processing(task).is_some()
            && let Some(worker) = on
        {
            self.free_key(worker, &self.tasks[task].key, fx);
        }
        if let Some(worker) = on.filter(|_| self.tasks[task].is_actor()) {
            self.workers.at_mut(worker).actors.remove(task);
        }
        self.propagate_released(task);
    }

    /// The worker has the result. The task must be processing there.
    pub(crate) fn processing_to_memory(
        &mut self,
        task: TaskId,
        worker: WorkerId,
        finished: Finished<'_>,
        fx: &mut Effects,
    ) {
        self.counters.transitions += 1;
        let mark = self.recommendations.journal.len();
        let group = self.tasks[task].group;
        for stretch in finished.startstops {
            self.groups.add_duration(
                group,
                action_name(&stretch.action),
                stretch.start,
                stretch.stop,
            );
        }
        self.set_nbytes(task, finished.nbytes);
        self.exit_processing(task);
        self.add_to_memory(task, worker, &finished, fx);
        self.record(task, Phase::Processing, mark);
    }

    /// Its value has come from elsewhere: whatever was done for it is given up.
    pub(crate) fn give_up_run(&mut self, task: TaskId, fx: &mut Effects) {
        if let Some(worker) = self.tasks[task].processing_on() {
            self.free_key(worker, &self.tasks[task].key, fx);
        }
        self.leave_for_erred(task);
        self.stop_waiting(task);
        if let Some(rare) = self.tasks[task].rare.as_mut() {
            rare.blame = None;
            for worker in std::mem::take(&mut rare.erred_on) {
                self.free_key(worker, &self.tasks[task].key, fx);
            }
        }
        self.set_state(task, State::Released);
    }

    /// Out of whatever it was in, on the way to erred.
    pub(super) fn leave_for_erred(&mut self, task: TaskId) {
        if let Some(worker) = self.tasks[task].processing_on() {
            self.workers.at_mut(worker).actors.remove(task);
            self.exit_processing(task);
        }
        self.leave_queue(task);
        self.leave_unrunnable(task);
    }
}

fn action_name(action: &Action) -> &str {
    match action {
        Action::Compute => "compute",
        Action::Transfer => "transfer",
        Action::DiskRead => "disk-read",
        Action::DiskWrite => "disk-write",
        Action::Deserialize => "deserialize",
        Action::Other(text) => text.as_str().unwrap_or("other"),
    }
}
