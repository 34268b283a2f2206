//! Events for people, as `kubectl describe` shows them. Beside the reconcile path: they explain, nothing rests on them.
//!
//! Invariant: while many jobs queue, events wait, so that the API server is left to what the jobs need.

use crate::clock;
use crate::metrics::Metrics;
use crate::queue::Queue;
use crate::store::StoredJob;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// More than this wait only when the API server does not take them, or thousands of jobs come at once.
const WAITING_MAXIMUM: usize = 10_000;
/// So deep a queue is one where jobs wait for the API server.
const BUSY_JOBS: usize = 16;
/// Between two looks at how deep the queue is.
const LOOK: Duration = Duration::from_millis(200);
/// No event waits longer for the queue, which may never end. The API server stamps events as they come, so this is also
/// by how much a time it shows can be late; the times of the status are exact.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The API server takes no longer note.
const NOTE_MAXIMUM_BYTES: usize = 1_000;

/// Where events go in.
#[derive(Clone)]
pub struct Events {
    sender: mpsc::Sender<Told>,
    metrics: Arc<Metrics>,
}

struct Told {
    of: ObjectReference,
    event: Event,
    at: Instant,
}

/// Publishes until every [`Events`] is gone.
pub struct Publisher {
    receiver: mpsc::Receiver<Told>,
    recorder: Recorder,
    queue: Arc<Queue>,
}

pub fn channel(
    client: Client,
    identity: &str,
    metrics: Arc<Metrics>,
    queue: Arc<Queue>,
) -> (Events, Publisher) {
    let (sender, receiver) = mpsc::channel(WAITING_MAXIMUM);
    let reporter = Reporter {
        controller: crate::api::FIELD_MANAGER.to_owned(),
        instance: Some(identity.to_owned()),
    };
    let recorder = Recorder::new(client, reporter);
    let publisher = Publisher {
        receiver,
        recorder,
        queue,
    };
    (Events { sender, metrics }, publisher)
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
        let told = Told {
            of: reference,
            event,
            at: clock::instant(),
        };
        if self.sender.try_send(told).is_err() {
            self.metrics.event_dropped();
        }
    }
}

impl Publisher {
    pub async fn run(mut self) {
        while let Some(Told { of, event, at }) = self.receiver.recv().await {
            self.until_calm(at + LONGEST_WAIT).await;
            if let Err(error) = self.recorder.publish(&event, &of).await {
                tracing::debug!(error = %crate::chain(&error), "an event is not published");
            }
        }
    }

    async fn until_calm(&self, latest: Instant) {
        while self.queue.depth() > BUSY_JOBS && clock::instant() < latest {
            tokio::time::sleep(LOOK).await;
        }
    }
}
