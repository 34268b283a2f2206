//! `retire_workers`: workers leave after what only they hold has been copied elsewhere.
//!
//! The core moves the data and says when a worker is free to go; here the caller's ways of naming workers are
//! understood, and the ends of all retirements are waited for.

use super::fields::Fields;
use super::{RpcError, addresses, closing, events};
use crate::context::Context;
use crate::core_loop::Stopped;
use protocol::{Text, Value, map};
use scheduler_core::{AfterRetiring, Effects, Scheduler, WorkerId};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use tracing::info;

/// How the caller says which workers are to go.
#[derive(Debug, PartialEq)]
pub enum Who {
    /// By name, compared as texts because names pass through command lines.
    Named(Vec<String>),
    At(Vec<Value>),
    /// Whichever can go at low cost.
    Cheapest,
}

impl Who {
    pub fn read(fields: &mut Fields) -> Result<Self, RpcError> {
        let names = fields.optional_list("names")?;
        let workers = fields.optional_list("workers")?;
        let chosen = names.is_some() || workers.is_some();
        let selection = closing::FIELDS.into_iter().filter(|name| fields.has(name));
        let selection: Vec<_> = selection.collect();
        if chosen && !selection.is_empty() {
            return Err(RpcError::type_error(format!(
                "retire_workers takes either names or workers, or arguments of workers_to_close: {}",
                selection.join(", ")
            )));
        }
        match (names, workers) {
            (Some(_), Some(_)) => Err(RpcError::type_error(
                "names and workers are mutually exclusive",
            )),
            (Some(names), None) => Ok(Self::Named(names.iter().map(name_text).collect())),
            (None, Some(workers)) => Ok(Self::At(workers)),
            (None, None) => Ok(Self::Cheapest),
        }
    }
}

pub async fn retire_workers(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let who = Who::read(&mut fields)?;
    let after = AfterRetiring {
        close: fields.flag("close_workers", false),
        remove: fields.flag("remove", true),
    };
    let stimulus_id = match fields.optional_text("stimulus_id")? {
        Some(stimulus_id) => stimulus_id.detached(),
        None => events::stimulus("retire-workers"),
    };
    // Several retirements may run side by side, but none beside a replication.
    let _no_replication = ctx.rpc.replica_lock.read().await;
    let workers = match who {
        Who::Named(names) => {
            ctx.core
                .call(move |core, _, _| core.workers_with_names(&names))
                .await?
        }
        Who::At(workers) => {
            let known = addresses::known(ctx, &workers).await?;
            known.into_iter().map(|(_, worker)| worker).collect()
        }
        Who::Cheapest => closing::choose(ctx, &mut fields).await?,
    };
    if workers.is_empty() {
        return Ok(map! {});
    }
    retire(ctx, workers, after, stimulus_id).await
}

/// As Python's `str()` gives it.
fn name_text(name: &Value) -> String {
    name.as_key()
        .map_or_else(String::new, |key| key.to_string())
}

/// Starts the retirements and waits for their ends. Returns `{address: identity}` of the workers that could go.
async fn retire(
    ctx: &Arc<Context>,
    workers: Vec<WorkerId>,
    after: AfterRetiring,
    stimulus_id: Text,
) -> Result<Value, RpcError> {
    info!(workers = workers.len(), stimulus_id = %stimulus_id, "retiring workers");
    // Listening begins first: a worker without data is retired at once.
    let mut ends = ctx.rpc.retirements.listen();
    let begin = move |core: &mut Scheduler, now, effects: &mut Effects| {
        core.retire(&workers, after, stimulus_id, now, effects)
    };
    let begun = ctx.core.call(begin).await?;
    let mut open: HashSet<WorkerId> = begun.into_iter().collect();
    let mut retired = Vec::new();
    while !open.is_empty() {
        let Some(end) = ends.recv().await else {
            return Err(Stopped.into());
        };
        if open.remove(&end.worker) && end.retired {
            retired.push((Value::from(&*end.address), end.identity));
        }
    }
    Ok(Value::Map(retired))
}

/// The end of one retirement, as the core reports it.
#[derive(Debug, Clone)]
pub struct RetirementEnd {
    pub worker: WorkerId,
    pub address: Arc<str>,
    pub retired: bool,
    pub identity: Value,
}

/// Tells everybody who waits for a retirement of its end.
#[derive(Debug, Default)]
pub struct RetirementEnds {
    listeners: Mutex<Vec<mpsc::UnboundedSender<RetirementEnd>>>,
}

impl RetirementEnds {
    pub fn publish(&self, end: &RetirementEnd) {
        let mut listeners = self
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        listeners.retain(|listener| listener.send(end.clone()).is_ok());
    }

    fn listen(&self) -> mpsc::UnboundedReceiver<RetirementEnd> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let mut listeners = self
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        listeners.push(sender);
        receiver
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::array;

    fn read(request: Value) -> Result<Who, RpcError> {
        Who::read(&mut Fields::new("retire_workers", request))
    }

    #[test]
    fn workers_are_named_by_address_or_by_name() {
        let workers = read(map! {"workers" => array!["tcp://a:1"]}).unwrap();
        assert_eq!(workers, Who::At(vec![Value::from("tcp://a:1")]));
        let names = read(map! {"names" => array![1, "b"], "workers" => Value::Nil}).unwrap();
        assert_eq!(names, Who::Named(vec!["1".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn without_names_the_cheapest_go() {
        assert_eq!(
            read(map! {"n" => 2, "attribute" => "name"}).unwrap(),
            Who::Cheapest
        );
        assert_eq!(read(map! {}).unwrap(), Who::Cheapest);
    }

    #[test]
    fn the_ways_of_naming_exclude_each_other() {
        let both = read(map! {"names" => array![1], "workers" => array!["tcp://a:1"]});
        assert!(
            both.unwrap_err()
                .to_string()
                .starts_with("TypeError: names and workers")
        );
        let mixed = read(map! {"names" => array![1], "n" => 2});
        assert!(
            mixed
                .unwrap_err()
                .to_string()
                .starts_with("TypeError: retire_workers takes")
        );
    }
}
