//! `broadcast` and `proxy`: one message to many workers or nannies, passed on as it came.
//!
//! What a caller sees of a peer that cannot be reached depends on `on_error`; the keys of the reply are always the
//! workers' addresses, also when their nannies were asked.

use super::RpcError;
use super::fields::Fields;
use super::peer::{self, PeerError};
use crate::context::Context;
use protocol::{Payload, Value, map};
use std::sync::Arc;
use tokio::task::JoinSet;

/// What becomes of a failed call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// It fails the whole broadcast.
    Raise,
    /// The exception takes the place of the answer.
    Return,
    /// Its pickle, as bytes, takes the place of the answer.
    ReturnPickle,
    /// There is no entry for that worker.
    Ignore,
}

impl OnError {
    fn read(fields: &mut Fields) -> Result<Self, RpcError> {
        let Some(text) = fields.optional_text("on_error")? else {
            return Ok(Self::Raise);
        };
        match text.as_str() {
            Some("raise") => Ok(Self::Raise),
            Some("return") => Ok(Self::Return),
            Some("return_pickle") => Ok(Self::ReturnPickle),
            Some("ignore") => Ok(Self::Ignore),
            _ => Err(RpcError::value_error(format!(
                "on_error must be 'raise', 'return', 'return_pickle' or 'ignore', not '{text}'"
            ))),
        }
    }

    /// What the reply holds for a peer that failed; an error fails everything.
    fn settle(self, error: PeerError) -> Result<Option<Value>, RpcError> {
        let error = RpcError::from(error);
        match self {
            Self::Raise => Err(error),
            Self::Return => {
                let pickle = Payload::pickled(&error.pickles().0, Vec::new());
                Ok(Some(Value::Pickled(pickle)))
            }
            Self::ReturnPickle => Ok(Some(Value::Bin(error.pickles().0))),
            Self::Ignore => Ok(None),
        }
    }
}

/// Whom a broadcast is for: the name its answer gets, and the address to connect to.
struct Recipient {
    name: Arc<str>,
    address: Arc<str>,
}

pub async fn broadcast(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let message = read_message(&mut fields)?;
    let workers = fields.optional_list("workers")?;
    let hosts = fields.optional_list("hosts")?;
    let nanny = fields.flag("nanny", false);
    let on_error = OnError::read(&mut fields)?;
    let recipients = recipients(ctx, &fields, workers, hosts, nanny).await?;
    send_all(ctx, recipients, message, on_error).await
}

pub async fn proxy(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let message = read_message(&mut fields)?;
    let worker = fields.string("worker")?;
    let answer = peer::call(ctx, &worker, message).await?;
    Ok(answer)
}

pub async fn worker_logs(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let message = map! {"op" => "get_logs", "n" => fields.take("n")};
    let workers = fields.optional_list("workers")?;
    let nanny = fields.flag("nanny", false);
    let recipients = recipients(ctx, &fields, workers, None, nanny).await?;
    send_all(ctx, recipients, message, OnError::Raise).await
}

/// To every worker there is, or to every nanny.
pub async fn to_everyone(
    ctx: &Arc<Context>,
    message: Value,
    nanny: bool,
) -> Result<Value, RpcError> {
    let fields = Fields::new("broadcast", map! {});
    let recipients = recipients(ctx, &fields, None, None, nanny).await?;
    send_all(ctx, recipients, message, OnError::Raise).await
}

/// The message to pass on, with the serializers that the caller wants its answers in.
fn read_message(fields: &mut Fields) -> Result<Value, RpcError> {
    let mut message = Value::Map(fields.map("msg")?);
    if message.get("op").is_none() {
        return Err(fields.wrong("msg", "a message with an 'op'", &message));
    }
    if let Some(serializers) = fields.take("serializers") {
        message.set("serializers", serializers);
    }
    Ok(message)
}

