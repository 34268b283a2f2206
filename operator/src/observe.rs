//! What is known of a job at the beginning of a round, and a closer look at the API server itself.

use crate::api::{Api, CallError, Collection, Problem};
use crate::read::{RawJob, SlimPod, read_job, read_object, read_pod};
use crate::store::{Child, Seen, StoredJob, Uid, View};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::core::PartialObjectMeta;
use plan::Defaults;
use plan::life::{Job, ObjectKind, Observed};
use plan::objects::Owner;
use std::sync::Arc;

/// What a closer look found.
pub struct Fresh {
    /// The job, unless it is gone or another has its name.
    pub job: Option<StoredJob>,
    pub children: Vec<Seen>,
}

/// Why a closer look found nothing out.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    #[error("look at the job itself")]
    Call(#[from] CallError),
    #[error("read the job")]
    Job(#[from] crate::read::UndecodableStatus),
}

/// Reads the job, and then what it owns: what is missing after that is missing from what the job's status says.
pub async fn look_closer(
    api: &Api,
    view: &View,
    uid: &Uid,
    defaults: &Defaults,
    cluster_domain: &str,
) -> Result<Fresh, LookError> {
    let job = match api
        .get::<RawJob>(Collection::Jobs, &view.namespace, &view.name)
        .await
    {
        Ok(raw) if raw.metadata.uid.as_deref() == Some(uid) => {
            Some(read_job(raw, defaults, cluster_domain)?)
        }
        Ok(_) => None,
        Err(CallError {
            problem: Problem::NotFound,
            ..
        }) => None,
        Err(error) => return Err(error.into()),
    };
    let selector = plan::objects::labels::selector_of_job(uid);
    let namespace = view.namespace.as_str();
    let objects = |kind| api.list::<PartialObjectMeta<ConfigMap>>(kind, namespace, &selector);
    let (pods, services, config_maps, policies) = futures::try_join!(
        api.list::<SlimPod>(ObjectKind::Pod, namespace, &selector),
        objects(ObjectKind::Service),
        objects(ObjectKind::ConfigMap),
        objects(ObjectKind::NetworkPolicy),
    )?;
    let mut children: Vec<Seen> = pods.into_iter().filter_map(read_pod).collect();
    for (kind, objects) in [
        (ObjectKind::Service, services),
        (ObjectKind::ConfigMap, config_maps),
        (ObjectKind::NetworkPolicy, policies),
    ] {
        let read = objects
            .iter()
            .filter_map(|object| read_object(kind, &object.metadata));
        children.extend(read);
    }
    children.retain(|seen| seen.owner_uid == *uid);
    Ok(Fresh { job, children })
}

/// As the plan takes it.
pub fn observed(children: impl IntoIterator<Item = Child>) -> Observed {
    let mut observed = Observed::default();
    for child in children {
        add(&mut observed, child);
    }
    // Whatever order they came in, the plan is the same.
    observed
        .pods
        .sort_by(|one, other| one.name.cmp(&other.name));
    observed
}

pub fn add(observed: &mut Observed, child: Child) {
    match child {
        Child::Pod(pod) => observed.pods.push(pod),
        Child::Object(object) => observed.objects.push(object),
    }
}

/// One more, or what one that is known has become. A pod that is known has been seen since it was made.
pub fn learn(observed: &mut Observed, child: Child) {
    match child {
        Child::Pod(pod) if observed.pods.iter().any(|known| known.uid == pod.uid) => {}
        Child::Pod(pod) => observed.pods.push(pod),
        Child::Object(object) => {
            observed.objects.retain(|known| known.uid != object.uid);
            observed.objects.push(object);
        }
    }
}

/// Stands for a job whose resource is gone: what it owned is all there is to see to.
pub fn gone(view: &View, uid: &Uid, cluster_domain: &str) -> Arc<StoredJob> {
    Arc::new(StoredJob {
        version: String::new(),
        owner: Owner::default(),
        job: Job {
            name: view.name.clone(),
            namespace: view.namespace.clone(),
            cluster_domain: cluster_domain.to_owned(),
            uid: uid.to_string(),
            generation: 0,
            deleting: true,
            cancelled: None,
            resolved: Err(Vec::new()),
            status: contract::status::JobStatus::default(),
        },
    })
}
