//! Everything at one moment, as plain values: what user code beside the scheduler reads.
//!
//! Field names are those of stock's `TaskState`, `WorkerState`, `ClientState`, `TaskGroup` and `TaskPrefix`. Tasks name
//! each other by key; the reader links them.

use crate::group::StateCounts;
use crate::scheduler::Scheduler;
use crate::task::{PHASES, Task, UNKNOWN_SIZE};
use crate::worker::Worker;
use protocol::{Value, map};
use std::sync::Arc;

impl Scheduler {
    /// Tables of tasks, workers, clients, groups and prefixes, and single facts.
    pub fn snapshot(&self) -> Value {
        map! {
            "facts" => self.facts(),
            "workers" => self.workers.iter().map(|worker| self.worker_row(worker)).collect::<Vec<_>>(),
            "clients" => self.client_rows(),
            "prefixes" => self.prefix_rows(),
            "groups" => self.group_rows(),
            "tasks" => self.tasks.iter().map(|(_, task)| self.task_row(task)).collect::<Vec<_>>(),
        }
    }

    fn facts(&self) -> Value {
        let addresses = |set| {
            let workers = self.workers.in_set(set);
            Value::Array(
                workers
                    .map(|worker| Value::from(&*worker.address))
                    .collect(),
            )
        };
        map! {
            "idle_since" => self.idle_since().map_or(Value::Nil, |since| Value::Float(since.seconds())),
            "idle_timeout" => self.config.idle_timeout.map_or(Value::Nil, Value::Float),
            "time_started" => self.started.seconds(),
            "total_occupancy" => self.total_occupancy_seconds(),
            "bandwidth" => self.bandwidth,
            "idle_workers" => addresses(&self.workers.idle),
            "saturated_workers" => addresses(&self.workers.saturated),
            "n_tasks" => self.n_tasks,
        }
    }

    fn worker_row(&self, worker: &Worker) -> Value {
        let resources = |amounts: &[(Arc<str>, f64)]| {
            let entries = amounts
                .iter()
                .map(|(name, amount)| (Value::from(&**name), Value::Float(*amount)));
            Value::Map(entries.collect())
        };
        map! {
            "identity" => self.worker_identity(worker.id, true),
            "address" => &*worker.address,
            "nbytes" => worker.nbytes,
            "pid" => worker.pid,
            "server_id" => &*worker.server_id,
            "time_delay" => worker.time_delay,
            "resources" => resources(&worker.resources),
            "used_resources" => resources(&worker.used_resources),
            "last_seen" => worker.last_seen.seconds(),
        }
    }

    fn client_rows(&self) -> Vec<Value> {
        let rows = self.clients.iter().map(|(_, client)| {
            map! {
                "client_key" => &*client.name,
                "last_seen" => client.last_seen.seconds(),
                "versions" => client.versions.clone(),
            }
        });
        rows.collect()
    }

    fn prefix_rows(&self) -> Vec<Value> {
        let rows = self.groups.prefixes().map(|(_, prefix)| {
            let known = |seconds: f64| {
                if seconds < 0.0 {
                    Value::Float(-1.0)
                } else {
                    Value::Float(seconds)
                }
            };
            map! {
                "name" => &*prefix.name,
                "states" => counts(&prefix.states),
                "nbytes_total" => prefix.nbytes_total,
                "duration" => prefix.duration_us as f64 / 1e6,
                "duration_average" => known(prefix.duration_average),
                "max_exec_time" => known(prefix.max_exec_time),
                "suspicious" => prefix.suspicious,
            }
        });
        rows.collect()
    }

    fn group_rows(&self) -> Vec<Value> {
        let rows = self.groups.iter().map(|(_, group)| {
            map! {
                "name" => group.name.to_value(),
                "prefix" => &*self.groups.prefix(group.prefix).name,
                "states" => counts(&group.states),
                "size" => group.size,
                "nbytes_total" => group.nbytes_total,
                "duration" => group.duration_us as f64 / 1e6,
                "start" => group.start,
                "stop" => group.stop,
                "span_id" => group.span_id.as_deref().map_or(Value::Nil, Value::from),
            }
        });
        rows.collect()
    }

    fn task_row(&self, task: &Task) -> Value {
        let rare = task.rare.as_deref();
        let blame = task.blame();
        let keys = |tasks: &mut dyn Iterator<Item = crate::task::TaskId>| {
            Value::Array(tasks.map(|id| self.tasks[id].key.to_value()).collect())
        };
        let holders = task
            .who_has
            .iter()
            .map(|id| Value::from(&*self.workers.at(id).address));
        let clients = task
            .who_wants
            .iter()
            .filter_map(|id| self.clients.get(id))
            .map(|own| Value::from(&*own.name));
        let nbytes = if task.nbytes == UNKNOWN_SIZE {
            Value::Int(-1)
        } else {
            Value::from(task.nbytes)
        };
        let priority = &task.priority;
        map! {
            "key" => task.key.to_value(),
            "state" => task.phase().name(),
            "group" => self.groups.name_of(task.group),
            "dependencies" => keys(&mut task.dependencies.iter()),
            "who_has" => Value::Array(holders.collect()),
            "who_wants" => Value::Array(clients.collect()),
            "processing_on" => task.processing_on().map_or(Value::Nil, |id| Value::from(&*self.workers.at(id).address)),
            "nbytes" => nbytes,
            "priority" => Value::Array(vec![
                Value::Float(priority.user),
                Value::Float(priority.generation),
                Value::Int(i64::from(priority.internal)),
            ]),
            "actor" => task.is_actor(),
            "type" => self.groups.type_name(task.type_name).map_or(Value::Nil, |name| Value::from(&**name)),
            "run_id" => task.run_id,
            "retries" => rare.map_or(0, |rare| rare.retries),
            "suspicious" => rare.map_or(0, |rare| rare.suspicious),
            "annotations" => match rare.and_then(|rare| rare.annotations.as_ref()) {
                Some(annotations) => annotations.wire.clone(),
                None => Value::Map(Vec::new()),
            },
            "metadata" => rare.map_or(Value::Nil, |rare| rare.metadata.clone()),
            "blame" => blame.map_or(Value::Nil, |blame| blame.key.to_value()),
            "exception_text" => blame.map_or("", |blame| &blame.error.exception_text),
            "traceback_text" => blame.map_or("", |blame| &blame.error.traceback_text),
        }
    }
}

fn counts(states: &StateCounts) -> Value {
    let entries = PHASES.iter().map(|phase| {
        (
            Value::text(phase.name()),
            Value::from(states[phase.index()]),
        )
    });
    Value::Map(entries.collect())
}
