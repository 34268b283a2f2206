//! What all rounds share, and the tasks that make rounds happen.
//!
//! Invariants: at most one round of a job at a time; a round that failed is repeated with growing delay, and not before
//! the API server wants it; after the word to stop no round begins, and those that run are waited for.

use crate::api::Api;
use crate::clock::{self, Clock};
use crate::config::Config;
use crate::events::{self, Events};
use crate::facts::{Asker, Schedulers};
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::reconcile::{RoundError, reconcile};
use crate::store::{Store, Uid};
use crate::watch::Watches;
use kube::Client;
use plan::life::Time;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

const FIRST_RETRY: Duration = Duration::from_millis(200);
const LONGEST_RETRY: Duration = Duration::from_secs(60);
/// Between a status of ours and our answer to one that somebody else put in its place.
const YIELD: Duration = Duration::from_secs(1);
/// A job that fails so often in a row has its trouble told to its user.
const TOLD_AFTER_FAILURES: u32 = 5;

pub struct Operator {
    pub(crate) api: Api,
    pub(crate) config: Arc<Config>,
    pub(crate) store: Arc<Store>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) asker: Arc<Asker>,
    pub(crate) events: Events,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) clock: Clock,
    notes: Mutex<HashMap<Uid, Note>>,
}

/// What is remembered of a job between rounds. Nothing is lost with it but some haste.
#[derive(Debug, Default)]
struct Note {
    failures: u32,
    not_before: Option<Instant>,
    /// The watch seems to lag behind: the next round looks closer first.
    distrust: bool,
    /// Since when a status waits to be stored.
    waits_since: Option<Time>,
    /// When we stored a status last, and which version that made.
    wrote: Option<(Instant, String)>,
    /// The last round made room for other jobs in the middle of its creates, and knew all there was.
    left_off: bool,
}

/// An operator at work.
pub struct Running {
    pub operator: Arc<Operator>,
    /// True once everything was listed.
    pub synced: watch::Receiver<bool>,
    watchers: JoinSet<()>,
    workers: JoinSet<()>,
}

impl Operator {
    /// Watches and asks; acts only once [`Running::act`] is called.
    pub fn start(
        client: Client,
        config: Config,
        schedulers: Arc<dyn Schedulers>,
        clock: Clock,
    ) -> Running {
        let config = Arc::new(config);
        let metrics = Arc::new(Metrics::default());
        let store = Arc::new(Store::default());
        let queue = Arc::new(Queue::default());
        let (events, publisher) = events::channel(
            client.clone(),
            &config.identity,
            metrics.clone(),
            queue.clone(),
        );
        let asker = Arc::new(Asker::new(
            schedulers,
            store.clone(),
            queue.clone(),
            metrics.clone(),
            clock,
            config.limits.questions,
        ));
        let mut watchers = JoinSet::new();
        let watches = Arc::new(Watches {
            client: client.clone(),
            config: config.clone(),
            store: store.clone(),
            queue: queue.clone(),
            metrics: metrics.clone(),
            clock,
        });
        let synced = watches.start(&mut watchers);
        watchers.spawn(asker.clone().run());
        watchers.spawn(publisher.run());
        let operator = Arc::new(Operator {
            api: Api::new(client, metrics.clone()),
            config,
            store,
            queue,
            asker,
            events,
            metrics,
            clock,
            notes: Mutex::default(),
        });
        Running {
            operator,
            synced,
            watchers,
            workers: JoinSet::new(),
        }
    }

    async fn work(self: Arc<Self>) {
        while let Some(uid) = self.queue.next().await {
            let again_after = self.visit(&uid).await;
            self.queue.done(&uid, again_after);
        }
    }

    async fn visit(&self, uid: &Uid) -> Option<Duration> {
        let started = clock::instant();
        let (not_before, distrust) = {
            let mut notes = self.notes();
            let note = notes.entry(uid.clone()).or_default();
            (note.not_before, note.distrust)
        };
        if let Some(wait) = not_before.and_then(|at| at.checked_duration_since(started))
            && !wait.is_zero()
        {
            return Some(wait);
        }
        let outcome = reconcile(self, uid, distrust).await;
        self.metrics.reconciled(started.elapsed(), outcome.is_err());
        match outcome {
            Ok(again_after) => {
                self.succeeded(uid);
                again_after
            }
            Err(error) => Some(self.failed(uid, &error)),
        }
    }

    fn succeeded(&self, uid: &Uid) {
        let mut notes = self.notes();
        let is_known = self.store.size(uid) > 0 || !self.store.is_going(uid);
        match notes.get_mut(uid) {
            Some(note) if is_known => {
                note.failures = 0;
                note.not_before = None;
                note.distrust = false;
            }
            Some(_) => {
                notes.remove(uid);
            }
            None => {}
        }
    }

    /// How long until the next try.
    fn failed(&self, uid: &Uid, error: &RoundError) -> Duration {
        let mut notes = self.notes();
        let note = notes.entry(uid.clone()).or_default();
        note.failures = note.failures.saturating_add(1);
        note.distrust = true;
        let delay = error
            .retry_after()
            .unwrap_or_default()
            .max(back_off(uid, note.failures));
        note.not_before = Some(clock::instant() + delay);
        let failures = note.failures;
        drop(notes);
        let cause = crate::chain(error);
        if error.is_conflict() && failures == 1 {
            tracing::debug!(object = %uid, error = %cause, "a job changed meanwhile");
        } else {
            tracing::warn!(object = %uid, error = %cause, failures, "a round is repeated");
        }
        if failures == TOLD_AFTER_FAILURES {
            self.tell_of_trouble(uid, cause);
        }
        delay
    }

