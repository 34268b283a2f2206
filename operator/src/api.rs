//! Calls to the API server: one function for each kind of call, one kind of error.
//!
//! Objects travel as JSON, for a typed client would drop what it does not know. Knows nothing of jobs' lives. Invariant:
//! every call ends within `LONGEST`, and what the answer means for whoever called stands in [`Problem`].

mod answer;

pub use answer::{CallError, Problem};

use crate::clock;
use crate::metrics::Metrics;
use answer::problem_of;
use http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use kube::Client;
use kube::client::Body;
use plan::life::ObjectKind;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// Who we are to the API server's record of who set which field.
pub const FIELD_MANAGER: &str = "daskjob-operator";
/// No call takes longer; what became of it is then unknown.
const LONGEST: Duration = Duration::from_secs(30);
const METADATA_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";

/// A collection of objects in a namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Collection {
    Jobs,
    Of(ObjectKind),
}

impl Collection {
    fn path(self, namespace: &str) -> String {
        match self {
            Collection::Jobs => format!(
                "/apis/{}/namespaces/{namespace}/daskjobs",
                crd::api_version()
            ),
            Collection::Of(ObjectKind::Pod) => format!("/api/v1/namespaces/{namespace}/pods"),
            Collection::Of(ObjectKind::Service) => {
                format!("/api/v1/namespaces/{namespace}/services")
            }
            Collection::Of(ObjectKind::ConfigMap) => {
                format!("/api/v1/namespaces/{namespace}/configmaps")
            }
            Collection::Of(ObjectKind::NetworkPolicy) => {
                format!("/apis/networking.k8s.io/v1/namespaces/{namespace}/networkpolicies")
            }
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Collection::Jobs => crd::KIND,
            Collection::Of(kind) => kind.as_str(),
        }
    }
}

#[derive(Clone)]
pub struct Api {
    client: Client,
    metrics: Arc<Metrics>,
}

#[derive(Deserialize)]
struct List<T> {
    /// An empty list of metadata has null here.
    items: Option<Vec<T>>,
}

/// One call before it is made.
struct Call<'a> {
    verb: &'static str,
    method: Method,
    collection: Collection,
    namespace: &'a str,
    /// Empty for the collection as a whole.
    name: &'a str,
    /// What follows the name.
    rest: String,
    accept: &'static str,
    body: Option<&'a Value>,
}

impl Api {
    pub fn new(client: Client, metrics: Arc<Metrics>) -> Self {
        Api { client, metrics }
    }

    pub async fn get<T: DeserializeOwned>(
        &self,
        collection: Collection,
        namespace: &str,
        name: &str,
    ) -> Result<T, CallError> {
        self.call(Call {
            verb: "get",
            method: Method::GET,
            collection,
            namespace,
            name,
            rest: String::new(),
            accept: JSON,
            body: None,
        })
        .await
    }

    /// All objects with the label, as they are now.
    pub async fn list<T: DeserializeOwned>(
        &self,
        kind: ObjectKind,
        namespace: &str,
        selector: &str,
    ) -> Result<Vec<T>, CallError> {
        let list: List<T> = self
            .call(Call {
                verb: "list",
                method: Method::GET,
                collection: Collection::Of(kind),
                namespace,
                name: "",
                rest: format!("?labelSelector={}", selector.replace('=', "%3D")),
                accept: match kind {
                    ObjectKind::Pod => JSON,
                    _ => METADATA_LIST,
                },
                body: None,
            })
            .await?;
        Ok(list.items.unwrap_or_default())
    }

    pub async fn create(
        &self,
        kind: ObjectKind,
        namespace: &str,
        name: &str,
        object: &Value,
    ) -> Result<Value, CallError> {
        let path = Call {
            verb: "create",
            method: Method::POST,
            collection: Collection::Of(kind),
            namespace,
            name,
            rest: format!("?fieldManager={FIELD_MANAGER}"),
            accept: JSON,
            body: Some(object),
        };
        self.call(path).await
    }

    /// Merges a change into an object; with `metadata.uid` in it, into no other of the name.
    pub async fn patch(
        &self,
        kind: ObjectKind,
        namespace: &str,
        name: &str,
        change: &Value,
    ) -> Result<Value, CallError> {
        self.call(Call {
            verb: "patch",
            method: Method::PATCH,
            collection: Collection::Of(kind),
            namespace,
            name,
            rest: format!("?fieldManager={FIELD_MANAGER}"),
            accept: JSON,
            body: Some(change),
        })
        .await
    }

