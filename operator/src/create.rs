//! The objects a plan asks for, made (or completed) one after the other where their order counts and side by side where it does not.
//!
//! Invariants: nothing more is made once the job is seen to go; what the API server refuses is told, not tried again and
//! again; an object of that name is ours if the job is its controller, and somebody else's otherwise.

use crate::api::{Api, CallError, Collection, Problem};
use crate::config::Config;
use crate::read::{SlimPod, read_object, read_pod};
use crate::store::{Seen, Store, StoredJob, Uid};
use contract::Role;
use futures::future::join_all;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::PartialObjectMeta;
use plan::life::{Create, ObjectKind, RefusedCreate, Time, WhyRefused};
use plan::{ResolvedJob, objects};
use serde_json::Value;

/// What became of all creates of a plan.
#[derive(Debug, Default)]
pub struct Made {
    pub children: Vec<Seen>,
    pub refused: Vec<RefusedCreate>,
    /// Some were left for the next round.
    pub more: bool,
    /// They were left to make room for other jobs.
    pub made_room: bool,
    pub error: Option<CallError>,
}

/// What became of one.
enum One {
    Made(Box<Seen>),
    Changed(Box<Seen>),
    Refused(RefusedCreate),
    /// It was made, and says nothing of whose it is: the watch will show it or not.
    Unreadable,
    Going,
}

pub struct Maker<'a> {
    pub api: &'a Api,
    pub store: &'a Store,
    pub config: &'a Config,
    pub uid: &'a Uid,
    pub stored: &'a StoredJob,
    pub now: Time,
    /// The API server has failed long enough: it is told like a refusal.
    pub tells_failures: bool,
    /// Whether other jobs wait for their turn.
    pub others_wait: &'a (dyn Fn() -> bool + Sync),
}

