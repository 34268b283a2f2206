//! What the core's actions mean to executor, disk and peers.

use crate::clock;
use crate::executor::packet::Packets;
use crate::machine::{Input, Machine, UnderWay};
use crate::peers;
use crate::requests::Serialized;
use crate::spill;
use crate::values::Readable;
use protocol::{Key, Payload};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{spawn_blocking, spawn_local};
use tracing::{debug, error, info, warn};
use worker_core::{
    Action, Event, Execution, ExecutionId, Input as TaskInput, Location, LogLevel, Outcome, Source,
    SpillOutcome, ValueId,
};

impl Machine {
    pub(crate) fn act(&mut self, action: Action) {
        match action {
            Action::Execute(execution) => self.execute(*execution),
            Action::CancelExecution { execution } => self.end_early(execution, Packets::cancel),
            Action::RecallExecution { execution } => self.end_early(execution, Packets::withdraw),
            Action::Gather(gather) => {
                let life = self.life.clone();
                spawn_local(async move { peers::gather(&life, *gather).await });
            }
            Action::RetryBusyPeerLater { peer, after_ns } => {
                let handle = self.life.handle.clone();
                spawn_local(async move {
                    tokio::time::sleep(Duration::from_nanos(after_ns)).await;
                    handle.tell(Event::RetryBusyPeer { peer });
                });
            }
            Action::ForgetPeer { peer } => self.life.pool.remove(&peer),
            Action::Store { key, value, source } => self.keep(&key, value, source),
            Action::Free { key, value } => self.free(&key, value),
            Action::Spill { key, value, .. } => self.spill(key, value),
            Action::DropMemoryCopy { key, value } => {
                if self.values.take_serialized(value).is_none() {
                    self.drop_in_executor(&key, value);
                }
            }
            Action::DropDiskCopy { value, .. } => self.values.drop_file(value),
            Action::CollectGarbage => self.life.collect_garbage(),
            Action::TerminateExecutor {
                process_bytes,
                memory_limit,
                force,
            } => self.life.out_of_memory(process_bytes, memory_limit, force),
            Action::StatusChanged(status) => {
                self.life.status.set(status);
                self.line.say(|line| line.status(status.name()));
            }
            Action::Transitioned { key, start, finish } => {
                self.transitions.push((key, start, finish));
            }
            Action::Log {
                level,
                message,
                subject,
            } => match level {
                LogLevel::Debug => debug!(subject, "{message}"),
                LogLevel::Info => info!(subject, "{message}"),
                LogLevel::Warning => warn!(subject, "{message}"),
                LogLevel::Error => error!(subject, "{message}"),
            },
        }
    }

    /// Brings what is elsewhere into the executor, then the run; a run whose inputs are on disk waits for them.
    fn execute(&mut self, execution: Execution) {
        let mut awaited = Vec::new();
        for input in &execution.inputs {
            match input.location {
                Location::Executor => {}
                Location::Serialized => self.give(input),
                Location::Disk => {
                    self.unspill(input);
                    awaited.push(input.value);
                }
            }
            // Another run may be waiting for the same file.
            if self.values.is_unspilling(input.value) && !awaited.contains(&input.value) {
                awaited.push(input.value);
            }
        }
        let waits = !awaited.is_empty();
        let under_way = UnderWay {
            order: execution.order,
            expected_seconds: execution.expected_seconds,
            awaited,
        };
        self.under_way.insert(execution.id, under_way);
        match waits {
            true => self.held_back.push(execution.id),
            false => self.send_run(execution.id),
        }
    }

    fn give(&mut self, input: &TaskInput) {
        match self.values.take_serialized(input.value) {
            Some(payload) => self.give_payload(&input.key, input.value, &payload),
            None => error!(task = %input.key, "a value that should be here is not"),
        }
    }

    fn give_payload(&mut self, key: &Key, value: ValueId, payload: &Payload) {
        self.line.say(|line| line.put(key, payload));
        self.values.given(key, value);
    }

    fn send_run(&mut self, id: ExecutionId) {
        let Some(under_way) = self.under_way.get(&id) else {
            return;
        };
        let order = &under_way.order;
        match &order.run_spec {
            Some(spec) => {
                let expected = under_way.expected_seconds;
                self.line
                    .say(|line| line.execute(id.0, order, spec, expected));
            }
            None => {
                error!(task = %order.key, "an order to run a task without the task");
                self.give_back(id);
            }
        }
    }

    /// The run has not begun and will not.
    fn give_back(&mut self, id: ExecutionId) {
        self.under_way.remove(&id);
        self.held_back.retain(|other| *other != id);
        self.events
            .push(Event::Executed(Box::new(worker_core::Executed {
                execution: id,
                outcome: Outcome::NotBegun,
                thread: None,
                startstops: smallvec::SmallVec::new(),
                metadata: protocol::Value::Nil,
            })));
    }

    /// Of what the executor has already, it decides: whether it has begun is known there only.
    fn end_early(&mut self, id: ExecutionId, say: fn(&mut Packets, &[u64])) {
        if self.held_back.contains(&id) {
            self.give_back(id);
        } else if self.under_way.contains_key(&id) {
            self.line.say(|line| say(line, &[id.0]));
        }
    }

