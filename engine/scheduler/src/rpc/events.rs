//! Events and topics: what clients, workers and the scheduler itself note for others to read.

use super::RpcError;
use super::fields::Fields;
use crate::clock;
use crate::context::Context;
use protocol::{Text, Value};
use std::sync::Arc;

/// Notes `message` under each of `topics`, an array of names.
pub async fn log(ctx: &Arc<Context>, topics: Value, message: Value) -> Result<(), RpcError> {
    let topics = topics.into_array().unwrap_or_default();
    let topics: Vec<Text> = topics
        .into_iter()
        .filter_map(|topic| topic.as_text().cloned())
        .collect();
    let note = move |core: &mut scheduler_core::Scheduler, now, effects: &mut _| {
        for topic in &topics {
            core.log_event(topic, message.clone(), now, effects);
        }
    };
    Ok(ctx.core.call(note).await?)
}

pub async fn log_event(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let topics = match fields.required("topic")? {
        topic @ Value::Str(_) => Value::Array(vec![topic]),
        topics @ (Value::Array(_) | Value::Set(_)) => topics,
        other => return Err(fields.wrong("topic", "a string or a list of strings", &other)),
    };
    let message = fields.take_any("msg").unwrap_or_default();
    log(ctx, topics, message.detached()).await?;
    Ok(Value::Nil)
}

pub async fn events(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let topic = fields.optional_text("topic")?;
    Ok(ctx
        .core
        .call(move |core, _, _| core.events(topic.as_ref()))
        .await?)
}

/// The name of something this scheduler set off, as logs and stories show it.
pub fn stimulus(action: &str) -> Text {
    Text::from(format!("{action}-{}", clock::seconds(clock::now())))
}
