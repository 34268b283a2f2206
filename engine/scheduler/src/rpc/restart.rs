//! `restart` and `restart_workers`: workers go and come back through their nannies.
//!
//! A worker without a nanny is only told to close. Invariant: after a restart no worker of before is registered,
//! whether its nanny answered or not.

use super::fields::Fields;
use super::peer::{self, PeerError};
use super::{RpcError, addresses, events};
use crate::clock;
use crate::context::Context;
use protocol::{Text, Value, array, map};
use scheduler_core::{Effects, Removal, Scheduler, Time, WorkerContact, WorkerId};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tracing::{error, info, warn};

const DEFAULT_TIMEOUT_SECONDS: f64 = 30.0;

/// How often it looks whether workers have come back.
const POLL: Duration = Duration::from_millis(200);

/// What a caller wants restarted, and how long it waits.
struct Order {
    client: Option<Text>,
    timeout_seconds: f64,
    wait_for_workers: bool,
    raise: bool,
    stimulus_id: Text,
}

impl Order {
    fn read(fields: &mut Fields) -> Result<Self, RpcError> {
        let on_error = fields.optional_text("on_error")?;
        let timeout = fields.optional_seconds("timeout")?;
        Ok(Self {
            client: fields.optional_text("client")?,
            timeout_seconds: timeout.unwrap_or(DEFAULT_TIMEOUT_SECONDS).max(0.0),
            wait_for_workers: fields.flag("wait_for_workers", true),
            raise: on_error.is_none_or(|on_error| on_error == "raise"),
            stimulus_id: match fields.optional_text("stimulus_id")? {
                Some(stimulus_id) => stimulus_id.detached(),
                None => events::stimulus("restart"),
            },
        })
    }
}

/// A worker to restart.
struct Target {
    worker: WorkerId,
    address: Arc<str>,
    nanny: Option<Arc<str>>,
}

/// How a worker's restart went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Ok,
    Removed,
    TimedOut,
}

impl Outcome {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Removed => "removed",
            Self::TimedOut => "timed out",
        }
    }
}

pub async fn restart(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let order = Order::read(&mut fields)?;
    info!(stimulus_id = %order.stimulus_id, "restarting: all keys are released");
    ctx.core
        .call(|core, now, effects| core.restart(now, effects))
        .await?;
    ctx.graphs.hook("restart", true, map! {});
    restart_all(ctx, None, &order).await?;
    Ok(Value::Nil)
}

pub async fn restart_workers(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let order = Order::read(&mut fields)?;
    let wanted = match fields.optional_list("workers")? {
        Some(workers) => {
            let known = addresses::known(ctx, &workers).await?;
            Some(known.into_iter().map(|(_, worker)| worker).collect())
        }
        None => None,
    };
    let outcomes = restart_all(ctx, wanted, &order).await?;
    let named = outcomes.into_iter();
    Ok(named
        .map(|(worker, outcome)| (Value::from(&*worker), Value::text(outcome.name())))
        .collect())
}

type Outcomes = Vec<(Arc<str>, Outcome)>;

async fn restart_all(
    ctx: &Arc<Context>,
    wanted: Option<Vec<WorkerId>>,
    order: &Order,
) -> Result<Outcomes, RpcError> {
    let deadline = clock::now().plus_seconds(order.timeout_seconds);
    let (targets, count_before) = targets(ctx, wanted).await?;
    info!(workers = targets.len(), stimulus_id = %order.stimulus_id, "restarting workers");
    let mut outcomes = remove_unwatched(ctx, &targets, order).await?;
    let unwatched = outcomes.len();
    let killed = kill(ctx, &targets, order).await?;
    let is_late =
        |target: &&Target| killed.contains(&(Arc::clone(&target.address), Outcome::TimedOut));
    let late: Vec<&Target> = targets.iter().filter(is_late).collect();
    if !late.is_empty() {
        for target in &late {
            error!(worker = %target.address, "worker did not shut down in time and is removed");
            remove(ctx, target.worker, &order.stimulus_id).await?;
        }
        if order.raise {
            return Err(RpcError::timeout(format!(
                "{} of {} nannies did not end their worker within {} s: {}",
                late.len(),
                killed.len(),
                order.timeout_seconds,
                late.iter()
                    .map(|target| &*target.address)
                    .collect::<Vec<_>>()
                    .join(", "),
            )));
        }
    }
    outcomes.extend(killed);
    log(ctx, &targets, order).await?;
    if !order.wait_for_workers || come_back(ctx, &targets, count_before, deadline).await? {
        return Ok(outcomes);
    }
    let message = not_back(ctx, &targets, count_before, unwatched, order).await?;
    if order.raise {
        return Err(RpcError::timeout(message));
    }
    error!(stimulus_id = %order.stimulus_id, "{message}");
    mark_absent(ctx, &targets, &mut outcomes).await?;
    Ok(outcomes)
}

/// The workers to restart, and how many workers there are in all. An address that is not registered is left out.
async fn targets(
    ctx: &Arc<Context>,
    wanted: Option<Vec<WorkerId>>,
) -> Result<(Vec<Target>, usize), RpcError> {
    let mut workers = ctx.core.call(|core, _, _| core.workers()).await?;
    let count = workers.len();
    if let Some(wanted) = wanted {
        workers.retain(|worker| wanted.contains(&worker.id));
    }
    let target = |worker: WorkerContact| Target {
        worker: worker.id,
        address: worker.address,
        nanny: worker.nanny,
    };
    Ok((workers.into_iter().map(target).collect(), count))
}

