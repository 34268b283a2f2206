//! HTTP to schedulers: plain, short, bounded in time and size.

use super::answer::{
    Engine, Said, of_native, of_stock_idleness, of_stock_target, of_stock_workers,
};
use super::{AskError, Question, Schedulers};
use bytes::Bytes;
use contract::{http as routes, ports};
use futures::future::BoxFuture;
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::net::IpAddr;
use std::time::Duration;

const CONNECT: Duration = Duration::from_secs(1);
const ANSWER: Duration = Duration::from_secs(3);
/// Workers hand over their results before they are gone.
const RETIRE: Duration = Duration::from_secs(30);
/// Ten thousand workers are about two megabytes.
const LARGEST_BYTES: usize = 8 << 20;

/// The real way.
#[derive(Clone)]
pub struct Http {
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Default for Http {
    fn default() -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            // A connection kept for each of a thousand schedulers costs more than a new one now and then.
            .pool_max_idle_per_host(0)
            .build(connector);
        Http { client }
    }
}

impl Schedulers for Http {
    fn ask(&self, question: Question) -> BoxFuture<'static, Result<Said, AskError>> {
        let http = self.clone();
        Box::pin(async move {
            tokio::time::timeout(ANSWER, http.said(&question))
                .await
                .map_err(|_| AskError::TimedOut)?
        })
    }

    fn retire(
        &self,
        question: Question,
        workers: Vec<String>,
    ) -> BoxFuture<'static, Result<(), AskError>> {
        let http = self.clone();
        Box::pin(async move {
            let body = serde_json::json!({"workers": workers}).to_string();
            let sent = http.send(Method::POST, &question.host, routes::RETIRE_WORKERS, body);
            tokio::time::timeout(RETIRE, sent)
                .await
                .map_err(|_| AskError::TimedOut)??;
            Ok(())
        })
    }
}

impl Http {
    async fn said(&self, question: &Question) -> Result<Said, AskError> {
        let host = &question.host;
        if question.engine == Engine::Native {
            return Ok(of_native(&self.get(host, routes::STATUS).await?)?);
        }
        let mut said = Said {
            workers: of_stock_workers(&self.get(host, routes::GET_WORKERS).await?)?,
            ..Said::default()
        };
        if question.wants_target {
            let target = self.get(host, routes::ADAPTIVE_TARGET).await?;
            said.desired_workers = Some(of_stock_target(&target)?);
        }
        if question.wants_idleness {
            said.idle_since = of_stock_idleness(&self.get(host, routes::CHECK_IDLE).await?)?;
        }
        Ok(said)
    }

    async fn get(&self, host: &str, route: &str) -> Result<Bytes, AskError> {
        self.send(Method::GET, host, route, String::new()).await
    }

    async fn send(
        &self,
        method: Method,
        host: &str,
        route: &str,
        body: String,
    ) -> Result<Bytes, AskError> {
        let unreachable =
            |error: Box<dyn std::error::Error + Send + Sync>| AskError::Unreachable(error);
        let host = match host.parse() {
            Ok(IpAddr::V6(address)) => format!("[{address}]"),
            Ok(IpAddr::V4(_)) | Err(_) => host.to_owned(),
        };
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{host}:{}{route}", ports::DASHBOARD))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(body))
            .map_err(|error| unreachable(error.into()))?;
        let response = self
            .client
            .request(request)
            .await
            .map_err(|error| unreachable(error.into()))?;
        let status = response.status();
        if !status.is_success() {
            return Err(AskError::Refused(status.as_u16()));
        }
        let body = Limited::new(response.into_body(), LARGEST_BYTES);
        Ok(body.collect().await.map_err(unreachable)?.to_bytes())
    }
}
