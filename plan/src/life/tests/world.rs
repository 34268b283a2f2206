//! One job, its pods and objects, and an operator that carries out plans call by call.
//!
//! Every call can be made to fail before or after it takes effect, and the operator's view of pods may lag behind, so
//! that whatever may happen between two calls can be tried. Invariants are asserted after every call.

use crate::life::{
    Container, Create, Delete, Facts, Job, Object, ObjectKind, Observed, Plan, Pod, PodPhase,
    RefusedCreate, Terminated, Time, WorkerFact, plan,
};
use crate::{Defaults, names, resolve_manifest};
use contract::Role;
use contract::status::{JobStatus, Phase, condition};
use std::collections::{BTreeMap, BTreeSet};

pub struct World {
    pub now: Time,
    pub job: Job,
    pub job_exists: bool,
    pub pods: BTreeMap<String, Pod>,
    pub objects: BTreeMap<String, Object>,
    pub registered: BTreeSet<String>,
    /// The scheduler can be asked.
    pub answers: bool,
    pub desired_workers: Option<u32>,
    pub idle_since: Option<Time>,
    /// Names of pods whose creation the API server refuses.
    pub refuses: BTreeMap<String, RefusedCreate>,
    /// What the operator's watch shows, where it lags behind.
    pub stale: Option<(Vec<Pod>, Vec<Object>)>,
    pub calls: Calls,
    pub retired: BTreeSet<String>,
    /// Runners whose program has begun, by name.
    pub runners_begun: BTreeSet<String>,
    uids: u32,
    fault: Option<Fault>,
    last_phase: Option<Phase>,
}

/// What the operator did so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Calls {
    pub creates: u32,
    pub status_writes: u32,
    /// Those of them that may wait for another to join: an operator stores fewer.
    pub patient_writes: u32,
    pub deletes: u32,
    pub reads: u32,
}

impl Calls {
    pub fn writes(self) -> u32 {
        self.creates + self.status_writes + self.deletes
    }
}

/// The operator stops at its n-th write from now, before or after it took effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    pub at: u32,
    pub takes_effect: bool,
}

/// The operator stopped in the middle.
#[derive(Debug)]
pub struct Stopped;

impl World {
    pub fn new(spec: &str) -> Self {
        let mut world = World {
            now: Time(1_000_000),
            job: Job {
                name: "etl".to_owned(),
                namespace: "team".to_owned(),
                cluster_domain: "cluster.local".to_owned(),
                uid: "job-uid".to_owned(),
                generation: 0,
                deleting: false,
                cancelled: None,
                resolved: Err(Vec::new()),
                status: JobStatus::default(),
            },
            job_exists: true,
            pods: BTreeMap::new(),
            objects: BTreeMap::new(),
            registered: BTreeSet::new(),
            answers: true,
            desired_workers: None,
            idle_since: None,
            refuses: BTreeMap::new(),
            stale: None,
            calls: Calls::default(),
            retired: BTreeSet::new(),
            runners_begun: BTreeSet::new(),
            uids: 0,
            fault: None,
            last_phase: None,
        };
        world.edit(spec);
        world
    }

    /// Another spec, as a user applies it.
    pub fn edit(&mut self, spec: &str) {
        let spec = contract::yaml::parse(spec).unwrap();
        let manifest = serde_json::json!({
            "apiVersion": crd::api_version(), "kind": crd::KIND, "metadata": {"name": "etl"}, "spec": spec,
        });
        self.job.resolved = resolve_manifest(&manifest, &Defaults::default());
        self.job.generation += 1;
    }

    /// One pass of the operator, with the further passes it asks for at once.
    pub fn reconcile(&mut self) -> Plan {
        self.try_reconcile().expect("no fault was set")
    }