/// Nobody would bring these back, so they are let go: whoever deployed them may replace them.
async fn remove_unwatched(
    ctx: &Arc<Context>,
    targets: &[Target],
    order: &Order,
) -> Result<Outcomes, RpcError> {
    let mut outcomes = Outcomes::new();
    for target in targets.iter().filter(|target| target.nanny.is_none()) {
        warn!(worker = %target.address, "worker has no nanny and is closed without being restarted");
        remove(ctx, target.worker, &order.stimulus_id).await?;
        outcomes.push((Arc::clone(&target.address), Outcome::Removed));
    }
    Ok(outcomes)
}

async fn remove(ctx: &Arc<Context>, worker: WorkerId, stimulus_id: &Text) -> Result<(), RpcError> {
    let removal = Removal {
        expected: false,
        close: true,
        reason: Arc::from("restart"),
        stimulus_id: stimulus_id.clone(),
    };
    let remove = move |core: &mut Scheduler, now, effects: &mut Effects| {
        core.remove_worker(worker, removal, now, effects);
    };
    Ok(ctx.core.call(remove).await?)
}

/// Has the nannies kill their workers; a nanny starts a new one by itself.
async fn kill(ctx: &Arc<Context>, targets: &[Target], order: &Order) -> Result<Outcomes, RpcError> {
    let patience = Duration::from_secs_f64(order.timeout_seconds);
    let mut calls = JoinSet::new();
    for target in targets {
        let Some(nanny) = target.nanny.clone() else {
            continue;
        };
        let ctx = Arc::clone(ctx);
        let worker = Arc::clone(&target.address);
        let request = map! {"op" => "kill", "reason" => order.stimulus_id.clone()};
        calls.spawn(async move {
            let call = peer::call(&ctx, &nanny, request);
            (worker, tokio::time::timeout(patience, call).await)
        });
    }
    let mut outcomes = Outcomes::new();
    while let Some(call) = calls.join_next().await {
        let (worker, answer) = call.expect("calls neither panic nor are they aborted");
        let outcome = match answer {
            Ok(Ok(_null)) => Outcome::Ok,
            Ok(Err(PeerError::Unreachable { .. })) | Err(_) => Outcome::TimedOut,
            Ok(Err(raised @ PeerError::Raised { .. })) => return Err(raised.into()),
        };
        outcomes.push((worker, outcome));
    }
    Ok(outcomes)
}

async fn log(ctx: &Arc<Context>, targets: &[Target], order: &Order) -> Result<(), RpcError> {
    let workers: Value = targets.iter().map(|it| Value::from(&*it.address)).collect();
    let action = "restart-workers";
    if let Some(client) = &order.client {
        let message = map! {"action" => action, "workers" => workers.clone()};
        events::log(ctx, array![client.clone()], message).await?;
    }
    let message = map! {
        "action" => action,
        "workers" => workers,
        "client" => order.client.clone(),
    };
    events::log(ctx, array!["all"], message).await
}

/// Waits until the old workers are gone and as many are there as before; workers are interchangeable.
///
/// A nanny may say that its worker is dead before the end of that worker's stream has been read.
async fn come_back(
    ctx: &Arc<Context>,
    targets: &[Target],
    count: usize,
    deadline: Time,
) -> Result<bool, RpcError> {
    let old: Vec<WorkerId> = targets.iter().map(|target| target.worker).collect();
    loop {
        let old = old.clone();
        let are_back = ctx.core.call(move |core, _, _| {
            let gone = old.iter().all(|worker| core.worker(*worker).is_none());
            gone && core.worker_count() >= count
        });
        if are_back.await? {
            return Ok(true);
        }
        if clock::now() > deadline {
            return Ok(false);
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn worker_count(ctx: &Arc<Context>) -> Result<usize, RpcError> {
    Ok(ctx.core.call(|core, _, _| core.worker_count()).await?)
}

async fn not_back(
    ctx: &Arc<Context>,
    targets: &[Target],
    count_before: usize,
    unwatched: usize,
    order: &Order,
) -> Result<String, RpcError> {
    let missing = count_before.saturating_sub(worker_count(ctx).await?);
    let mut message = format!(
        "{missing} of {} restarted worker(s) had not come back after {} s. Wait longer with a larger timeout, or not at \
         all with wait_for_workers=False.",
        targets.len(),
        order.timeout_seconds,
    );
    if unwatched > 0 {
        message += &format!(
            " {unwatched} of them have no nanny: they were closed, and only what deployed them can start them again. \
             Without nannies a restart like this one always times out.",
        );
    }
    Ok(message)
}

/// Workers whose nanny has no worker now have timed out.
async fn mark_absent(
    ctx: &Arc<Context>,
    targets: &[Target],
    outcomes: &mut Outcomes,
) -> Result<(), RpcError> {
    let workers = ctx.core.call(|core, _, _| core.workers()).await?;
    let present: HashSet<Arc<str>> = workers
        .into_iter()
        .filter_map(|worker| worker.nanny)
        .collect();
    for target in targets {
        let absent = target
            .nanny
            .as_ref()
            .is_some_and(|nanny| !present.contains(nanny));
        if absent {
            let mut of_target = outcomes
                .iter_mut()
                .filter(|(worker, _)| *worker == target.address);
            if let Some((_, outcome)) = of_target.next() {
                *outcome = Outcome::TimedOut;
            }
        }
    }
    Ok(())
}
