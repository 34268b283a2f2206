//! Python of users that runs beside the scheduler, in a helper: functions, plugins, and what they ask in return.

use super::RpcError;
use super::fields::Fields;
use crate::context::Context;
use crate::graph::{Backdoor, GraphError};
use protocol::{Value, map};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};

impl From<GraphError> for RpcError {
    fn from(error: GraphError) -> Self {
        Self::Pickled {
            text: error.text,
            exception: error.exception,
            traceback: error.traceback,
        }
    }
}

impl From<RpcError> for GraphError {
    fn from(error: RpcError) -> Self {
        let (exception, traceback) = error.pickles();
        Self {
            exception,
            traceback,
            text: error.text(),
            traceback_text: String::new(),
        }
    }
}

/// The reply to a function: what it returned, or what it raised.
pub async fn run_function(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let function = fields.bytes("function")?;
    let mut pickle = |name| match fields.take(name) {
        Some(Value::Bin(pickle)) => Some(pickle),
        _ => None,
    };
    let (args, kwargs) = (pickle("args"), pickle("kwargs"));
    let wait = fields.flag("wait", true);
    Ok(ctx
        .graphs
        .run_function(function, args, kwargs, wait)
        .await?)
}

pub async fn register_scheduler_plugin(
    ctx: &Arc<Context>,
    mut fields: Fields,
) -> Result<Value, RpcError> {
    let plugin = fields.bytes("plugin")?;
    let name = fields.take("name").unwrap_or_default();
    let idempotent = fields.flag("idempotent", false);
    ctx.graphs
        .register_scheduler_plugin(plugin, &name, idempotent)
        .await?;
    Ok(Value::Nil)
}

pub async fn unregister_scheduler_plugin(
    ctx: &Arc<Context>,
    mut fields: Fields,
) -> Result<Value, RpcError> {
    let name = fields.string("name")?;
    ctx.graphs.unregister_scheduler_plugin(&name).await?;
    Ok(Value::Nil)
}

/// Lets functions and plugins ask this scheduler, and plugins know who joins and leaves.
pub fn open_backdoor(ctx: &Arc<Context>) {
    ctx.graphs
        .answer_questions(Arc::new(Door(Arc::downgrade(ctx))));
    let (mut events, weak) = (ctx.status_feed.subscribe(), Arc::downgrade(ctx));
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            let Some(ctx) = weak.upgrade() else { return };
            tell_plugins(&ctx, &event);
        }
    });
}

/// `["add", {"workers": {address: identity}}]` or `["remove", address]`.
fn tell_plugins(ctx: &Context, event: &Value) {
    let Some([what, subject]) = event.as_array() else {
        return;
    };
    if what.is_str("add") {
        let workers = subject
            .get("workers")
            .and_then(Value::as_map)
            .unwrap_or_default();
        for (address, _) in workers {
            ctx.graphs
                .hook("add_worker", true, map! {"worker" => address.clone()});
        }
    } else if what.is_str("remove") {
        let arguments = map! {"worker" => subject.clone(), "stimulus_id" => "remove-worker"};
        ctx.graphs.hook("remove_worker", true, arguments);
    }
}

/// Asks as a client would; holds the scheduler no longer than a question takes.
struct Door(Weak<Context>);

impl Backdoor for Door {
    fn ask(
        &self,
        op: String,
        arguments: Value,
    ) -> Pin<Box<dyn Future<Output = Result<Value, GraphError>> + Send>> {
        let ctx = self.0.upgrade();
        Box::pin(async move {
            let ctx = ctx.ok_or_else(|| GraphError::runtime("the scheduler is closing"))?;
            match op.as_str() {
                "scheduler_snapshot" => Ok(snapshot(&ctx).await?),
                _ => Ok(super::handle(&ctx, &op, arguments).await?),
            }
        })
    }
}

/// The core's tables, and what only the program knows.
async fn snapshot(ctx: &Context) -> Result<Value, RpcError> {
    let mut snapshot = ctx.core.call(|core, _, _| core.snapshot()).await?;
    let identity = &ctx.identity;
    let address = identity
        .addresses
        .first()
        .map_or(Value::Nil, |address| Value::from(address.as_str()));
    let services = match identity.dashboard_port {
        Some(port) => map! {"dashboard" => i64::from(port)},
        None => map! {},
    };
    if let Some(Value::Map(facts)) = snapshot.get_mut("facts") {
        facts.push((Value::text("address"), address));
        facts.push((Value::text("id"), Value::from(identity.id.as_str())));
        facts.push((Value::text("services"), services));
    }
    Ok(snapshot)
}
