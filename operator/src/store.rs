//! What the watches have shown, by job: its resource, its pods, its other objects; and what this operator did itself and
//! the watches have not shown yet.
//!
//! Knows no client. Everything is found by the uid of the job that owns it, because a name may come back. Invariants: an
//! older version of an object never takes the place of a newer one; what is gone does not come back by a late message;
//! what we made is seen from the moment it is made, so that nothing is made twice.

use contract::Role;
use contract::status::{JobStatus, Phase};
use plan::life::{Job, Object, ObjectKind, Pod, Time};
use plan::objects::Owner;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// `metadata.uid` of a job.
pub type Uid = Arc<str>;

/// What we made ourselves counts for so long without a watch that shows it.
const UNCONFIRMED_SECONDS: u64 = 30;
/// A message about what is gone may come so late.
const REMEMBERED_SECONDS: u64 = 60;
/// Something of a finished job that is still there after this has leaked.
const LEAKED_AFTER_SECONDS: u64 = 60;

/// A job as the API server has it.
#[derive(Debug, Clone)]
pub struct StoredJob {
    pub job: Job,
    /// `metadata.resourceVersion`.
    pub version: String,
    /// What its objects are made from.
    pub owner: Owner,
}

impl StoredJob {
    /// The same after its status was stored.
    pub fn with_status(&self, status: JobStatus, version: String) -> Self {
        let mut next = self.clone();
        next.job.status = status;
        next.version = version;
        next
    }
}

/// Something that a job owns, as it was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    pub namespace: String,
    /// Of the job that is its controller.
    pub owner_uid: Uid,
    pub owner_name: String,
    pub version: Option<u64>,
    /// A pod's address.
    pub address: Option<String>,
    pub child: Child,
}

#[expect(
    clippy::large_enum_variant,
    reason = "nearly all of them are pods: a box each would cost more than it saves"
)]
#[derive(Debug, Clone, PartialEq)]
pub enum Child {
    Pod(Pod),
    Object(Object),
}

impl Child {
    pub fn uid(&self) -> &str {
        match self {
            Child::Pod(pod) => &pod.uid,
            Child::Object(object) => &object.uid,
        }
    }

    pub fn kind(&self) -> ObjectKind {
        match self {
            Child::Pod(_) => ObjectKind::Pod,
            Child::Object(object) => object.kind,
        }
    }

    fn set_deleting(&mut self) {
        match self {
            Child::Pod(pod) => pod.deleting = true,
            Child::Object(object) => object.deleting = true,
        }
    }

    /// What a finished job may keep: its program's pod, which has the log.
    fn is_record(&self) -> bool {
        matches!(self, Child::Pod(pod) if pod.role == Role::Runner && pod.is_over())
    }
}

/// All there is of one job.
#[derive(Debug, Default)]
struct Entry {
    job: Option<Arc<StoredJob>>,
    /// The API server said that the resource is gone.
    gone_since: Option<Time>,
    namespace: String,
    name: String,
    children: BTreeMap<String, Kept>,
}

#[derive(Debug)]
struct Kept {
    seen: Seen,
    /// We made it, and no watch has shown it so far.
    unconfirmed_since: Option<Time>,
    /// The API server took our word to delete it.
    deleted: bool,
}

/// A look at one job.
#[derive(Debug)]
pub struct View {
    pub namespace: String,
    pub name: String,
    pub job: Option<Arc<StoredJob>>,
    /// The resource is known to be gone, as opposed to not seen yet.
    pub is_gone: bool,
    pub children: Vec<Child>,
}

#[derive(Debug, Default)]
pub struct Store {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    jobs: HashMap<Uid, Entry>,
    /// Uids of what is gone, with the time they went.
    gone: HashMap<String, Time>,
}

impl Store {
    /// A job was seen. Whether that is news.
    pub fn see_job(&self, seen: StoredJob) -> bool {
        let mut inner = self.lock();
        if inner.gone.contains_key(&seen.job.uid) {
            return false;
        }
        let entry = inner
            .jobs
            .entry(Uid::from(seen.job.uid.as_str()))
            .or_default();
        if let Some(known) = &entry.job
            && (known.version == seen.version
                || is_older(
                    version_number(&seen.version),
                    version_number(&known.version),
                ))
        {
            return false;
        }
        entry.namespace.clone_from(&seen.job.namespace);
        entry.name.clone_from(&seen.job.name);
        entry.job = Some(Arc::new(seen));
        true
    }