    pub fn try_reconcile(&mut self) -> Result<Plan, Stopped> {
        let mut fresh = false;
        for _ in 0..20 {
            let refused: Vec<RefusedCreate> = Vec::new();
            let next = self.look(fresh, refused);
            let stored = self.carry_out(&next)?;
            if next.look_closer {
                assert!(!fresh, "a fresh look is as close as it gets");
                self.calls.reads += 2;
                fresh = true;
                continue;
            }
            if !self.refuses_now(&next).is_empty() {
                let refused = self.refuses_now(&next);
                let told = self.look(true, refused);
                self.carry_out(&told)?;
                return Ok(told);
            }
            if next.again_at_once && stored {
                fresh = true;
                continue;
            }
            return Ok(next);
        }
        panic!("the operator does not come to rest");
    }

    fn refuses_now(&self, plan: &Plan) -> Vec<RefusedCreate> {
        let names = plan
            .create
            .iter()
            .filter_map(|create| self.pod_name(create));
        names
            .filter_map(|name| self.refuses.get(&name).cloned())
            .collect()
    }

    fn look(&self, fresh: bool, refused: Vec<RefusedCreate>) -> Plan {
        let (pods, objects) = match (&self.stale, fresh) {
            (Some(stale), false) => stale.clone(),
            _ => (
                self.pods.values().cloned().collect(),
                self.objects.values().cloned().collect(),
            ),
        };
        let scheduler = names::scheduler(&self.job.name, self.job.status.attempt);
        let is_up = self
            .pods
            .get(&scheduler)
            .is_some_and(|pod| pod.phase == PodPhase::Running && !pod.is_over());
        let workers = self.registered.iter().map(|name| {
            let worker = WorkerFact {
                address: format!("tcp://{name}"),
                processing: 0,
                result_bytes: 0,
            };
            (name.clone(), worker)
        });
        let facts = (is_up && self.answers).then(|| Facts {
            attempt: self.job.status.attempt,
            at: self.now,
            workers: workers.collect(),
            desired_workers: self.desired_workers,
            idle_since: self.idle_since,
        });
        let seen = Observed {
            pods,
            objects,
            refused,
            facts,
            fresh,
        };
        plan(&self.job, &seen, self.now)
    }

    /// Create, status, delete, in this order; whether a status was stored.
    fn carry_out(&mut self, plan: &Plan) -> Result<bool, Stopped> {
        for create in &plan.create {
            self.call(|calls| &mut calls.creates, |world| world.create(create))?;
        }
        let mut stored = false;
        if let Some(write) = &plan.status {
            let status = write.status.clone();
            self.call(
                |calls| &mut calls.status_writes,
                |world| world.job.status = status,
            )?;
            self.calls.patient_writes += u32::from(write.can_wait);
            stored = true;
        }
        for delete in &plan.delete {
            self.call(|calls| &mut calls.deletes, |world| world.delete(delete))?;
        }
        if plan.delete_job {
            self.call(|calls| &mut calls.deletes, |world| world.job_exists = false)?;
        }
        for address in &plan.retire {
            self.retired
                .insert(address.trim_start_matches("tcp://").to_owned());
        }
        Ok(stored)
    }

    fn call(
        &mut self,
        count: impl FnOnce(&mut Calls) -> &mut u32,
        effect: impl FnOnce(&mut Self),
    ) -> Result<(), Stopped> {
        let hit = match &mut self.fault {
            Some(Fault {
                at: 0,
                takes_effect,
            }) => Some(*takes_effect),
            Some(fault) => {
                fault.at -= 1;
                None
            }
            None => None,
        };
        if hit == Some(false) {
            self.fault = None;
            return Err(Stopped);
        }
        *count(&mut self.calls) += 1;
        effect(self);
        self.assert_invariants();
        if hit == Some(true) {
            self.fault = None;
            return Err(Stopped);
        }
        Ok(())
    }

    pub fn set_fault(&mut self, fault: Fault) {
        self.fault = Some(fault);
    }