    /// Stores a job's status, unless the job changed since this version.
    pub async fn put_status(
        &self,
        namespace: &str,
        name: &str,
        job: &Value,
    ) -> Result<Value, CallError> {
        self.call(Call {
            verb: "update_status",
            method: Method::PUT,
            collection: Collection::Jobs,
            namespace,
            name,
            rest: format!("/status?fieldManager={FIELD_MANAGER}"),
            accept: JSON,
            body: Some(job),
        })
        .await
    }

    /// Deletes exactly this object; one that is gone, or another under its name, is what was wanted.
    pub async fn delete(
        &self,
        collection: Collection,
        namespace: &str,
        name: &str,
        uid: &str,
        grace_seconds: Option<u32>,
    ) -> Result<(), CallError> {
        let mut options = json!({
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid},
            "propagationPolicy": "Background",
        });
        if let Some(seconds) = grace_seconds {
            options["gracePeriodSeconds"] = seconds.into();
        }
        let deleted: Result<Value, CallError> = self
            .call(Call {
                verb: "delete",
                method: Method::DELETE,
                collection,
                namespace,
                name,
                rest: String::new(),
                accept: JSON,
                body: Some(&options),
            })
            .await;
        match deleted {
            Ok(_) => Ok(()),
            Err(error) => match error.problem {
                Problem::NotFound => Ok(()),
                Problem::Conflict => self.is_gone(collection, namespace, name, uid, error).await,
                _ => Err(error),
            },
        }
    }

    /// A conflict is another object under the name, or only bad luck.
    async fn is_gone(
        &self,
        collection: Collection,
        namespace: &str,
        name: &str,
        uid: &str,
        conflict: CallError,
    ) -> Result<(), CallError> {
        match self.get::<Value>(collection, namespace, name).await {
            Ok(found) if found["metadata"]["uid"] == uid => Err(conflict),
            Ok(_) => Ok(()),
            Err(error) if matches!(error.problem, Problem::NotFound) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn call<T: DeserializeOwned>(&self, call: Call<'_>) -> Result<T, CallError> {
        let started = clock::instant();
        let error = |problem| CallError {
            verb: call.verb,
            object: [call.collection.as_str(), call.name]
                .join(" ")
                .trim_end()
                .to_owned(),
            problem,
        };
        let sent = tokio::time::timeout(LONGEST, self.send(&call)).await;
        let (code, outcome) = match sent {
            Err(_) => (None, Err(Problem::TimedOut)),
            Ok(Err(problem)) => (None, Err(problem)),
            Ok(Ok((code, outcome))) => (Some(code), outcome),
        };
        self.metrics.called(call.verb, code, started.elapsed());
        outcome
            .and_then(|body| {
                serde_json::from_slice(&body)
                    .map_err(|source| Problem::Undecodable(Arc::new(source)))
            })
            .map_err(error)
    }

    async fn send(
        &self,
        call: &Call<'_>,
    ) -> Result<(StatusCode, Result<bytes::Bytes, Problem>), Problem> {
        let mut path = call.collection.path(call.namespace);
        if !call.name.is_empty() && call.method != Method::POST {
            path.push('/');
            path.push_str(call.name);
        }
        path.push_str(&call.rest);
        let body = call
            .body
            .map_or_else(Vec::new, |body| body.to_string().into_bytes());
        let content_type = match call.method {
            Method::PATCH => MERGE_PATCH,
            _ => JSON,
        };
        let request = Request::builder()
            .method(call.method.clone())
            .uri(path)
            .header(header::ACCEPT, call.accept)
            .header(header::CONTENT_TYPE, content_type)
            .body(Body::from(body))
            .expect("names of Kubernetes are fit for a path");
        let unreachable = |source: kube::Error| Problem::Unreachable(Arc::new(source));
        let response = self.client.send(request).await.map_err(unreachable)?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(unreachable)?.to_bytes();
        if head.status.is_success() {
            return Ok((head.status, Ok(body)));
        }
        let problem = problem_of(
            call.method == Method::POST,
            head.status,
            &head.headers,
            &body,
        );
        Ok((head.status, Err(problem)))
    }
}
