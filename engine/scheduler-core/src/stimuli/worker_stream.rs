//! What a worker says on its stream.

use crate::effects::{Action, Effects, Replicas, ToWorker};
use crate::error::TaskError;
use crate::ids::{Time, WorkerId};
use crate::registration::WorkerStatus;
use crate::scheduler::Scheduler;
use crate::task::{Blame, Flags, Phase, TaskId};
use crate::transitions::{Fault, Finished};
use protocol::messages::{FromWorker, LongRunning, TaskErred, TaskFinished};
use protocol::{Key, Text, Value};
use std::sync::Arc;

impl Scheduler {
    /// One message of a worker's stream.
    pub fn worker_message(
        &mut self,
        worker: WorkerId,
        message: FromWorker,
        now: Time,
        fx: &mut Effects,
    ) {
        if !self.workers.is_registered(worker) {
            return;
        }
        match message {
            FromWorker::TaskFinished(message) => self.task_finished(worker, &message, now, fx),
            FromWorker::TaskErred(message) => self.task_erred(worker, message, now, fx),
            FromWorker::ReleaseWorkerData(message) => {
                self.begin(now, message.stimulus_id);
                self.release_worker_data(worker, &message.key, fx);
            }
            FromWorker::AddKeys(message) => {
                self.begin(now, message.stimulus_id);
                self.add_keys(worker, &message.keys, fx);
            }
            FromWorker::LongRunning(message) => self.long_running(worker, &message, now, fx),
            FromWorker::Reschedule(message) => {
                self.begin(now, message.stimulus_id);
                self.reschedule(worker, &message.key, fx);
            }
            FromWorker::RequestRefreshWhoHas(message) => {
                self.begin(now, message.stimulus_id);
                self.refresh_who_has(worker, &message.keys, fx);
            }
            FromWorker::WorkerStatusChange(message) => {
                self.begin(now, message.stimulus_id);
                self.announced_status(worker, &message.status, fx);
            }
            FromWorker::LogEvent(message) => {
                let address = Value::from(&*self.workers.at(worker).address);
                let mut event = message.msg;
                event.set("worker", address);
                self.log_event(&message.topic, &event, now, fx);
                return;
            }
            // Nobody asks for steals yet; a late answer changes nothing.
            FromWorker::StealResponse(_) | FromWorker::KeepAlive | FromWorker::CloseStream => {
                return;
            }
            FromWorker::Other { op, .. } => {
                let why = Arc::from(format!("unknown stream operation {op}"));
                fx.action(Action::DropBrokenWorker { worker, why });
                return;
            }
        }
        self.end();
    }

    fn task_finished(
        &mut self,
        worker: WorkerId,
        message: &TaskFinished,
        now: Time,
        fx: &mut Effects,
    ) {
        self.begin(now, message.stimulus_id.clone());
        match self.tasks.find(&message.key) {
            None => self.free_key(worker, &message.key, fx),
            Some(task) => self.known_task_finished(task, worker, message, fx),
        }
        self.settle(fx);
        self.fill_slots(fx);
    }

    fn known_task_finished(
        &mut self,
        task: TaskId,
        worker: WorkerId,
        message: &TaskFinished,
        fx: &mut Effects,
    ) {
        let own = &self.tasks[task];
        match own.phase() {
            Phase::Released | Phase::Queued | Phase::NoWorker | Phase::Erred | Phase::Forgotten => {
                self.free_key(worker, &message.key, fx);
            }
            Phase::Waiting | Phase::Processing | Phase::Memory
                if !own.is_run(message.run_id as u64) =>
            {
                if own.processing_on() == Some(worker) {
                    self.recommend(task, Phase::Released);
                } else {
                    self.free_key(worker, &message.key, fx);
                }
            }
            Phase::Memory => self.add_keys(worker, std::slice::from_ref(&message.key), fx),
            // The run has been given up; the worker is being told to drop the result.
            Phase::Waiting => {}
            Phase::Processing if own.processing_on() == Some(worker) => {
                self.merge_metadata(task, &message.metadata);
                let typename = message.typename.to_string_lossy();
                let finished = Finished {
                    nbytes: message.nbytes,
                    type_pickle: message.value_type.clone(),
                    typename: &typename,
                    startstops: &message.startstops,
                };
                self.processing_to_memory(task, worker, finished, fx);
            }
            Phase::Processing => self.free_key(worker, &message.key, fx),
        }
    }

    fn merge_metadata(&mut self, task: TaskId, metadata: &Value) {
        let Value::Map(entries) = metadata else {
            return;
        };
        let own = &mut self.tasks[task].rare_mut().metadata;
        if own.is_nil() {
            *own = Value::Map(Vec::new());
        }
        let Value::Map(merged) = own else { return };
        for (name, value) in entries {
            match merged.iter_mut().find(|(own, _)| own == name) {
                Some((_, old)) => *old = value.detached(),
                None => merged.push((name.detached(), value.detached())),
            }
        }
    }

    fn task_erred(&mut self, worker: WorkerId, message: TaskErred, now: Time, fx: &mut Effects) {
        self.begin(now, message.stimulus_id.clone());
        if let Some(task) = self.tasks.find(&message.key) {
            self.known_task_erred(task, worker, &message, fx);
        }
        self.settle(fx);
        self.fill_slots(fx);
    }