    /// Whether the fault that was set has happened.
    pub fn fault_is_over(&self) -> bool {
        self.fault.is_none()
    }

    pub fn clear_fault(&mut self) {
        self.fault = None;
    }

    fn create(&mut self, create: &Create) {
        assert!(!self.job.deleting, "nothing is made of a job that is going");
        let attempt = self.job.status.attempt;
        assert!(
            attempt > 0,
            "an attempt is stored before anything of it is made"
        );
        self.uids += 1;
        let uid = format!("uid-{}", self.uids);
        if let Some(name) = self.pod_name(create) {
            if self.refuses.contains_key(&name) {
                return;
            }
            let pod = self.new_pod(create, name.clone(), uid);
            self.pods.entry(name).or_insert(pod);
            return;
        }
        if let Create::Selector { service_uid, .. } = create {
            let mut services = self.objects.values_mut();
            if let Some(service) = services.find(|object| object.uid == *service_uid) {
                service.has_selector = true;
            }
            return;
        }
        let (kind, word) = match create {
            Create::Service => (ObjectKind::Service, "service"),
            Create::Files => (ObjectKind::ConfigMap, "files"),
            _ => (ObjectKind::NetworkPolicy, "policy"),
        };
        let name = format!("etl-{attempt}-{word}");
        let object = Object {
            kind,
            name: name.clone(),
            uid,
            attempt,
            deleting: false,
            has_selector: false,
        };
        self.objects.entry(name).or_insert(object);
    }

    fn pod_name(&self, create: &Create) -> Option<String> {
        let (job, attempt) = (self.job.name.as_str(), self.job.status.attempt);
        match create {
            Create::Scheduler => Some(names::scheduler(job, attempt)),
            Create::Runner => Some(names::runner(job, attempt)),
            Create::Worker { group, number } => Some(names::worker(job, attempt, group, *number)),
            Create::Service | Create::Selector { .. } | Create::Files | Create::NetworkPolicy => {
                None
            }
        }
    }

    fn new_pod(&self, create: &Create, name: String, uid: String) -> Pod {
        let (role, worker) = match create {
            Create::Scheduler => (Role::Scheduler, None),
            Create::Worker { group, number } => (Role::Worker, Some((group.clone(), *number))),
            _ => (Role::Runner, None),
        };
        Pod {
            name,
            uid,
            attempt: self.job.status.attempt,
            role,
            worker,
            phase: PodPhase::Pending,
            deleting: false,
            ready: false,
            has_address: false,
            node: None,
            reason: None,
            message: None,
            disruption: None,
            unschedulable: None,
            container: Container::Waiting,
            waiting: None,
            creating: None,
        }
    }

    fn delete(&mut self, delete: &Delete) {
        if delete.kind == ObjectKind::Pod {
            let keeps_running = self
                .pods
                .get_mut(&delete.name)
                .filter(|pod| pod.uid == delete.uid);
            if let Some(pod) = keeps_running {
                pod.deleting = true;
            }
        } else {
            self.objects.retain(|_, object| object.uid != delete.uid);
        }
    }

    fn assert_invariants(&mut self) {
        let live_runners = self
            .pods
            .values()
            .filter(|pod| pod.role == Role::Runner && !pod.is_over());
        assert!(
            live_runners.count() <= 1,
            "two runners live: {:?}",
            self.pods.keys()
        );
        let status = &self.job.status;
        let both = status.holds(condition::COMPLETE) && status.holds(condition::FAILED);
        assert!(!both, "Complete and Failed");
        if let Some(ended) = self.last_phase {
            assert_eq!(status.finished(), Some(ended), "an end never changes");
        }
        self.last_phase = status.finished();
    }

    // What the cluster does.

    pub fn pod(&mut self, name: &str) -> &mut Pod {
        let known: Vec<String> = self.pods.keys().cloned().collect();
        self.pods
            .get_mut(name)
            .unwrap_or_else(|| panic!("no pod {name} among {known:?}"))
    }

