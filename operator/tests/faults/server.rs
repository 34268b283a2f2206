//! HTTP in front of the storage, as `kube::Client` speaks it, and faults at chosen calls.

use crate::storage::{Answer, NAMESPACE, Storage, refusal};
use crate::watches::{Cut, Follower};
use bytes::Bytes;
use futures::stream::BoxStream;
use http::{Method, Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::watch;

/// Longer than the operator waits for any call of its own.
const CONNECTION_BREAKS_AFTER: Duration = Duration::from_secs(60);

type Answered = Response<UnsyncBoxBody<Bytes, io::Error>>;

/// What a watch sends.
pub type Frames = BoxStream<'static, io::Result<Frame<Bytes>>>;

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The operator stops before the call takes effect, or before it hears of it.
    Stop { takes_effect: bool },
    /// Refused with this code, nothing happened.
    Code(u16),
    /// It happened, but the answer is a failure.
    FailsAfterwards,
    /// It happened, but no answer comes before the connection breaks.
    NeverAnswers,
    /// It happened, and at that moment the Lease has run out.
    LeaseRunsOut,
}

/// The server; clones are the same one.
#[derive(Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

struct Shared {
    storage: Mutex<Storage>,
    /// The newest version; watches wait for it to grow.
    version: watch::Sender<u64>,
    faults: Mutex<Faults>,
    stopped: watch::Sender<u32>,
    /// How often the connection that all watches share broke.
    resets: watch::Sender<u32>,
}

#[derive(Default)]
struct Faults {
    /// Calls so far, watches and events apart.
    calls: u32,
    at: Vec<(u32, Fault)>,
    /// Messages of watches so far, and instead of which of them something else comes.
    messages: u32,
    cut: Option<(u32, Cut)>,
    /// No watch of this kind is opened from before this version.
    forgotten: BTreeMap<String, u64>,
    /// Watches that are open now.
    watches: u32,
    /// The Lease ran out.
    lease_ran_out: bool,
    /// Watches show everything so much later.
    lag: Duration,
    /// Every call takes so long.
    latency: Duration,
    /// Lives of operators so far, and those that are over: whatever they still send is lost.
    lives: u32,
    over: BTreeSet<u32>,
}

impl Server {
    pub fn new() -> Self {
        Server {
            shared: Arc::new(Shared {
                storage: Mutex::default(),
                version: watch::Sender::new(0),
                faults: Mutex::default(),
                stopped: watch::Sender::new(0),
                resets: watch::Sender::new(0),
            }),
        }
    }

    pub fn storage(&self) -> MutexGuard<'_, Storage> {
        self.shared.storage.lock().unwrap()
    }

    /// Something was written: watches are to look.
    pub fn publish(&self) {
        let version = self.storage().version;
        self.shared.version.send_replace(version);
    }

    pub fn set_faults(&self, faults: &[(u32, Fault)]) {
        let mut known = self.shared.faults.lock().unwrap();
        known.at = faults.to_vec();
    }

    pub fn set_lag(&self, lag: Duration) {
        self.shared.faults.lock().unwrap().lag = lag;
    }

    pub fn set_latency(&self, latency: Duration) {
        self.shared.faults.lock().unwrap().latency = latency;
    }

    pub fn calls(&self) -> u32 {
        self.shared.faults.lock().unwrap().calls
    }

    /// How often an operator was to stop so far.
    pub fn stops(&self) -> watch::Receiver<u32> {
        self.shared.stopped.subscribe()
    }

    /// A client for one life of an operator.
    pub fn client(&self) -> Client {
        let server = self.clone();
        let life = {
            let mut faults = self.shared.faults.lock().unwrap();
            faults.lives += 1;
            faults.lives
        };
        let service = tower::service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(life, request).await) }
        });
        Client::new(service, NAMESPACE)
    }

    async fn answer(&self, life: u32, request: Request<Body>) -> Answered {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        let asked = Asked::read(&head.uri);
        let is_over = self.shared.faults.lock().unwrap().over.contains(&life);
        if is_over {
            return std::future::pending().await;
        }
        if asked.watch && self.is_forgotten(&asked) {
            return respond(refusal(410, "Expired", "too old resource version"));
        }
        if asked.watch {
            let frames = Follower::new(self, asked).frames();
            return Response::new(StreamBody::new(frames).boxed_unsync());
        }
        let latency = self.shared.faults.lock().unwrap().latency;
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        let counts = !["events", "leases"].contains(&asked.plural.as_str());
        let fault = counts.then(|| self.fault()).flatten();
        match fault {
            Some(Fault::Code(429)) => {
                let mut answered = respond(refusal(429, "TooManyRequests", "slow down"));
                answered
                    .headers_mut()
                    .insert("retry-after", "2".parse().unwrap());
                return answered;
            }
            Some(Fault::Code(409)) => {
                return respond(refusal(409, "Conflict", "somebody was faster"));
            }
            Some(Fault::Code(code)) => return respond(refusal(code, "InternalError", "broken")),
            Some(Fault::Stop {
                takes_effect: false,
            }) => return self.stop(life).await,
            Some(Fault::LeaseRunsOut) => {
                self.storage().run_out_lease();
                self.shared.faults.lock().unwrap().lease_ran_out = true;
            }
            Some(_) | None => {}
        }
        let answer = self.carry_out(&head.method, &asked, body);
        self.publish();
        match fault {
            Some(Fault::Stop { takes_effect: true }) => self.stop(life).await,
            Some(Fault::FailsAfterwards) => respond(refusal(500, "InternalError", "lost")),
            Some(Fault::NeverAnswers) => {
                tokio::time::sleep(CONNECTION_BREAKS_AFTER).await;
                respond(refusal(504, "Timeout", "the connection broke"))
            }
            Some(_) | None => respond(answer),
        }
    }

    fn fault(&self) -> Option<Fault> {
        let mut faults = self.shared.faults.lock().unwrap();
        let now = faults.calls;
        faults.calls += 1;
        let hit = faults.at.iter().find(|(at, _)| *at == now)?;
        Some(hit.1)
    }

    async fn stop(&self, life: u32) -> Answered {
        self.shared.faults.lock().unwrap().over.insert(life);
        self.shared.stopped.send_modify(|stops| *stops += 1);
        std::future::pending().await
    }

    fn carry_out(&self, method: &Method, asked: &Asked, body: Value) -> Answer {
        let mut storage = self.storage();
        let plural = asked.plural.as_str();
        storage.reads += u32::from(method == Method::GET);
        match (method.as_str(), asked.name.as_deref(), asked.status) {
            ("GET", None, _) => {
                let selected = storage.of(plural).filter(|object| asked.selects(object));
                let items: Vec<Value> = selected.cloned().collect();
                // As real ones do with metadata.
                let items = (!items.is_empty()).then_some(items);
                let version = storage.version.to_string();
                (
                    200,
                    json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": version}, "items": items}),
                )
            }
            ("GET", Some(name), _) => match storage.get(plural, name) {
                Some(object) => (200, object.clone()),
                None => refusal(404, "NotFound", "no such object"),
            },
            ("POST", None, _) => storage.create(plural, body),
            ("PUT", Some(name), true) => storage.put_status(name, &body),
            ("DELETE", Some(name), _) => storage.delete(plural, name, &body),
            ("PATCH", Some(_), _) if plural == "events" => (200, body),
            ("PATCH", Some(name), _) if plural == "services" => storage.give_selector(name, &body),
            ("PATCH", Some(name), _) if plural == "leases" => storage.patch_lease(name, &body),
            (method, name, _) => panic!("{method} {plural} {name:?} is nothing an operator does"),
        }
    }
}

