//! One look at one job: observe, plan, create, store the status, delete, ask.
//!
//! Decides nothing. Invariants: what is deleted rests on a status that is stored; a create that is refused is told in the
//! same round; an error leaves everything to the next round, which starts from what is so.

use crate::api::{CallError, Collection, Problem};
use crate::create::{Made, Maker};
use crate::facts::Order;
use crate::observe::{self, LookError};
use crate::operator::Operator;
use crate::store::{StoredJob, Uid, View};
use contract::status::{condition, reason};
use plan::life::{Delete, Observed, Plan, StatusWrite, plan};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// A plan leads to a next one at once only so often; more would be a mistake in it.
const PLANS_IN_A_ROUND: usize = 12;

/// A round that has to be repeated.
#[derive(Debug, thiserror::Error)]
pub enum RoundError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error(transparent)]
    Look(#[from] LookError),
    #[error("store the status: the answer has no version")]
    NoVersion,
    #[error("come to rest: one plan leads to the next for ever")]
    Restless,
}

impl RoundError {
    /// When the API server wants to be asked again.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.problem()? {
            Problem::Busy { after, .. } => *after,
            _ => None,
        }
    }

    /// Somebody else changed the job meanwhile: no failure, but what we know is old.
    pub fn is_conflict(&self) -> bool {
        matches!(self.problem(), Some(Problem::Conflict | Problem::NotFound))
    }

    fn problem(&self) -> Option<&Problem> {
        match self {
            RoundError::Call(error) | RoundError::Look(LookError::Call(error)) => {
                Some(&error.problem)
            }
            RoundError::Look(LookError::Job(_)) | RoundError::NoVersion | RoundError::Restless => {
                None
            }
        }
    }
}

/// One job in one round.
struct Round<'a> {
    operator: &'a Operator,
    uid: &'a Uid,
    view: View,
    job: Arc<StoredJob>,
    seen: Observed,
}

