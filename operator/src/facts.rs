//! What schedulers say, asked beside the reconcile path: a slow or hostile scheduler costs its own job's facts and
//! nothing else.
//!
//! Owns how often each is asked, how many at once, and the last answer. Invariant: at most one question to a scheduler at
//! a time; a job is looked at again only when an answer differs in what matters to it, or when it has grown too old.

mod answer;
mod http;

pub use answer::{Engine, Said};
pub use http::Http;

use crate::clock::{self, Clock};
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::store::{Store, Uid};
use futures::future::BoxFuture;
use plan::life::{Facts, Time};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

/// A scheduler that does not answer is asked less and less, down to this.
const SELDOM: Duration = Duration::from_secs(15);
/// An answer older than this counts for nothing; the plan has the same bound.
const STALE_SECONDS: u64 = 60;

/// Where a scheduler is and what is wanted of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Host or address, without port.
    pub host: String,
    pub engine: Engine,
    pub wants_target: bool,
    pub wants_idleness: bool,
}

/// Why a scheduler said nothing of use.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    #[error("no answer in time")]
    TimedOut,
    #[error("reach the scheduler")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the scheduler answered {0}")]
    Refused(u16),
    #[error("read the answer")]
    Undecodable(#[from] serde_json::Error),
}

/// The way to schedulers; tests have another.
pub trait Schedulers: Send + Sync {
    fn ask(&self, question: Question) -> BoxFuture<'static, Result<Said, AskError>>;
    /// Empties these workers and closes them.
    fn retire(
        &self,
        question: Question,
        workers: Vec<String>,
    ) -> BoxFuture<'static, Result<(), AskError>>;
}

/// How the scheduler of a job is to be asked, as the last plan said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub attempt: u32,
    pub every: Duration,
    pub wants_target: bool,
    pub wants_idleness: bool,
    pub engine: Engine,
}

#[derive(Debug)]
struct Asked {
    order: Order,
    due: Instant,
    in_flight: bool,
    failures: u32,
    retiring: bool,
    facts: Option<Facts>,
}

pub struct Asker {
    schedulers: Arc<dyn Schedulers>,
    store: Arc<Store>,
    queue: Arc<Queue>,
    metrics: Arc<Metrics>,
    clock: Clock,
    jobs: Mutex<HashMap<Uid, Asked>>,
    changed: Notify,
    at_once: Arc<Semaphore>,
}

impl Asker {
    pub fn new(
        schedulers: Arc<dyn Schedulers>,
        store: Arc<Store>,
        queue: Arc<Queue>,
        metrics: Arc<Metrics>,
        clock: Clock,
        at_once: usize,
    ) -> Self {
        Asker {
            schedulers,
            store,
            queue,
            metrics,
            clock,
            jobs: Mutex::default(),
            changed: Notify::new(),
            at_once: Arc::new(Semaphore::new(at_once)),
        }
    }

    /// What the scheduler of a job said last.
    pub fn facts(&self, job: &str) -> Option<Facts> {
        self.lock().get(job)?.facts.clone()
    }

    /// How a job's scheduler is asked from now on; not at all without an order.
    pub fn follow(&self, job: &Uid, order: Option<Order>) {
        let mut jobs = self.lock();
        let Some(order) = order else {
            jobs.remove(job);
            return;
        };
        let now = clock::instant();
        match jobs.get_mut(job) {
            Some(asked) if asked.order.attempt == order.attempt => {
                if order.every < asked.order.every && asked.failures == 0 {
                    asked.due = asked.due.min(now + order.every);
                }
                asked.order = order;
            }
            Some(_) | None => {
                let asked = Asked {
                    order,
                    due: now,
                    in_flight: false,
                    failures: 0,
                    retiring: false,
                    facts: None,
                };
                jobs.insert(job.clone(), asked);
            }
        }
        drop(jobs);
        self.changed.notify_one();
    }