    /// The next failure in a row would be told anyway.
    pub(crate) fn fails_again(&self, uid: &Uid) -> bool {
        let notes = self.notes();
        let failures = notes.get(uid).map_or(0, |note| note.failures);
        failures + 1 >= TOLD_AFTER_FAILURES
    }

    fn tell_of_trouble(&self, uid: &Uid, cause: String) {
        let view = self.store.view(uid, self.clock.now());
        if let Some(job) = view.and_then(|view| view.job) {
            let event = plan::life::Event {
                warning: true,
                reason: "OperatorError".to_owned(),
                message: format!("tried {TOLD_AFTER_FAILURES} times, goes on trying: {cause}"),
            };
            self.events.tell(&job, event);
        }
    }

    /// Notes that a status waits, or none; whether it may wait on.
    pub(crate) fn waits(&self, uid: &Uid, wants_to: bool) -> bool {
        let mut notes = self.notes();
        let Some(note) = notes.get_mut(uid) else {
            return false;
        };
        if !wants_to {
            note.waits_since = None;
            return false;
        }
        let now = self.clock.now();
        let since = *note.waits_since.get_or_insert(now);
        let longest = if self.queue.depth() > self.config.concurrency {
            self.config.limits.busy_status_seconds
        } else {
            self.config.limits.status_seconds
        };
        now.since(since) < longest
    }

    pub(crate) fn wrote(&self, uid: &Uid, version: &str) {
        if let Some(note) = self.notes().get_mut(uid) {
            note.waits_since = None;
            note.wrote = Some((clock::instant(), version.to_owned()));
        }
    }

    /// The next round goes on where this one leaves off.
    pub(crate) fn leave_off(&self, uid: &Uid) {
        if let Some(note) = self.notes().get_mut(uid) {
            note.left_off = true;
        }
    }

    /// Whether the round before left off, and nobody but us has changed the job of this version since: there is then nothing
    /// that we do not know of.
    pub(crate) fn goes_on(&self, uid: &Uid, version: &str) -> bool {
        let mut notes = self.notes();
        let Some(note) = notes.get_mut(uid) else {
            return false;
        };
        let wrote_last = note.wrote.as_ref().is_some_and(|(_, own)| own == version);
        std::mem::take(&mut note.left_off) && wrote_last
    }

    /// How long to leave a status alone that somebody else changed right after us: two replicas that know different
    /// things would otherwise write in turns as fast as they can.
    pub(crate) fn yields(&self, uid: &Uid, version: &str) -> Option<Duration> {
        let notes = self.notes();
        let (at, own) = notes.get(uid)?.wrote.as_ref()?;
        let rest = YIELD.checked_sub(at.elapsed())?;
        (own != version && !rest.is_zero()).then_some(rest)
    }

    fn notes(&self) -> MutexGuard<'_, HashMap<Uid, Note>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Numbers for Prometheus.
    pub fn metrics_text(&self) -> String {
        self.metrics
            .text(&self.store, &self.queue, self.clock.now())
    }
}

/// Doubles with every failure; spread by up to half, differently for each job and failure.
fn back_off(uid: &str, failures: u32) -> Duration {
    let doubled = FIRST_RETRY * 2_u32.saturating_pow(failures.saturating_sub(1).min(16));
    let whole = doubled.min(LONGEST_RETRY);
    let spread = plan::names::hash(&format!("{uid} {failures}")) % 500;
    whole.mul_f64(1.0 + spread as f64 / 1000.0)
}

impl Running {
    /// Waits until everything was listed, then looks at all jobs and goes on.
    pub async fn act(&mut self) {
        // The sender is gone only when the streams are.
        let _ = self.synced.wait_for(|synced| *synced).await;
        for job in self.operator.store.all() {
            self.operator.queue.add(&job);
        }
        for _ in 0..self.operator.config.concurrency {
            self.workers.spawn(self.operator.clone().work());
        }
    }

    /// Returns when one of the tasks ended that should not.
    pub async fn broken(&mut self) {
        tokio::select! {
            Some(_) = self.watchers.join_next() => {}
            Some(_) = self.workers.join_next() => {}
            else => std::future::pending().await,
        }
    }

    /// No new round begins; those that run are waited for, in bounded time.
    pub async fn stop(mut self) {
        self.operator.queue.close();
        let drained = async { while self.workers.join_next().await.is_some() {} };
        if tokio::time::timeout(self.operator.config.limits.drain, drained)
            .await
            .is_err()
        {
            tracing::warn!("work in progress is cut off");
        }
        self.watchers.abort_all();
    }

    /// As a crash does: nothing is waited for.
    pub fn kill(mut self) {
        self.workers.abort_all();
        self.watchers.abort_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_are_bounded_and_differ_between_jobs() {
        assert!(back_off("a", 1) >= FIRST_RETRY && back_off("a", 1) < FIRST_RETRY.mul_f64(1.5));
        assert!(back_off("a", 5) > back_off("a", 3));
        assert!(back_off("a", 100) <= LONGEST_RETRY.mul_f64(1.5));
        assert_ne!(back_off("a", 4), back_off("b", 4));
    }
}
