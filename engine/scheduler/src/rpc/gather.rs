//! `gather`: results from workers to a client through the scheduler.
//!
//! Payloads are relayed as they came. A busy worker is asked again, a lost one is replaced by another holder, and what
//! nobody has is named in the reply. Invariant: a worker that answered OK is acknowledged (see `peer::get_data`).

use super::fields::Fields;
use super::peer::{self, PeerError};
use super::{RpcError, events};
use crate::context::Context;
use protocol::{Key, Value, array, map};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long a busy worker is left alone.
const BUSY_PAUSE: Duration = Duration::from_millis(150);

pub async fn gather(ctx: &Arc<Context>, mut fields: Fields) -> Result<Value, RpcError> {
    let keys = fields.keys("keys")?;
    let serializers = fields.take("serializers");
    let count = keys.len();
    let mut gathered = Gathered::default();
    let mut missing = keys;
    while !missing.is_empty() {
        let round = Round::new(locate(ctx, missing, &mut gathered).await?);
        missing = round
            .collect(ctx, serializers.as_ref(), &mut gathered)
            .await;
    }
    events::log(
        ctx,
        array!["all"],
        map! {"action" => "gather", "count" => count},
    )
    .await?;
    if gathered.failed.is_empty() {
        return Ok(map! {"status" => "OK", "data" => Value::Map(gathered.data)});
    }
    tracing::error!(keys = ?gathered.failed, "keys could not be gathered");
    let failed: Value = gathered.failed.iter().map(Value::from).collect();
    Ok(map! {"status" => "error", "keys" => failed})
}

/// What has come of a gather so far.
#[derive(Default)]
struct Gathered {
    data: Vec<(Value, Value)>,
    failed: Vec<Key>,
    lost_workers: HashSet<Arc<str>>,
}

/// A key and the workers that may still have it.
type Wanted = HashMap<Key, Vec<Arc<str>>>;

/// Asks the core who holds the keys; those without a holder that answers have failed.
async fn locate(
    ctx: &Arc<Context>,
    keys: Vec<Key>,
    gathered: &mut Gathered,
) -> Result<Wanted, RpcError> {
    let located = ctx
        .core
        .call(move |core, _, _| core.who_has(Some(&keys)))
        .await?;
    let mut wanted = Wanted::with_capacity(located.len());
    for (key, mut holders) in located {
        holders.retain(|holder| !gathered.lost_workers.contains(holder));
        if holders.is_empty() {
            gathered.failed.push(key);
        } else {
            wanted.insert(key, holders.into_vec());
        }
    }
    Ok(wanted)
}

/// Requests to the holders the core has named, until every key is had, failed or without a holder.
struct Round {
    wanted: Wanted,
    busy: HashSet<Arc<str>>,
}

type Answer = (Arc<str>, Vec<Key>, Result<Value, PeerError>);

impl Round {
    fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            busy: HashSet::new(),
        }
    }

    /// Returns the keys that none of their holders gave.
    async fn collect(
        mut self,
        ctx: &Arc<Context>,
        serializers: Option<&Value>,
        gathered: &mut Gathered,
    ) -> Vec<Key> {
        while !self.wanted.is_empty() {
            let requests = self.assign();
            if requests.is_empty() {
                if self.busy.is_empty() {
                    break;
                }
                tokio::time::sleep(BUSY_PAUSE).await;
                self.busy.clear();
                continue;
            }
            let mut answers = send(ctx, requests, serializers);
            while let Some(answer) = answers.join_next().await {
                let answer = answer.expect("requests neither panic nor are they aborted");
                self.receive(answer, gathered);
            }
        }
        self.wanted.into_keys().collect()
    }

    /// One request per worker. Which of several holders gives a key depends on the key, which spreads the load.
    fn assign(&self) -> HashMap<Arc<str>, Vec<Key>> {
        let mut requests: HashMap<Arc<str>, Vec<Key>> = HashMap::new();
        for (key, holders) in &self.wanted {
            let ready: Vec<_> = holders
                .iter()
                .filter(|it| !self.busy.contains(*it))
                .collect();
            if !ready.is_empty() {
                let holder = ready[(key.hash64() % ready.len() as u64) as usize];
                requests
                    .entry(Arc::clone(holder))
                    .or_default()
                    .push(key.clone());
            }
        }
        requests
    }

    fn receive(&mut self, (worker, keys, answer): Answer, gathered: &mut Gathered) {
        match answer {
            Ok(answer) => match answer.get("status").and_then(Value::as_str) {
                Some("OK") => self.take_data(&worker, keys, answer, gathered),
                Some("busy") => {
                    self.busy.insert(worker);
                }
                status => {
                    tracing::error!(worker = %worker, ?status, "unexpected answer to get_data");
                    self.fail(keys, gathered);
                }
            },
            Err(PeerError::Unreachable { error }) => {
                tracing::info!(worker = %worker, error = %error, "worker lost during gather");
                for holders in self.wanted.values_mut() {
                    holders.retain(|holder| *holder != worker);
                }
                gathered.lost_workers.insert(worker);
            }
            Err(error @ PeerError::Raised { .. }) => {
                tracing::error!(worker = %worker, error = %error, "worker could not give data");
                self.fail(keys, gathered);
            }
        }
    }

    fn take_data(
        &mut self,
        worker: &Arc<str>,
        keys: Vec<Key>,
        mut answer: Value,
        gathered: &mut Gathered,
    ) {
        let data = answer.take("data").and_then(Value::into_map);
        for (name, value) in data.unwrap_or_default() {
            if name
                .as_key()
                .is_some_and(|key| self.wanted.remove(&key).is_some())
            {
                gathered.data.push((name, value));
            }
        }
        // What was asked for and not given is not there: another holder may have it.
        for key in keys {
            if let Some(holders) = self.wanted.get_mut(&key) {
                holders.retain(|holder| holder != worker);
            }
        }
    }

    fn fail(&mut self, keys: Vec<Key>, gathered: &mut Gathered) {
        for key in keys {
            self.wanted.remove(&key);
            gathered.failed.push(key);
        }
    }
}