impl Maker<'_> {
    pub async fn make(&self, creates: &[Create]) -> Made {
        let mut made = Made::default();
        let limit = self.config.limits.creates;
        made.more = creates.len() > limit;
        let creates = &creates[..creates.len().min(limit)];
        let rank = |create: &Create| match create {
            Create::Service | Create::Selector { .. } | Create::Files | Create::NetworkPolicy => 0,
            Create::Scheduler | Create::Runner => 1,
            Create::Worker { .. } => 2,
        };
        // The policy is there before the first pod, scheduler and runner before any worker takes their place in a quota.
        // Where many jobs come at once, all get their Services before any gets a pod: the API server gives out cluster IPs
        // one after the other, each in a call to itself, which takes it ten times as long once pods keep it busy.
        for stage in creates.chunk_by(|one, next| rank(one) == rank(next)) {
            let at_once = match stage.first().map(rank) {
                Some(1) => 1,
                Some(_) | None => self.config.limits.calls,
            };
            if !self.stage(stage, at_once, &mut made).await {
                break;
            }
            if stage.contains(&Create::Service) && (self.others_wait)() {
                made.made_room = stage.len() < creates.len();
                made.more |= made.made_room;
                break;
            }
        }
        made
    }

    /// Whether the next stage may begin. Calls that are on their way are heard out: whatever came of them counts.
    async fn stage(&self, stage: &[Create], at_once: usize, made: &mut Made) -> bool {
        for some in stage.chunks(at_once.max(1)) {
            let mut goes_on = true;
            for outcome in join_all(some.iter().map(|create| self.one(create))).await {
                match outcome {
                    Ok(One::Made(seen)) => {
                        self.store.made((*seen).clone(), self.now);
                        made.children.push(*seen);
                        continue;
                    }
                    Ok(One::Changed(seen)) => {
                        self.store.see_child((*seen).clone());
                        made.children.push(*seen);
                        continue;
                    }
                    Ok(One::Unreadable) => continue,
                    Ok(One::Going) => {}
                    Ok(One::Refused(refused)) => made.refused.push(refused),
                    Err(error) => {
                        made.error.get_or_insert(error);
                    }
                }
                goes_on = false;
            }
            if !goes_on {
                return false;
            }
        }
        true
    }

    async fn one(&self, create: &Create) -> Result<One, CallError> {
        let Some((kind, role, object)) = self.render(create) else {
            return Ok(One::Unreadable);
        };
        if self.store.is_going(self.uid) {
            return Ok(One::Going);
        }
        let namespace = &self.stored.job.namespace;
        let (name, answer) = match create {
            Create::Selector { service_name, .. } => {
                let changed = self.api.patch(kind, namespace, service_name, &object).await;
                let changed = changed.map(|answer| read(kind, answer));
                (
                    service_name.as_str(),
                    changed.map(|seen| One::known(seen, One::Changed)),
                )
            }
            _ => {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                let made = self.api.create(kind, namespace, name, &object).await;
                let made = made.map(|answer| read(kind, answer));
                (name, made.map(|seen| One::known(seen, One::Made)))
            }
        };
        let Err(error) = answer else {
            return answer;
        };
        match error.problem {
            Problem::Refused { why, message } => Ok(refused(kind, role, name, why, message)),
            Problem::AlreadyExists => self.existing(kind, role, name).await,
            Problem::Failed { .. } if self.tells_failures => {
                let message = error.problem.to_string();
                Ok(refused(kind, role, name, WhyRefused::Failing, message))
            }
            _ => Err(error),
        }
    }

    /// There is one of that name: ours, made by a call whose answer was lost or by another replica, or a stranger's.
    async fn existing(
        &self,
        kind: ObjectKind,
        role: Option<Role>,
        name: &str,
    ) -> Result<One, CallError> {
        let namespace = &self.stored.job.namespace;
        let found = self
            .api
            .get::<Value>(Collection::Of(kind), namespace, name)
            .await?;
        match read(kind, found) {
            Some(seen) if seen.owner_uid == *self.uid => Ok(One::Made(Box::new(seen))),
            Some(_) | None => {
                let message = format!(
                    "there is a {} of this name that is not this job's; delete or rename one of them",
                    kind.as_str()
                );
                Ok(refused(kind, role, name, WhyRefused::Forbidden, message))
            }
        }
    }

    /// The object itself; `None` for what the manifest no longer asks for.
    fn render(&self, create: &Create) -> Option<(ObjectKind, Option<Role>, Value)> {
        let job: &ResolvedJob = self.stored.job.resolved.as_ref().ok()?;
        let (config, owner) = (&self.config.objects, &self.stored.owner);
        let attempt = self.stored.job.status.attempt;
        Some(match create {
            Create::Service => (
                ObjectKind::Service,
                None,
                objects::scheduler_service(config, owner, job, attempt),
            ),
            Create::Selector { service_uid, .. } => (
                ObjectKind::Service,
                None,
                objects::service_selector(config, owner, job, attempt, service_uid),
            ),
            Create::Files => (
                ObjectKind::ConfigMap,
                None,
                objects::files_config_map(config, owner, job, attempt)?,
            ),
            Create::NetworkPolicy => (
                ObjectKind::NetworkPolicy,
                None,
                objects::network_policy(config, owner, job, attempt),
            ),
            Create::Scheduler => (
                ObjectKind::Pod,
                Some(Role::Scheduler),
                objects::scheduler_pod(config, owner, job, attempt),
            ),
            Create::Runner => (
                ObjectKind::Pod,
                Some(Role::Runner),
                objects::runner_pod(config, owner, job, attempt)?,
            ),
            Create::Worker { group, number } => {
                let group = job
                    .worker_groups
                    .iter()
                    .find(|known| known.name == *group)?;
                let pod = objects::worker_pod(config, owner, job, attempt, group, *number);
                (ObjectKind::Pod, Some(Role::Worker), pod)
            }
        })
    }
}

impl One {
    fn known(seen: Option<Seen>, how: fn(Box<Seen>) -> One) -> Self {
        seen.map_or(One::Unreadable, |seen| how(Box::new(seen)))
    }
}

fn refused(
    kind: ObjectKind,
    role: Option<Role>,
    name: &str,
    why: WhyRefused,
    message: String,
) -> One {
    One::Refused(RefusedCreate {
        kind,
        name: name.to_owned(),
        role,
        why,
        message,
    })
}

fn read(kind: ObjectKind, answer: Value) -> Option<Seen> {
    if kind == ObjectKind::Pod {
        return read_pod(serde_json::from_value::<SlimPod>(answer).ok()?);
    }
    let object: PartialObjectMeta<ConfigMap> = serde_json::from_value(answer).ok()?;
    read_object(kind, &object.metadata)
}