// What watches and tests of them need.
impl Server {
    /// Instead of this message of a watch, counted from 0, something else comes.
    pub fn set_cut(&self, at: u32, cut: Cut) {
        self.shared.faults.lock().unwrap().cut = Some((at, cut));
    }

    /// Messages of watches so far.
    pub fn messages(&self) -> u32 {
        self.shared.faults.lock().unwrap().messages
    }

    /// What comes instead of the message that is due now.
    pub fn cut(&self) -> Option<Cut> {
        let mut faults = self.shared.faults.lock().unwrap();
        let now = faults.messages;
        faults.messages += 1;
        faults.cut.filter(|(at, _)| *at == now).map(|(_, cut)| cut)
    }

    pub fn watches(&self) -> u32 {
        self.shared.faults.lock().unwrap().watches
    }

    pub fn watches_open(&self, change: impl FnOnce(&mut u32)) {
        change(&mut self.shared.faults.lock().unwrap().watches);
    }

    pub fn lag(&self) -> Duration {
        self.shared.faults.lock().unwrap().lag
    }

    pub fn versions(&self) -> watch::Receiver<u64> {
        self.shared.version.subscribe()
    }

    pub fn resets(&self) -> watch::Receiver<u32> {
        self.shared.resets.subscribe()
    }

    /// What became of a kind before now is known no longer.
    pub fn forget_before_now(&self, plural: &str) {
        let now = self.storage().version;
        let forgotten = &mut self.shared.faults.lock().unwrap().forgotten;
        forgotten.insert(plural.to_owned(), now);
    }

    fn is_forgotten(&self, asked: &Asked) -> bool {
        let forgotten = &self.shared.faults.lock().unwrap().forgotten;
        let since = forgotten.get(&asked.plural);
        since.is_some_and(|since| asked.version < *since)
    }

    /// The connection breaks.
    pub fn reset(&self) {
        self.shared.resets.send_modify(|resets| *resets += 1);
    }

    /// Whether the Lease has run out since this was asked.
    pub fn take_lease_ran_out(&self) -> bool {
        std::mem::take(&mut self.shared.faults.lock().unwrap().lease_ran_out)
    }
}

fn respond((code, body): Answer) -> Answered {
    let body = Full::new(Bytes::from(body.to_string()));
    let body = body.map_err(|never| match never {}).boxed_unsync();
    Response::builder().status(code).body(body).unwrap()
}

/// A request's path and query.
pub struct Asked {
    pub plural: String,
    name: Option<String>,
    status: bool,
    watch: bool,
    pub version: u64,
    label: Option<(String, String)>,
}

impl Asked {
    fn read(uri: &http::Uri) -> Self {
        let mut parts = uri
            .path()
            .split('/')
            .skip_while(|part| *part != "v1" && *part != "v1alpha1");
        parts.next();
        let mut parts: Vec<&str> = parts.collect();
        if parts.first() == Some(&"namespaces") {
            parts.drain(..2);
        }
        let mut asked = Asked {
            plural: parts[0].to_owned(),
            name: parts.get(1).map(|name| (*name).to_owned()),
            status: parts.get(2) == Some(&"status"),
            watch: false,
            version: 0,
            label: None,
        };
        for (key, value) in uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
        {
            let value = value.replace("%3D", "=").replace("%2F", "/");
            match key {
                "watch" => asked.watch = value == "true",
                "resourceVersion" => asked.version = value.parse().unwrap_or_default(),
                "labelSelector" => {
                    let (label, wanted) = value.split_once('=').unwrap();
                    asked.label = Some((label.to_owned(), wanted.to_owned()));
                }
                _ => {}
            }
        }
        asked
    }

    pub fn selects(&self, object: &Value) -> bool {
        self.label
            .as_ref()
            .is_none_or(|(label, wanted)| object["metadata"]["labels"][label] == wanted.as_str())
    }
}