fn send(
    ctx: &Arc<Context>,
    requests: HashMap<Arc<str>, Vec<Key>>,
    serializers: Option<&Value>,
) -> JoinSet<Answer> {
    let mut answers = JoinSet::new();
    for (worker, keys) in requests {
        let ctx = Arc::clone(ctx);
        let serializers = serializers.cloned();
        answers.spawn(async move {
            let answer = peer::get_data(&ctx, &worker, &keys, serializers).await;
            (worker, keys, answer)
        });
    }
    answers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(wanted: &[(&str, &[&str])]) -> Round {
        let entry = |(key, holders): &(&str, &[&str])| {
            (
                Key::str(key),
                holders.iter().map(|&it| Arc::from(it)).collect(),
            )
        };
        Round::new(wanted.iter().map(entry).collect())
    }

    fn answered(worker: &str, keys: &[&str], answer: Result<Value, PeerError>) -> Answer {
        let keys = keys.iter().map(|key| Key::str(key)).collect();
        (Arc::from(worker), keys, answer)
    }

    fn lost() -> PeerError {
        PeerError::Unreachable {
            error: "connection reset".to_owned(),
        }
    }

    #[test]
    fn a_busy_worker_is_passed_over_until_the_pause_is_over() {
        let mut round = round(&[("x", &["a"])]);
        let busy = Ok(map! {"status" => "busy"});
        round.receive(answered("a", &["x"], busy), &mut Gathered::default());
        assert!(round.assign().is_empty());
        round.busy.clear();
        assert_eq!(round.assign()["a"], [Key::str("x")]);
    }

    #[test]
    fn another_holder_is_asked_when_one_is_lost() {
        let mut round = round(&[("x", &["a", "b"])]);
        let mut gathered = Gathered::default();
        round.receive(answered("a", &["x"], Err(lost())), &mut gathered);
        assert_eq!(round.assign()["b"], [Key::str("x")]);
        assert!(gathered.lost_workers.contains("a"));
    }

    #[test]
    fn another_holder_is_asked_when_one_does_not_have_the_key() {
        let mut round = round(&[("x", &["a", "b"]), ("y", &["a"])]);
        let mut gathered = Gathered::default();
        let answer = Ok(map! {"status" => "OK", "data" => map! {"y" => 1}});
        round.receive(answered("a", &["x", "y"], answer), &mut gathered);
        assert_eq!(gathered.data, [(Value::from("y"), Value::from(1))]);
        assert_eq!(round.assign()["b"], [Key::str("x")]);
    }

    #[test]
    fn keys_of_a_worker_that_raises_have_failed() {
        let mut round = round(&[("x", &["a", "b"])]);
        let mut gathered = Gathered::default();
        let error = PeerError::Raised {
            text: "ValueError()".to_owned(),
        };
        round.receive(answered("a", &["x"], Err(error)), &mut gathered);
        assert_eq!(gathered.failed, [Key::str("x")]);
        assert!(round.wanted.is_empty());
    }

    #[test]
    fn keys_equal_in_python_are_one_key() {
        let wanted = [(Key::int(1), vec![Arc::from("a")])];
        let mut round = Round::new(wanted.into_iter().collect());
        let mut gathered = Gathered::default();
        let answer = Ok(map! {"status" => "OK", "data" => map! {1.0 => "one"}});
        let asked = (Arc::from("a"), vec![Key::int(1)], answer);
        round.receive(asked, &mut gathered);
        assert!(round.wanted.is_empty());
        assert_eq!(gathered.data.len(), 1);
    }
}
