//! Requests that get one reply: a table from the name of an operation to its handler.
//!
//! A handler reads its fields from the request, asks the core through `Context::core`, talks to workers through
//! `Context::pool`, and returns the reply. What stock Dask has and this scheduler does not have yet is in `not_yet`
//! and answers with an error that names it; a name that stock does not know answers null, as stock does.

mod addresses;
mod benchmark;
mod broadcast;
mod closing;
mod error;
mod events;
mod fields;
mod functions;
mod gather;
mod logs;
mod metadata;
mod not_yet;
mod peer;
mod pickles;
mod plugins;
mod questions;
mod rebalance;
mod replicate;
mod restart;
mod retire;
mod scatter;
mod tasks;
mod workers;

pub use error::RpcError;
pub use functions::open_backdoor;
pub use retire::{RetirementEnd, RetirementEnds};

use crate::context::Context;
use fields::Fields;
use protocol::Value;
use std::sync::Arc;
use tokio::sync::RwLock;
use tracing::warn;

/// What handlers share with each other and nobody else.
#[derive(Debug, Default)]
pub struct State {
    /// Held for writing while results are replicated, for reading while workers retire: the two exclude each other.
    replica_lock: RwLock<()>,
    /// Where the ends of retirements are reported.
    pub retirements: RetirementEnds,
}

/// Answers one request. `request` holds the fields beside `op`, `reply` and `close`.
pub async fn handle(ctx: &Arc<Context>, op: &str, request: Value) -> Result<Value, RpcError> {
    if ctx
        .config
        .dask
        .scheduler
        .blocked_handlers
        .iter()
        .any(|blocked| blocked == op)
    {
        return Err(RpcError::value_error(format!(
            "The '{op}' handler has been disallowed in this scheduler by distributed.scheduler.blocked-handlers"
        )));
    }
    let request = if keeps_pickles(op) {
        request
    } else {
        pickles::open_all(ctx, request).await?
    };
    dispatch(ctx, op, Fields::new(op, request)).await
}

/// Operations that pass values on or keep them; the pickles in them are opened by whoever receives them.
fn keeps_pickles(op: &str) -> bool {
    matches!(
        op,
        "broadcast"
            | "proxy"
            | "scatter"
            | "set_metadata"
            | "log_event"
            | "heartbeat_worker"
            | "echo"
    )
}

async fn dispatch(ctx: &Arc<Context>, op: &str, fields: Fields) -> Result<Value, RpcError> {
    match op {
        "heartbeat_worker" => workers::heartbeat_worker(ctx, fields).await,
        "gather" => gather::gather(ctx, fields).await,
        "scatter" => scatter::scatter(ctx, fields).await,
        "broadcast" => broadcast::broadcast(ctx, fields).await,
        "proxy" => broadcast::proxy(ctx, fields).await,
        "replicate" => replicate::replicate(ctx, fields).await,
        "rebalance" => rebalance::rebalance(ctx, fields).await,
        "restart" => restart::restart(ctx, fields).await,
        "restart_workers" => restart::restart_workers(ctx, fields).await,
        "benchmark_hardware" => benchmark::benchmark_hardware(ctx).await,
        "get_logs" | "logs" => logs::get_logs(fields),
        "worker_logs" => broadcast::worker_logs(ctx, fields).await,
        _ => about_cluster(ctx, op, fields).await,
    }
}

/// Workers, nannies, plugins and the scheduler itself.
async fn about_cluster(
    ctx: &Arc<Context>,
    op: &str,
    mut fields: Fields,
) -> Result<Value, RpcError> {
    match op {
        "identity" => questions::identity(ctx, fields).await,
        "echo" => Ok(fields.take_any("data").unwrap_or_default()),
        "versions" => questions::versions(ctx, fields).await,
        "terminate" => {
            ctx.close("a client asked for it");
            Ok(Value::Nil)
        }
        "ncores" => questions::ncores(ctx, fields).await,
        "ncores_running" => questions::ncores_running(ctx, fields).await,
        "unregister" => workers::unregister(ctx, fields).await,
        "set_resources" => workers::set_resources(ctx, fields).await,
        "retire_workers" => retire::retire_workers(ctx, fields).await,
        "workers_to_close" => closing::workers_to_close(ctx, fields).await,
        "adaptive_target" => closing::adaptive_target(ctx, fields).await,
        "check_idle" => closing::check_idle(ctx).await,
        "amm_handler" => closing::memory_manager(fields),
        "register_worker_plugin" => plugins::register_worker_plugin(ctx, fields).await,
        "unregister_worker_plugin" => plugins::unregister_worker_plugin(ctx, fields).await,
        "run_function" => functions::run_function(ctx, fields).await,
        "register_scheduler_plugin" => functions::register_scheduler_plugin(ctx, fields).await,
        "unregister_scheduler_plugin" => functions::unregister_scheduler_plugin(ctx, fields).await,
        "register_nanny_plugin" => plugins::register_nanny_plugin(ctx, fields).await,
        "unregister_nanny_plugin" => plugins::unregister_nanny_plugin(ctx, fields).await,
        _ => about_tasks(ctx, op, fields).await,
    }
}

/// Tasks, results, and what is noted about them.
async fn about_tasks(ctx: &Arc<Context>, op: &str, fields: Fields) -> Result<Value, RpcError> {
    match op {
        "who_has" => questions::who_has(ctx, fields).await,
        "has_what" => questions::has_what(ctx, fields).await,
        "processing" => questions::processing(ctx, fields).await,
        "nbytes" => questions::nbytes(ctx, fields).await,
        "call_stack" => questions::call_stack(ctx, fields).await,
        "get_task_status" => questions::get_task_status(ctx, fields).await,
        "get_task_prefix_states" => questions::get_task_prefix_states(ctx).await,
        "get_story" => questions::get_story(ctx, fields).await,
        "get_runspec" => questions::get_runspec(ctx, fields).await,
        "get_error_cause" => questions::get_error_cause(ctx, fields).await,
        "update_data" => workers::update_data(ctx, fields).await,
        "add_keys" => workers::add_keys(ctx, fields).await,
        "retry" => tasks::retry(ctx, fields).await,
        "set_restrictions" => tasks::set_restrictions(ctx, fields).await,
        "start_task_metadata" => tasks::start_task_metadata(ctx, fields).await,
        "stop_task_metadata" => tasks::stop_task_metadata(ctx, fields).await,
        "get_metadata" => metadata::get_metadata(ctx, fields).await,
        "set_metadata" => metadata::set_metadata(ctx, fields).await,
        "log_event" => events::log_event(ctx, fields).await,
        "events" => events::events(ctx, fields).await,
        _ => not_yet::answer(op).unwrap_or_else(|| {
            warn!(op, "no handler found; answered with null");
            Ok(Value::Nil)
        }),
    }
}