async fn recipients(
    ctx: &Arc<Context>,
    fields: &Fields,
    workers: Option<Vec<Value>>,
    hosts: Option<Vec<Value>>,
    nanny: bool,
) -> Result<Vec<Recipient>, RpcError> {
    let all = ctx.core.call(|core, _, _| core.workers()).await?;
    let mut names: Vec<Arc<str>> = Vec::new();
    match workers {
        Some(workers) => {
            for worker in &workers {
                let text = worker.as_str();
                let text =
                    text.ok_or_else(|| fields.wrong("workers", "a list of addresses", worker))?;
                names.push(Arc::from(text));
            }
        }
        None if hosts.is_none() => {
            names.extend(all.iter().map(|worker| Arc::clone(&worker.address)))
        }
        None => {}
    }
    for host in hosts.unwrap_or_default() {
        let host = host
            .as_text()
            .ok_or_else(|| fields.wrong("hosts", "a list of host names", &host))?;
        let there = all.iter().filter(|worker| *host == *worker.host);
        names.extend(there.map(|worker| Arc::clone(&worker.address)));
    }
    let recipient = |name: Arc<str>| {
        if !nanny {
            let address = Arc::clone(&name);
            return Some(Ok(Recipient { name, address }));
        }
        let Some(worker) = all.iter().find(|worker| worker.address == name) else {
            return Some(Err(RpcError::key_error(&*name)));
        };
        // A worker without a nanny is left out.
        let address = worker.nanny.clone()?;
        Some(Ok(Recipient { name, address }))
    };
    names.into_iter().filter_map(recipient).collect()
}

/// Sends `message` to all at once and returns `{name: answer}` in the order of `recipients`.
async fn send_all(
    ctx: &Arc<Context>,
    recipients: Vec<Recipient>,
    message: Value,
    on_error: OnError,
) -> Result<Value, RpcError> {
    let message = Arc::new(peer::message(message));
    let mut calls = JoinSet::new();
    for (index, recipient) in recipients.iter().enumerate() {
        let ctx = Arc::clone(ctx);
        let address = Arc::clone(&recipient.address);
        let message = Arc::clone(&message);
        calls.spawn(async move {
            let answer = peer::call_encoded(&ctx, &address, &message).await;
            (index, answer)
        });
    }
    let mut answers: Vec<Option<Value>> = vec![None; recipients.len()];
    while let Some(call) = calls.join_next().await {
        let (index, answer) = call.expect("calls neither panic nor are they aborted");
        answers[index] = match answer {
            Ok(answer) => Some(answer),
            Err(error) => {
                tracing::error!(worker = %recipients[index].name, error = %error, "broadcast failed");
                on_error.settle(error)?
            }
        };
    }
    let named = recipients.iter().zip(answers);
    let entries = named.filter_map(|(to, answer)| Some((Value::from(&*to.name), answer?)));
    Ok(Value::Map(entries.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreachable() -> PeerError {
        PeerError::Unreachable {
            error: "connection refused".to_owned(),
        }
    }

    fn read(text: &str) -> Result<OnError, RpcError> {
        OnError::read(&mut Fields::new("broadcast", map! {"on_error" => text}))
    }

    #[test]
    fn a_failure_is_raised_unless_the_caller_says_otherwise() {
        let on_error = OnError::read(&mut Fields::new("broadcast", map! {})).unwrap();
        assert_eq!(on_error, OnError::Raise);
        let error = on_error.settle(unreachable()).unwrap_err();
        assert!(error.to_string().contains("connection refused"));
    }

    #[test]
    fn return_puts_the_exception_where_the_answer_would_be() {
        let settled = read("return").unwrap().settle(unreachable()).unwrap();
        let Some(Value::Pickled(payload)) = settled else {
            panic!("{settled:?}");
        };
        let (pickle, buffers) = payload.pickle().unwrap();
        assert_eq!(pickle, RpcError::from(unreachable()).pickles().0);
        assert!(buffers.is_empty());
    }

    #[test]
    fn return_pickle_puts_its_pickle_there_as_plain_bytes() {
        let settled = read("return_pickle")
            .unwrap()
            .settle(unreachable())
            .unwrap();
        let pickle = RpcError::from(unreachable()).pickles().0;
        assert_eq!(settled, Some(Value::Bin(pickle)));
    }

    #[test]
    fn ignore_leaves_the_worker_out() {
        assert_eq!(read("ignore").unwrap().settle(unreachable()).unwrap(), None);
    }

    #[test]
    fn any_other_word_is_a_value_error() {
        assert!(
            read("shrug")
                .unwrap_err()
                .to_string()
                .starts_with("ValueError")
        );
    }
}