/// Looks at a job; when to look again, if nothing happens before.
pub async fn reconcile(
    operator: &Operator,
    uid: &Uid,
    distrust: bool,
) -> Result<Option<Duration>, RoundError> {
    let Some(mut round) = Round::begin(operator, uid).await? else {
        operator.asker.follow(uid, None);
        return Ok(None);
    };
    if distrust && !round.seen.fresh {
        round.look_closer().await?;
    }
    for _ in 0..PLANS_IN_A_ROUND {
        let plan = plan(&round.job.job, &round.seen, operator.clock.now());
        if plan.look_closer && !round.seen.fresh {
            round.look_closer().await?;
            continue;
        }
        let made = round.create(&plan).await;
        if !made.refused.is_empty() {
            round.seen.refused = made.refused;
            continue;
        }
        let stored = round.store_status(&plan).await?;
        if made.made_room && round.seen.fresh {
            operator.leave_off(uid);
        }
        if let Some(error) = made.error {
            return Err(error.into());
        }
        if let Stored::Waits(until_then) = stored {
            let again = round.ask(&plan, made.more);
            return Ok(Some(
                again.map_or(until_then, |again| again.min(until_then)),
            ));
        }
        round.delete(&plan).await?;
        if plan.again_at_once && stored == Stored::Now {
            round.seen.fresh = true;
            continue;
        }
        return Ok(round.ask(&plan, made.more));
    }
    Err(RoundError::Restless)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stored {
    /// It was as it is to be.
    Already,
    Now,
    /// Not now, but after so long.
    Waits(Duration),
}

impl<'a> Round<'a> {
    async fn begin(operator: &'a Operator, uid: &'a Uid) -> Result<Option<Self>, RoundError> {
        let Some(view) = operator.store.view(uid, operator.clock.now()) else {
            return Ok(None);
        };
        let seen = observe::observed(view.children.iter().cloned());
        let domain = &operator.config.objects.cluster_domain;
        let job = match &view.job {
            Some(job) => job.clone(),
            None => observe::gone(&view, uid, domain),
        };
        let is_unsure = view.job.is_none() && !view.is_gone;
        let goes_on = operator.goes_on(uid, &job.version);
        let mut round = Round {
            operator,
            uid,
            view,
            job,
            seen,
        };
        round.seen.facts = round.facts();
        round.seen.fresh = goes_on;
        if is_unsure {
            // What belongs to a job that no watch has shown: only the API server knows whether it is gone.
            round.look_closer().await?;
        }
        Ok(Some(round))
    }

    async fn look_closer(&mut self) -> Result<(), RoundError> {
        let operator = self.operator;
        let domain = &operator.config.objects.cluster_domain;
        let defaults = operator.config.defaults();
        let fresh =
            observe::look_closer(&operator.api, &self.view, self.uid, &defaults, domain).await?;
        match fresh.job {
            Some(job) => {
                operator.store.see_job(job.clone());
                self.job = Arc::new(job);
            }
            None => {
                operator.store.lose_job(self.uid, operator.clock.now());
                self.job = observe::gone(&self.view, self.uid, domain);
            }
        }
        let refused = std::mem::take(&mut self.seen.refused);
        for seen in &fresh.children {
            operator.store.see_child(seen.clone());
        }
        self.seen = observe::observed(fresh.children.into_iter().map(|seen| seen.child));
        self.seen.refused = refused;
        self.seen.fresh = true;
        self.seen.facts = self.facts();
        Ok(())
    }
}

// What a plan says, part by part.
impl Round<'_> {
    async fn create(&mut self, plan: &Plan) -> Made {
        // What was refused a moment ago is not asked for again in this round.
        if plan.create.is_empty() || !self.seen.refused.is_empty() {
            return Made::default();
        }
        let operator = self.operator;
        let maker = Maker {
            api: &operator.api,
            store: &operator.store,
            config: &operator.config,
            uid: self.uid,
            stored: &self.job,
            now: operator.clock.now(),
            tells_failures: operator.fails_again(self.uid) || self.told_of_failures(),
            others_wait: &|| operator.queue.depth() > 0,
        };
        let made = maker.make(&plan.create).await;
        for seen in &made.children {
            observe::learn(&mut self.seen, seen.child.clone());
        }
        made
    }

    /// It goes on being told until it is over, whoever told it first.
    fn told_of_failures(&self) -> bool {
        let conditions = &self.job.job.status.conditions;
        conditions.iter().any(|known| {
            known.type_ == condition::CLUSTER_READY && known.reason == reason::CREATE_FAILED
        })
    }

    async fn store_status(&mut self, plan: &Plan) -> Result<Stored, RoundError> {
        let Some(write) = &plan.status else {
            self.operator.waits(self.uid, false);
            return Ok(Stored::Already);
        };
        if self.may_wait(plan, write) {
            // It tells only counts and times: others may join it.
            let longest = self.operator.config.limits.status_seconds;
            return Ok(Stored::Waits(Duration::from_secs(longest)));
        }
        if let Some(rest) = self.operator.yields(self.uid, &self.job.version) {
            return Ok(Stored::Waits(rest));
        }
        let job = &self.job.job;
        let body = json!({
            "apiVersion": crd::api_version(),
            "kind": crd::KIND,
            "metadata": {
                "name": job.name,
                "namespace": job.namespace,
                "uid": job.uid,
                "resourceVersion": self.job.version,
            },
            "status": write.status,
        });
        let api = &self.operator.api;
        let answer = api.put_status(&job.namespace, &job.name, &body).await?;
        let version = answer["metadata"]["resourceVersion"]
            .as_str()
            .ok_or(RoundError::NoVersion)?;
        self.operator.wrote(self.uid, version);
        self.stored(plan, write, version.to_owned());
        Ok(Stored::Now)
    }

    fn stored(&mut self, plan: &Plan, write: &StatusWrite, version: String) {
        let operator = self.operator;
        let before = &self.job.job.status;
        operator.metrics.status_stored(before, &write.status);
        if before.job_status != write.status.job_status || before.attempt != write.status.attempt {
            tracing::info!(
                namespace = self.job.job.namespace,
                cluster = self.job.job.name,
                phase = ?write.status.job_status,
                attempt = write.status.attempt,
                reason = write.status.failure.as_ref().map(|failure| failure.reason.as_str()),
                "a job has moved on"
            );
        }
        self.job = Arc::new(self.job.with_status(write.status.clone(), version));
        operator.store.see_job((*self.job).clone());
        for event in &plan.events {
            operator.events.tell(&self.job, event.clone());
        }
    }

    fn may_wait(&self, plan: &Plan, write: &StatusWrite) -> bool {
        write.can_wait
            && plan.delete.is_empty()
            && !plan.delete_job
            && !plan.again_at_once
            && self.operator.waits(self.uid, true)
    }

    /// Every delete of the plan is tried; the first that failed is told.
    async fn delete(&mut self, plan: &Plan) -> Result<(), RoundError> {
        let mut result = Ok(());
        for some in plan.delete.chunks(self.operator.config.limits.calls.max(1)) {
            let deletes = some.iter().map(|delete| self.delete_one(delete));
            for outcome in futures::future::join_all(deletes).await {
                result = result.and(outcome);
            }
        }
        for delete in &plan.delete {
            let pods = self.seen.pods.iter_mut();
            pods.filter(|pod| pod.uid == delete.uid)
                .for_each(|pod| pod.deleting = true);
        }
        result?;
        if plan.delete_job {
            let job = &self.job.job;
            let jobs = Collection::Jobs;
            let api = &self.operator.api;
            api.delete(jobs, &job.namespace, &job.name, &job.uid, None)
                .await?;
        }
        Ok(())
    }

    async fn delete_one(&self, delete: &Delete) -> Result<(), CallError> {
        let of_kind = Collection::Of(delete.kind);
        let (namespace, name) = (&self.view.namespace, &delete.name);
        let operator = self.operator;
        operator
            .api
            .delete(of_kind, namespace, name, &delete.uid, delete.grace_seconds)
            .await?;
        operator.store.deleted(self.uid, &delete.uid);
        Ok(())
    }

    /// What schedulers are to be asked and told, and when to come back.
    fn ask(&self, plan: &Plan, more: bool) -> Option<Duration> {
        let asker = &self.operator.asker;
        asker.follow(self.uid, self.order(plan));
        if !plan.retire.is_empty() {
            asker.retire(self.uid, plan.retire.clone());
        }
        if more {
            return Some(Duration::ZERO);
        }
        plan.again_at.map(|at| self.operator.clock.until(at))
    }

    fn order(&self, plan: &Plan) -> Option<Order> {
        let job = self.job.job.resolved.as_ref().ok()?;
        Some(Order {
            attempt: self.job.job.status.attempt,
            every: Duration::from_secs(plan.poll_seconds?),
            wants_target: job
                .worker_groups
                .iter()
                .any(|group| group.scaling.is_some()),
            wants_idleness: job.deadlines.idle_timeout_seconds.is_some(),
            engine: job.engine.into(),
        })
    }

    fn facts(&self) -> Option<plan::life::Facts> {
        self.operator.asker.facts(self.uid)
    }
}