    /// Has workers emptied and closed, unless the scheduler is at it.
    pub fn retire(self: &Arc<Self>, job: &Uid, workers: Vec<String>) {
        let mut jobs = self.lock();
        let Some(asked) = jobs.get_mut(job) else {
            return;
        };
        let Some(question) = self.question(job, &asked.order) else {
            return;
        };
        if std::mem::replace(&mut asked.retiring, true) {
            return;
        }
        drop(jobs);
        let (asker, job) = (self.clone(), job.clone());
        tokio::spawn(async move {
            let retired = asker.schedulers.retire(question, workers).await;
            asker.metrics.asked("retire", retired.is_ok());
            if let Err(error) = retired {
                tracing::debug!(error = %crate::chain(&error), "workers are not retired yet");
            }
            if let Some(asked) = asker.lock().get_mut(&job) {
                asked.retiring = false;
                asked.due = clock::instant();
            }
            asker.changed.notify_one();
        });
    }

    /// Asks until dropped.
    pub async fn run(self: Arc<Self>) {
        loop {
            let next = self.start_due();
            match next {
                Some(due) => {
                    tokio::select! {
                        () = self.changed.notified() => {}
                        () = tokio::time::sleep_until(due) => {}
                    }
                }
                None => self.changed.notified().await,
            }
        }
    }

    /// Starts what is due; when the next one is.
    fn start_due(self: &Arc<Self>) -> Option<Instant> {
        let now = clock::instant();
        let mut next: Option<Instant> = None;
        for (job, asked) in self.lock().iter_mut().filter(|(_, asked)| !asked.in_flight) {
            if asked.due > now {
                next = Some(next.map_or(asked.due, |known| known.min(asked.due)));
                continue;
            }
            asked.in_flight = true;
            let question = self.question(job, &asked.order);
            tokio::spawn(self.clone().ask(job.clone(), asked.order.attempt, question));
        }
        next
    }

    fn question(&self, job: &str, order: &Order) -> Option<Question> {
        Some(Question {
            host: self.store.scheduler_address(job, order.attempt)?,
            engine: order.engine,
            wants_target: order.wants_target,
            wants_idleness: order.wants_idleness,
        })
    }

    async fn ask(self: Arc<Self>, job: Uid, attempt: u32, question: Option<Question>) {
        let said = match question {
            None => None,
            Some(question) => {
                let _turn = self.at_once.acquire().await;
                let said = self.schedulers.ask(question).await;
                self.metrics.asked("ask", said.is_ok());
                said.inspect_err(|error| {
                    tracing::debug!(error = %crate::chain(error), "a scheduler does not answer");
                })
                .ok()
            }
        };
        let is_news = self.take(&job, attempt, said);
        self.changed.notify_one();
        if is_news {
            self.queue.add(&job);
        }
    }

    /// Keeps an answer; whether the job is to be looked at again.
    fn take(&self, job: &str, attempt: u32, said: Option<Said>) -> bool {
        let now = self.clock.now();
        let mut jobs = self.lock();
        let Some(asked) = jobs.get_mut(job) else {
            return false;
        };
        if asked.order.attempt != attempt {
            return false;
        }
        asked.in_flight = false;
        let Some(said) = said else {
            asked.failures = asked.failures.saturating_add(1);
            let slower = asked.order.every * 2_u32.saturating_pow(asked.failures.min(6));
            asked.due = clock::instant() + slower.min(SELDOM.max(asked.order.every));
            let is_stale = |facts: &mut Facts| now.since(facts.at) > STALE_SECONDS;
            return asked.facts.take_if(is_stale).is_some();
        };
        asked.failures = 0;
        asked.due = clock::instant() + asked.order.every;
        let facts = said.into_facts(attempt, now);
        let is_news = asked
            .facts
            .as_ref()
            .is_none_or(|known| differs(known, &facts, &asked.order, now));
        asked.facts = Some(facts);
        is_news
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Uid, Asked>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an answer differs from the one before in what the job depends on.
fn differs(known: &Facts, next: &Facts, order: &Order, now: Time) -> bool {
    let names = |facts: &Facts| -> BTreeSet<(String, String)> {
        let workers: &BTreeMap<_, _> = &facts.workers;
        workers
            .iter()
            .map(|(name, worker)| (name.clone(), worker.address.clone()))
            .collect()
    };
    names(known) != names(next)
        || (order.wants_target && known.desired_workers != next.desired_workers)
        || (order.wants_idleness && known.idle_since != next.idle_since)
        // What was too old to count counts again.
        || now.since(known.at) > STALE_SECONDS
}