    /// A job's resource is gone.
    pub fn lose_job(&self, uid: &str, now: Time) {
        let mut inner = self.lock();
        inner.forget(uid, now);
        if let Some(entry) = inner.jobs.get_mut(uid) {
            entry.job = None;
            entry.gone_since.get_or_insert(now);
        }
    }

    /// Something that a job owns was seen. Whether that is news.
    pub fn see_child(&self, seen: Seen) -> bool {
        let mut inner = self.lock();
        if inner.gone.contains_key(seen.child.uid()) {
            return false;
        }
        let entry = inner.entry_of(&seen);
        match entry.children.get_mut(seen.child.uid()) {
            Some(kept) => {
                kept.unconfirmed_since = None;
                if is_older(seen.version, kept.seen.version) {
                    return false;
                }
                let is_news = kept.seen.child != seen.child || kept.seen.address != seen.address;
                kept.seen = seen;
                is_news
            }
            None => {
                let uid = seen.child.uid().to_owned();
                entry.children.insert(
                    uid,
                    Kept {
                        seen,
                        unconfirmed_since: None,
                        deleted: false,
                    },
                );
                true
            }
        }
    }

    /// We made something.
    pub fn made(&self, seen: Seen, now: Time) {
        let mut inner = self.lock();
        if inner.gone.contains_key(seen.child.uid()) {
            return;
        }
        let uid = seen.child.uid().to_owned();
        inner.entry_of(&seen).children.entry(uid).or_insert(Kept {
            seen,
            unconfirmed_since: Some(now),
            deleted: false,
        });
    }

    /// The API server took our word to delete something.
    pub fn deleted(&self, job: &str, uid: &str) {
        if let Some(entry) = self.lock().jobs.get_mut(job)
            && let Some(kept) = entry.children.get_mut(uid)
        {
            kept.deleted = true;
        }
    }

    /// Something is gone. Whose it was.
    pub fn lose_child(&self, uid: &str, owner: &str, now: Time) {
        let mut inner = self.lock();
        inner.forget(uid, now);
        if let Some(entry) = inner.jobs.get_mut(owner) {
            entry.children.remove(uid);
        }
    }

    /// A watch has listed everything of a kind in a namespace, or everywhere: what it did not list is gone. Whose it was.
    pub fn keep_children(
        &self,
        kind: ObjectKind,
        namespace: Option<&str>,
        listed: &BTreeSet<String>,
    ) -> Vec<Uid> {
        let mut changed = Vec::new();
        for (owner, entry) in &mut self.lock().jobs {
            if namespace.is_some_and(|namespace| namespace != entry.namespace) {
                continue;
            }
            let before = entry.children.len();
            entry.children.retain(|uid, kept| {
                kept.seen.child.kind() != kind
                    || kept.unconfirmed_since.is_some()
                    || listed.contains(uid)
            });
            if entry.children.len() != before {
                changed.push(owner.clone());
            }
        }
        changed
    }

    /// The same for jobs. Those that are gone.
    pub fn keep_jobs(
        &self,
        namespace: Option<&str>,
        listed: &BTreeSet<String>,
        now: Time,
    ) -> Vec<Uid> {
        let lost: Vec<Uid> = self
            .lock()
            .jobs
            .iter()
            .filter(|(uid, entry)| {
                entry.job.is_some()
                    && !listed.contains(&***uid)
                    && namespace.is_none_or(|namespace| namespace == entry.namespace)
            })
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in &lost {
            self.lose_job(uid, now);
        }
        lost
    }

