//! The scheduler's messages as they are once they have been written and read.

use protocol::messages::{
    ComputeTask, FromScheduler, KeysOrder, Priority, Replica, Replicas, StatusOrder, WorkerGone,
};
use protocol::{Payload, Text, Value};
use scheduler_core::ToWorker;
use std::sync::Arc;
use worker_core::Event;

/// `None` for the end.
pub(super) fn from_scheduler(message: ToWorker) -> Option<Event> {
    let message = match message {
        ToWorker::ComputeTask(order) => FromScheduler::ComputeTask(Arc::new(compute_task(*order))),
        ToWorker::FreeKeys { keys, stimulus_id } => {
            FromScheduler::FreeKeys(KeysOrder { keys, stimulus_id })
        }
        ToWorker::RemoveReplicas { keys, stimulus_id } => {
            FromScheduler::RemoveReplicas(KeysOrder { keys, stimulus_id })
        }
        ToWorker::AcquireReplicas {
            who_has,
            nbytes,
            stimulus_id,
        } => {
            let mut replicas = replicas(who_has);
            for (replica, nbytes) in replicas.iter_mut().zip(nbytes) {
                replica.nbytes = Some(nbytes);
            }
            FromScheduler::AcquireReplicas(Replicas {
                replicas,
                stimulus_id,
            })
        }
        ToWorker::RefreshWhoHas {
            who_has,
            stimulus_id,
        } => FromScheduler::RefreshWhoHas(Replicas {
            replicas: replicas(who_has),
            stimulus_id,
        }),
        ToWorker::StatusChange {
            status,
            stimulus_id,
        } => FromScheduler::StatusChange(StatusOrder {
            status: Text::from_static(status.name()),
            stimulus_id,
        }),
        ToWorker::RemoveWorker {
            address,
            stimulus_id,
        } => FromScheduler::RemoveWorker(WorkerGone {
            worker: Text::from(&*address),
            stimulus_id,
        }),
        ToWorker::Close { .. } | ToWorker::CloseStream => return None,
    };
    Event::try_from(message).ok()
}

fn compute_task(order: scheduler_core::ComputeTask) -> ComputeTask {
    let priority = order.priority;
    let spec = |spec: scheduler_core::RunSpec| Payload::pickled(&spec.pickle(), Vec::new());
    let amounts = order
        .resource_restrictions
        .iter()
        .flat_map(|all| all.iter());
    ComputeTask {
        run_id: order.run_id as i64,
        priority: Priority([
            priority.user,
            priority.generation,
            f64::from(priority.internal),
        ]),
        resource_restrictions: amounts
            .map(|(name, amount)| (Text::from(&**name), *amount))
            .collect(),
        dependencies: order
            .dependencies
            .into_iter()
            .map(|input| Replica {
                key: input.key,
                nbytes: input.nbytes,
                holders: texts(&input.holders),
            })
            .collect(),
        key: order.key,
        run_spec: order.run_spec.map(spec),
        actor: order.actor,
        annotations: Value::Nil,
        span_id: None,
        stimulus_id: order.stimulus_id,
    }
}

fn replicas(who_has: scheduler_core::Replicas) -> Vec<Replica> {
    let replica = |(key, holders): (protocol::Key, _)| Replica {
        key,
        nbytes: None,
        holders: texts(&holders as &smallvec::SmallVec<[Arc<str>; 1]>),
    };
    who_has.into_iter().map(replica).collect()
}

fn texts(addresses: &[Arc<str>]) -> smallvec::SmallVec<[Text; 1]> {
    addresses.iter().map(|own| Text::from(&**own)).collect()
}