    fn unspill(&mut self, input: &TaskInput) {
        let Some(spilled) = self.values.begin_unspilling(&input.key, input.value) else {
            return;
        };
        let (handle, value) = (self.life.handle.clone(), input.value);
        let life = self.life.clone();
        let memory = Arc::clone(&life.memory);
        spawn_local(async move {
            let (start, disk_bytes) = (clock::now(), spilled.disk_bytes());
            let read = spawn_blocking(move || spilled.read(&memory)).await;
            life.spills.read.note(disk_bytes, start);
            let content = read.unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()));
            handle.send(Input::Unspilled { value, content });
        });
    }

    pub(crate) fn unspilled(&mut self, value: ValueId, content: std::io::Result<Payload>) {
        let Some((key, is_freed)) = self.values.end_unspilling(value) else {
            return;
        };
        let is_there = content.is_ok();
        match content {
            Ok(payload) => self.give_payload(&key, value, &payload),
            Err(error) => {
                error!(task = %key, error = %error, "a spilled value cannot be read");
                let value_lost = Event::Lost {
                    key: key.clone(),
                    value,
                };
                self.events.push(value_lost);
                self.settle();
                for id in self.held_back.clone() {
                    if self.waits_for(id, value) {
                        self.give_back(id);
                    }
                }
            }
        }
        self.let_go(value);
        let to_spill = self
            .spill_later
            .extract_if(.., |(_, later)| *later == value)
            .count()
            > 0;
        if is_freed {
            self.drop_in_executor(&key, value);
        } else if to_spill && is_there {
            self.spill(key, value);
        }
    }

    fn waits_for(&self, id: ExecutionId, value: ValueId) -> bool {
        let waits = |under_way: &UnderWay| under_way.awaited.contains(&value);
        self.under_way.get(&id).is_some_and(waits)
    }

    /// Runs that waited for this value only.
    fn let_go(&mut self, value: ValueId) {
        let mut ready = Vec::new();
        let under_way = &mut self.under_way;
        self.held_back.retain(|id| {
            let Some(run) = under_way.get_mut(id) else {
                return false;
            };
            run.awaited.retain(|awaited| *awaited != value);
            if run.awaited.is_empty() {
                ready.push(*id);
            }
            !run.awaited.is_empty()
        });
        ready.into_iter().for_each(|id| self.send_run(id));
    }

    fn keep(&mut self, key: &Key, value: ValueId, source: Source) {
        if let Source::Update(update) = source
            && self.values.is_held_by_python(update, key)
        {
            self.values.given(key, value);
            self.events.push(Event::Relocated {
                key: key.clone(),
                value,
                location: Location::Executor,
            });
            return;
        }
        let delivery = self.delivery.as_mut().filter(|(of, _)| *of == source);
        match delivery.and_then(|(_, values)| values.remove(key)) {
            Some(payload) => self.values.store(value, payload),
            None => error!(task = %key, "a value is to be kept that has not come"),
        }
    }

    fn free(&mut self, key: &Key, value: ValueId) {
        self.values.take_serialized(value);
        self.values.drop_file(value);
        if !self.values.free_when_unspilled(value) {
            self.drop_in_executor(key, value);
        }
    }

    fn drop_in_executor(&mut self, key: &Key, value: ValueId) {
        if self.values.leave_executor(key, value) {
            self.line.say(|line| line.drop_value(key.clone()));
        }
    }

    fn spill(&mut self, key: Key, value: ValueId) {
        if self.values.is_unspilling(value) {
            // The executor cannot hand out what is still on its way there.
            self.spill_later.push((key, value));
            return;
        }
        let readable = match self.values.serialized(value) {
            Some(payload) => Readable::Here(payload.clone()),
            None => Readable::InExecutor,
        };
        let path = self.values.file_for(value);
        let fetch = match readable {
            Readable::InExecutor => {
                let (request, fetched) = self.requests.fetch();
                let keys = [key.clone()];
                self.line.say(|line| line.fetch(request, &keys, None));
                Err(fetched)
            }
            Readable::Here(payload) => Ok(payload),
            Readable::OnDisk(_) => return,
        };
        let handle = self.life.handle.clone();
        spawn_local(async move {
            let content = match fetch {
                Ok(payload) => Some((Serialized::from(&payload), None)),
                Err(fetched) => match fetched.await {
                    Ok(fetched) => fetched.into_only(),
                    Err(_stopped) => return,
                },
            };
            let Some((content, loan)) = content else {
                let outcome = SpillOutcome::NotSerializable;
                return handle.tell(Event::Spilled {
                    key,
                    value,
                    outcome,
                });
            };
            let start = clock::now();
            let written = spawn_blocking(move || spill::write(&path, &content)).await;
            drop(loan);
            let written = written.unwrap_or_else(|_| Err(std::io::ErrorKind::Other.into()));
            handle.send(Input::Call(Box::new(move |machine| {
                let outcome = match written {
                    Ok(spilled) => {
                        let disk_bytes = spilled.disk_bytes();
                        machine.values.written(value, spilled);
                        machine.life.spills.written(disk_bytes, start);
                        SpillOutcome::Written { disk_bytes }
                    }
                    Err(error) => {
                        warn!(task = %key, error = %error, "a value cannot be written to disk");
                        machine.life.stop_lending_after(&error);
                        machine.life.spills.failed(error.to_string());
                        SpillOutcome::DiskFailed
                    }
                };
                machine.events.push(Event::Spilled {
                    key,
                    value,
                    outcome,
                });
                machine.settle();
            })));
        });
    }
}