    /// What is known of a job; `None` if that is nothing.
    pub fn view(&self, uid: &str, now: Time) -> Option<View> {
        let mut inner = self.lock();
        let entry = inner.jobs.get_mut(uid)?;
        entry.children.retain(|_, kept| {
            kept.unconfirmed_since
                .is_none_or(|since| now.since(since) <= UNCONFIRMED_SECONDS)
        });
        if entry.job.is_none() && entry.children.is_empty() {
            inner.jobs.remove(uid);
            return None;
        }
        let children = entry.children.values().map(|kept| {
            let mut child = kept.seen.child.clone();
            if kept.deleted {
                child.set_deleting();
            }
            child
        });
        Some(View {
            namespace: entry.namespace.clone(),
            name: entry.name.clone(),
            job: entry.job.clone(),
            is_gone: entry.gone_since.is_some(),
            children: children.collect(),
        })
    }

    /// Whether nothing more may be made for a job.
    pub fn is_going(&self, uid: &str) -> bool {
        self.lock().jobs.get(uid).is_none_or(|entry| {
            entry.gone_since.is_some() || entry.job.as_ref().is_some_and(|job| job.job.deleting)
        })
    }

    /// How many pods a job has.
    pub fn size(&self, uid: &str) -> usize {
        self.lock()
            .jobs
            .get(uid)
            .map_or(0, |entry| entry.children.len())
    }

    /// Where the scheduler of an attempt is.
    pub fn scheduler_address(&self, uid: &str, attempt: u32) -> Option<String> {
        let inner = self.lock();
        let mut children = inner.jobs.get(uid)?.children.values();
        children.find_map(|kept| match &kept.seen.child {
            Child::Pod(pod) if pod.role == Role::Scheduler && pod.attempt == attempt => {
                kept.seen.address.clone()
            }
            Child::Pod(_) | Child::Object(_) => None,
        })
    }

    /// All jobs of which something is known.
    pub fn all(&self) -> Vec<Uid> {
        self.lock().jobs.keys().cloned().collect()
    }

    /// Jobs by the word for where they are.
    pub fn phases(&self) -> HashMap<Phase, usize> {
        let mut phases = HashMap::new();
        for entry in self.lock().jobs.values() {
            if let Some(job) = &entry.job {
                *phases.entry(job.job.status.job_status).or_default() += 1;
            }
        }
        phases
    }

    /// What is left of jobs that ended, or went, long enough ago.
    pub fn leaked(&self, now: Time) -> usize {
        let is_late = |since: Time| now.since(since) > LEAKED_AFTER_SECONDS;
        let inner = self.lock();
        let over = inner.jobs.values().filter(|entry| {
            let ended = entry.job.as_ref().and_then(|job| {
                job.job.status.finished()?;
                let at = job.job.status.timeline.finished.as_ref()?.unix_seconds()?;
                Some(Time(at))
            });
            entry.gone_since.or(ended).is_some_and(is_late)
        });
        over.flat_map(|entry| {
            let keeps_record = entry.job.is_some();
            entry
                .children
                .values()
                .filter(move |kept| !(keeps_record && kept.seen.child.is_record()))
        })
        .count()
    }

    /// Pods of all jobs.
    pub fn pods(&self) -> usize {
        let inner = self.lock();
        let children = inner
            .jobs
            .values()
            .flat_map(|entry| entry.children.values());
        children
            .filter(|kept| kept.seen.child.kind() == ObjectKind::Pod)
            .count()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn entry_of(&mut self, seen: &Seen) -> &mut Entry {
        let known_gone = self.gone.get(&*seen.owner_uid).copied();
        let entry = self.jobs.entry(seen.owner_uid.clone()).or_default();
        if entry.name.is_empty() {
            entry.namespace.clone_from(&seen.namespace);
            entry.name.clone_from(&seen.owner_name);
            entry.gone_since = known_gone;
        }
        entry
    }

    fn forget(&mut self, uid: &str, now: Time) {
        if self.gone.len() > 1_000 {
            self.gone
                .retain(|_, since| now.since(*since) <= REMEMBERED_SECONDS);
        }
        self.gone.insert(uid.to_owned(), now);
    }
}

/// Versions of one object grow; where one is no number, the later message counts.
fn is_older(one: Option<u64>, other: Option<u64>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if one < other)
}

pub fn version_number(version: &str) -> Option<u64> {
    version.parse().ok()
}
