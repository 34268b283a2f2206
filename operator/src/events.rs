//! Events for people, as `kubectl describe` shows them. Beside the reconcile path: they explain, nothing rests on them.

use crate::metrics::Metrics;
use crate::store::StoredJob;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use std::sync::Arc;
use tokio::sync::mpsc;

/// More than this wait only when the API server does not take them.
const WAITING_MAXIMUM: usize = 1_000;
/// The API server takes no longer note.
const NOTE_MAXIMUM_BYTES: usize = 1_000;

/// Where events go in.
#[derive(Clone)]
pub struct Events {
    sender: mpsc::Sender<(ObjectReference, Event)>,
    metrics: Arc<Metrics>,
}

/// Publishes until every [`Events`] is gone.
pub struct Publisher {
    receiver: mpsc::Receiver<(ObjectReference, Event)>,
    recorder: Recorder,
}

pub fn channel(client: Client, identity: &str, metrics: Arc<Metrics>) -> (Events, Publisher) {
    let (sender, receiver) = mpsc::channel(WAITING_MAXIMUM);
    let reporter = Reporter {
        controller: crate::api::FIELD_MANAGER.to_owned(),
        instance: Some(identity.to_owned()),
    };
    let recorder = Recorder::new(client, reporter);
    (Events { sender, metrics }, Publisher { receiver, recorder })
}

impl Events {
    pub fn tell(&self, job: &StoredJob, event: plan::life::Event) {
        let reference = ObjectReference {
            api_version: Some(crd::api_version()),
            kind: Some(crd::KIND.to_owned()),
            name: Some(job.job.name.clone()),
            namespace: Some(job.job.namespace.clone()),
            uid: Some(job.job.uid.clone()),
            ..ObjectReference::default()
        };
        let mut note = event.message;
        note.truncate(note.floor_char_boundary(NOTE_MAXIMUM_BYTES));
        let event = Event {
            type_: match event.warning {
                true => EventType::Warning,
                false => EventType::Normal,
            },
            action: event.reason.clone(),
            reason: event.reason,
            note: Some(note),
            secondary: None,
        };
        if self.sender.try_send((reference, event)).is_err() {
            self.metrics.event_dropped();
        }
    }
}

impl Publisher {
    pub async fn run(mut self) {
        while let Some((reference, event)) = self.receiver.recv().await {
            if let Err(error) = self.recorder.publish(&event, &reference).await {
                tracing::debug!(error = %crate::chain(&error), "an event is not published");
            }
        }
    }
}