    /// Pending pods start; workers register where there is a scheduler. Pods that are being deleted go.
    pub fn kubelet(&mut self) {
        self.now = self.now.plus(1);
        self.pods.retain(|_, pod| !pod.deleting);
        self.registered.retain(|name| self.pods.contains_key(name));
        let now = self.now;
        for pod in self
            .pods
            .values_mut()
            .filter(|pod| pod.phase == PodPhase::Pending)
        {
            if pod.unschedulable.is_some() || pod.waiting.is_some() || pod.creating.is_some() {
                continue;
            }
            pod.phase = PodPhase::Running;
            pod.ready = true;
            pod.has_address = true;
            pod.container = Container::Running { since: now };
            if pod.role == Role::Runner {
                assert!(
                    self.runners_begun.insert(pod.name.clone()),
                    "{} runs twice",
                    pod.name
                );
            }
        }
        let leads = |attempt| {
            let mut services = self.objects.values();
            services.any(|object| object.attempt == attempt && object.has_selector)
        };
        let workers = self.pods.values().filter(|pod| {
            pod.role == Role::Worker && pod.phase == PodPhase::Running && leads(pod.attempt)
        });
        self.registered.extend(workers.map(|pod| pod.name.clone()));
        for name in std::mem::take(&mut self.retired) {
            if self.pods.contains_key(&name) {
                self.ends(&name, 0);
            }
        }
    }

    /// The container of a pod ends by itself.
    pub fn ends(&mut self, name: &str, exit_code: i32) {
        let finished = Some(self.now);
        let pod = self.pod(name);
        pod.phase = if exit_code == 0 {
            PodPhase::Succeeded
        } else {
            PodPhase::Failed
        };
        pod.ready = false;
        pod.container = Container::Terminated(Terminated {
            exit_code,
            finished,
            reason: Some(if exit_code == 0 { "Completed" } else { "Error" }.to_owned()),
            ..Terminated::default()
        });
        self.registered.remove(name);
    }

    pub fn runs_out_of_memory(&mut self, name: &str) {
        self.ends(name, 137);
        if let Container::Terminated(terminated) = &mut self.pod(name).container {
            terminated.reason = Some("OOMKilled".to_owned());
        }
    }

    /// Somebody, or the cluster, removes a pod without a trace.
    pub fn vanishes(&mut self, name: &str) {
        self.pod(name);
        self.pods.remove(name);
        self.registered.remove(name);
    }

    pub fn passes(&mut self, seconds: u64) {
        self.now = self.now.plus(seconds);
    }

    /// Operator and cluster take turns until both rest.
    pub fn settle(&mut self) {
        for _ in 0..40 {
            let before = (self.calls, self.pods.clone());
            self.reconcile();
            self.kubelet();
            if (self.calls, self.pods.clone()) == before {
                return;
            }
        }
        panic!("operator and cluster do not come to rest");
    }

    pub fn phase(&self) -> Phase {
        self.job.status.job_status
    }

    pub fn names(&self) -> Vec<&str> {
        self.pods.keys().map(String::as_str).collect()
    }

    pub fn reason(&self) -> &str {
        let failure = self.job.status.failure.as_ref();
        failure.map_or("", |failure| failure.reason.as_str())
    }

    pub fn condition(&self, type_: &str) -> &contract::status::Condition {
        let mut all = self.job.status.conditions.iter();
        all.find(|known| known.type_ == type_)
            .unwrap_or_else(|| panic!("no condition {type_}"))
    }

    /// Nothing runs and nothing is left but the record of the runner.
    pub fn assert_torn_down(&self) {
        assert!(self.objects.is_empty(), "left: {:?}", self.objects.keys());
        for pod in self.pods.values() {
            assert!(
                pod.role == Role::Runner && pod.is_over(),
                "left: {}",
                pod.name
            );
        }
    }
}
