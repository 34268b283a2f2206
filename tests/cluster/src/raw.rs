//! Objects as a user writes them, well formed or not, and what the API server says of them.

use http::Request;
use serde_json::Value;

use crate::Cluster;

/// Why the API server did not take something.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub code: u16,
    /// What kubectl shows.
    pub message: String,
    /// Each problem with the field it is about, where the server says so.
    pub causes: Vec<(String, String)>,
}

impl Refusal {
    fn new(error: kube::Error) -> Self {
        let kube::Error::Api(status) = error else {
            panic!("the API server did not answer: {error}");
        };
        let causes = status.details.iter().flat_map(|details| &details.causes);
        Self {
            code: status.code,
            message: status.message.clone(),
            causes: causes
                .map(|cause| (cause.field.clone(), cause.message.clone()))
                .collect(),
        }
    }
}

impl Cluster {
    /// Sends any JSON to any path, strict about unknown fields as kubectl is.
    pub async fn send(&self, method: &str, path: &str, body: &Value) -> Result<Value, Refusal> {
        let separator = if path.contains('?') { '&' } else { '?' };
        let content_type = match method {
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("{path}{separator}fieldValidation=Strict"))
            .header("content-type", content_type)
            .body(body.to_string().into_bytes())
            .expect("a request can be made");
        self.client.request(request).await.map_err(Refusal::new)
    }

    /// Path of our kind in a namespace.
    pub fn jobs_path(namespace: &str) -> String {
        format!(
            "/apis/{}/namespaces/{namespace}/daskjobs",
            crd::api_version()
        )
    }
}