    fn known_task_erred(
        &mut self,
        task: TaskId,
        worker: WorkerId,
        message: &TaskErred,
        fx: &mut Effects,
    ) {
        let own = &self.tasks[task];
        if own.processing_on() != Some(worker) {
            return;
        }
        if !own.is_run(message.run_id as u64) {
            self.transition(task, Phase::Released, fx);
            return;
        }
        if let Some(rare) = self.tasks[task]
            .rare
            .as_mut()
            .filter(|rare| rare.retries > 0)
        {
            rare.retries -= 1;
            self.transition(task, Phase::Waiting, fx);
            return;
        }
        let blame = Arc::new(Blame {
            key: self.tasks[task].key.clone(),
            error: TaskError {
                exception: message.exception.detached(),
                traceback: message.traceback.detached(),
                exception_text: Arc::from(&*message.exception_text.to_string_lossy()),
                traceback_text: Arc::from(&*message.traceback_text.to_string_lossy()),
            },
        });
        let fault = Fault {
            worker: Some(worker),
            blame,
        };
        self.fail(task, fault, fx);
    }

    fn release_worker_data(&mut self, worker: WorkerId, key: &Key, fx: &mut Effects) {
        let own = self.workers.at_mut(worker);
        let answers = own.freeing.answered(key, &self.stimulus);
        let Some(task) = self.tasks.find(key) else {
            return;
        };
        if !self.tasks[task].who_has.contains(worker) {
            return;
        }
        if answers {
            // A client has put a new value there meanwhile, which may be gone or not: then neither is kept.
            self.free_key(worker, key, fx);
        }
        self.remove_replica(task, worker);
        if self.workers.at_mut(worker).actors.remove(task) {
            // Others have no more than a way to reach it.
            self.settle_one(task, Phase::Erred, fx);
        } else if self.tasks[task].who_has.is_empty() {
            self.settle_one(task, Phase::Released, fx);
        }
        self.fill_slots(fx);
    }

    /// The worker has these keys too. What nobody has use for is to be removed again.
    pub(crate) fn add_keys(&mut self, worker: WorkerId, keys: &[Key], fx: &mut Effects) {
        let mut unwelcome = Vec::new();
        for key in keys {
            match self.tasks.find(key) {
                Some(task) if self.tasks[task].phase() == Phase::Memory => {
                    self.add_replica(task, worker);
                }
                _ => unwelcome.push(key.clone()),
            }
        }
        for key in &unwelcome {
            self.note_freeing(key.clone(), worker);
        }
        if !unwelcome.is_empty() {
            let stimulus_id = self.stimulus.clone();
            fx.worker(
                worker,
                ToWorker::RemoveReplicas {
                    keys: unwelcome,
                    stimulus_id,
                },
            );
        }
    }

    /// The task has seceded: it no longer takes a thread, nor does it count as work ahead.
    fn long_running(
        &mut self,
        worker: WorkerId,
        message: &LongRunning,
        now: Time,
        fx: &mut Effects,
    ) {
        self.begin(now, message.stimulus_id.clone());
        let Some(task) = self.tasks.find(&message.key) else {
            return;
        };
        let own = &self.tasks[task];
        let is_run = message
            .run_id
            .is_none_or(|run_id| own.is_run(run_id as u64));
        if own.processing_on() != Some(worker) || !is_run || own.has(Flags::LONG_RUNNING) {
            return;
        }
        let prefix = self.groups.prefix_of(own.group);
        let believable = |seconds: &f64| seconds.is_finite() && *seconds >= 0.0;
        if let Some(seconds) = message.compute_duration.filter(believable) {
            let average = &mut self.groups.prefix_mut(prefix).duration_average;
            *average = if *average < 0.0 {
                seconds
            } else {
                (*average + seconds) / 2.0
            };
        }
        self.tasks[task].flags.set(Flags::LONG_RUNNING, true);
        let own = self.workers.at_mut(worker);
        own.uncount_prefix(prefix);
        own.long_running += 1;
        self.uncount_active(prefix);
        self.check_idle_saturated(worker);
        self.fill_slots(fx);
    }

    /// The task asked to run elsewhere.
    fn reschedule(&mut self, worker: WorkerId, key: &Key, fx: &mut Effects) {
        let Some(task) = self.tasks.find(key) else {
            return;
        };
        if self.tasks[task].processing_on() == Some(worker) {
            self.settle_one(task, Phase::Released, fx);
            self.fill_slots(fx);
        }
    }

    fn refresh_who_has(&mut self, worker: WorkerId, keys: &[Key], fx: &mut Effects) {
        let mut who_has = Replicas::new();
        let mut unknown = Vec::new();
        for key in keys {
            match self.tasks.find(key) {
                Some(task) => {
                    let holders = self.addresses(self.tasks[task].who_has.iter());
                    who_has.push((self.tasks[task].key.clone(), holders));
                }
                None => unknown.push(key.clone()),
            }
        }
        if !who_has.is_empty() {
            let stimulus_id = self.stimulus.clone();
            fx.worker(
                worker,
                ToWorker::RefreshWhoHas {
                    who_has,
                    stimulus_id,
                },
            );
        }
        for key in unknown {
            self.free_key(worker, &key, fx);
            // It may have been scattered, and may be again.
            self.note_freeing(key, worker);
        }
    }

    fn announced_status(&mut self, worker: WorkerId, status: &Text, fx: &mut Effects) {
        match status.as_str().and_then(WorkerStatus::from_name) {
            Some(status) => self.change_status(worker, status, fx),
            None => {
                let why = Arc::from(format!("unknown worker status {status}"));
                fx.action(Action::DropBrokenWorker { worker, why });
            }
        }
    }
}
