//! From watches into the store, and from what changed there into the queue.
//!
//! One stream for each kind and watched namespace. Knows nothing of plans. Invariant: whatever a stream misses, its next
//! listing makes good, what is gone included.

use crate::clock::Clock;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::read::{RawJob, SlimPod, read_job, read_object, read_pod};
use crate::store::{Seen, Store, Uid};
use futures::{Stream, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Resource};
use plan::life::ObjectKind;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Objects in one page of a listing: what is held in memory at once while it is read.
const PAGE: u32 = 200;
/// Of a job with this many pods not every change of each is worth a look of its own.
const LARGE_JOB: usize = 50;
const LARGE_JOB_PAUSE: Duration = Duration::from_millis(100);

/// What all streams share.
pub struct Watches {
    pub client: Client,
    pub config: Arc<Config>,
    pub store: Arc<Store>,
    pub queue: Arc<Queue>,
    pub metrics: Arc<Metrics>,
    pub clock: Clock,
}

/// How many streams have not listed everything yet.
struct Unsynced {
    streams: AtomicUsize,
    synced: watch::Sender<bool>,
}

impl Watches {
    /// Starts all streams; the receiver becomes true once everything was listed.
    pub fn start(self: &Arc<Self>, tasks: &mut JoinSet<()>) -> watch::Receiver<bool> {
        let scopes: Vec<Option<String>> = match self.config.namespaces.is_empty() {
            true => vec![None],
            false => self.config.namespaces.iter().cloned().map(Some).collect(),
        };
        let (synced, receiver) = watch::channel(false);
        let unsynced = Arc::new(Unsynced {
            streams: AtomicUsize::new(scopes.len() * 5),
            synced,
        });
        for scope in scopes {
            let jobs = self.clone().follow_jobs(scope.clone(), unsynced.clone());
            tasks.spawn(jobs);
            let pods = self.watched::<SlimPod>(scope.as_deref(), self.owned());
            let pods = pods.map(|event| {
                event.map(|event| {
                    translated(event, |pod| {
                        let uid = pod.meta().uid.clone();
                        (uid, read_pod(pod))
                    })
                })
            });
            let pods = self
                .clone()
                .follow(ObjectKind::Pod, scope.clone(), pods, unsynced.clone());
            tasks.spawn(pods);
            self.follow_metadata::<Service>(ObjectKind::Service, &scope, &unsynced, tasks);
            self.follow_metadata::<ConfigMap>(ObjectKind::ConfigMap, &scope, &unsynced, tasks);
            self.follow_metadata::<NetworkPolicy>(
                ObjectKind::NetworkPolicy,
                &scope,
                &unsynced,
                tasks,
            );
        }
        receiver
    }

    fn api<K>(&self, scope: Option<&str>) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        match scope {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }

    /// What becomes of all objects of a kind. Where the server refuses to open a watch because what follows a version is
    /// no longer known, everything is listed anew: the client alone would ask for the same version for ever.
    fn watched<K>(
        &self,
        scope: Option<&str>,
        config: watcher::Config,
    ) -> impl Stream<Item = watcher::Result<Event<K>>> + Send + use<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + 'static,
    {
        let api = self.api::<K>(scope);
        let open = move || Box::pin(watcher(api.clone(), config.clone()));
        futures::stream::unfold((open(), open), |(mut stream, open)| async move {
            let event = stream.next().await?;
            if matches!(&event, Err(error) if is_gone(error)) {
                stream = open();
            }
            Some((event, (stream, open)))
        })
    }

    /// What we made, of all jobs.
    fn owned(&self) -> watcher::Config {
        watcher::Config::default()
            .labels(&plan::objects::labels::selector_of_all())
            .page_size(PAGE)
    }

