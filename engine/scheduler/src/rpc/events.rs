//! Events and topics: what clients, workers and the scheduler itself note for others to read.

use super::RpcError;
use super::fields::Fields;
use crate::clock;
use crate::context::Context;
use protocol::{Text, Value};
use scheduler_core::{Effects, Scheduler, Time};
use std::sync::Arc;

/// Notes `message` under each of `topics`, a name or an array of names.
pub async fn log(ctx: &Arc<Context>, topics: Value, message: Value) -> Result<(), RpcError> {
    let note = move |core: &mut Scheduler, now, effects: &mut Effects| {
        core.log_event(&topics, &message, now, effects);
    };
    Ok(ctx.core.call(note).await?)
}

pub async fn log_event(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let topics = match fields.required("topic")? {
        topics @ (Value::Str(_) | Value::Array(_) | Value::Set(_)) => topics,
        other => return Err(fields.wrong("topic", "a string or a list of strings", &other)),
    };
    let message = fields.take_any("msg").unwrap_or_default();
    log(ctx, topics, message).await?;
    Ok(Value::Nil)
}

pub async fn events(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let topic = fields.optional_text("topic")?;
    let question = move |core: &mut Scheduler, _: Time, _: &mut Effects| match topic {
        Some(topic) => core.events_of(&topic.to_string_lossy()),
        None => with_events(core.events()),
    };
    Ok(ctx.core.call(question).await?)
}

/// A topic that has only been subscribed to is not listed.
fn with_events(topics: Value) -> Value {
    let mut topics = topics.into_map().unwrap_or_default();
    topics.retain(|(_, events)| events.is_truthy());
    Value::Map(topics)
}

/// The name of something this scheduler set off, as logs and stories show it.
pub fn stimulus(action: &str) -> Text {
    Text::from(format!("{action}-{}", clock::now().seconds()))
}