    fn follow_metadata<K>(
        self: &Arc<Self>,
        kind: ObjectKind,
        scope: &Option<String>,
        unsynced: &Arc<Unsynced>,
        tasks: &mut JoinSet<()>,
    ) where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        let stream = self.watched::<PartialObjectMeta<K>>(scope.as_deref(), self.owned());
        let stream = stream.map(move |event| {
            event.map(|event| {
                translated(event, |object| {
                    (
                        object.metadata.uid.clone(),
                        read_object(kind, &object.metadata),
                    )
                })
            })
        });
        tasks.spawn(
            self.clone()
                .follow(kind, scope.clone(), stream, unsynced.clone()),
        );
    }

    async fn follow(
        self: Arc<Self>,
        kind: ObjectKind,
        scope: Option<String>,
        stream: impl Stream<Item = watcher::Result<Event<Found>>> + Send,
        unsynced: Arc<Unsynced>,
    ) {
        let mut stream = pin!(stream.default_backoff());
        let mut listed = BTreeSet::new();
        let mut is_synced = false;
        while let Some(event) = stream.next().await {
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(found)) => {
                    listed.extend(found.uid.clone());
                    self.see(found);
                }
                Ok(Event::Apply(found)) => self.see(found),
                Ok(Event::Delete(found)) => self.lose(&found),
                Ok(Event::InitDone) => {
                    let changed = self.store.keep_children(kind, scope.as_deref(), &listed);
                    changed.iter().for_each(|job| self.queue.add(job));
                    listed.clear();
                    unsynced.one_more(&mut is_synced);
                }
                Err(error) => warn_of(kind.as_str(), &error),
            }
        }
    }

    fn see(&self, found: Found) {
        if let Some(seen) = found.seen {
            let owner = seen.owner_uid.clone();
            if self.store.see_child(seen) {
                self.look_at(&owner);
            }
        }
    }

    fn lose(&self, found: &Found) {
        if let (Some(uid), Some(seen)) = (&found.uid, &found.seen) {
            self.store
                .lose_child(uid, &seen.owner_uid, self.clock.now());
            self.look_at(&seen.owner_uid);
        }
    }

    fn look_at(&self, job: &Uid) {
        if self.store.size(job) > LARGE_JOB {
            self.queue.add_after(job, LARGE_JOB_PAUSE);
        } else {
            self.queue.add(job);
        }
    }

    async fn follow_jobs(self: Arc<Self>, scope: Option<String>, unsynced: Arc<Unsynced>) {
        let everything = watcher::Config::default().page_size(PAGE);
        let stream = self.watched::<RawJob>(scope.as_deref(), everything);
        let mut stream = pin!(stream.default_backoff());
        let mut listed = BTreeSet::new();
        let mut is_synced = false;
        while let Some(event) = stream.next().await {
            match event {
                Ok(Event::Init) => listed.clear(),
                Ok(Event::InitApply(raw)) => {
                    listed.extend(raw.metadata.uid.clone());
                    self.see_job(raw);
                }
                Ok(Event::Apply(raw)) => self.see_job(raw),
                Ok(Event::Delete(raw)) => {
                    if let Some(uid) = raw.metadata.uid {
                        self.store.lose_job(&uid, self.clock.now());
                        self.queue.add(&Uid::from(uid));
                    }
                }
                Ok(Event::InitDone) => {
                    let lost = self
                        .store
                        .keep_jobs(scope.as_deref(), &listed, self.clock.now());
                    lost.iter().for_each(|job| self.queue.add(job));
                    listed.clear();
                    unsynced.one_more(&mut is_synced);
                }
                Err(error) => warn_of(crd::KIND, &error),
            }
        }
    }

    fn see_job(&self, raw: RawJob) {
        let (namespace, name) = (raw.metadata.namespace.clone(), raw.metadata.name.clone());
        match read_job(
            raw,
            &self.config.defaults(),
            &self.config.objects.cluster_domain,
        ) {
            Ok(stored) => {
                let uid = Uid::from(stored.job.uid.as_str());
                if self.store.see_job(stored) {
                    self.queue.add(&uid);
                }
            }
            Err(error) => {
                self.metrics.undecodable();
                tracing::error!(
                    namespace = namespace.as_deref(),
                    object = format!("{}/{}", crd::KIND, name.unwrap_or_default()),
                    error = %crate::chain(&error),
                    "a job is left alone because its status cannot be read"
                );
            }
        }
    }
}

/// An object of a stream: its uid, and what it is if it is a job's.
#[derive(Debug, Clone)]
struct Found {
    uid: Option<String>,
    seen: Option<Seen>,
}

fn translated<K>(
    event: Event<K>,
    read: impl Fn(K) -> (Option<String>, Option<Seen>),
) -> Event<Found> {
    let found = |object| {
        let (uid, seen) = read(object);
        Found { uid, seen }
    };
    match event {
        Event::Apply(object) => Event::Apply(found(object)),
        Event::Delete(object) => Event::Delete(found(object)),
        Event::InitApply(object) => Event::InitApply(found(object)),
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
    }
}

fn is_gone(error: &watcher::Error) -> bool {
    matches!(error, watcher::Error::WatchStartFailed(kube::Error::Api(status)) if status.code == 410)
}

fn warn_of(kind: &str, error: &watcher::Error) {
    tracing::warn!(object = kind, error = %crate::chain(error), "a watch is opened again");
}

impl Unsynced {
    fn one_more(&self, is_synced: &mut bool) {
        if !std::mem::replace(is_synced, true) && self.streams.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.synced.send_replace(true);
        }
    }
}
