//! What the benchmark asks of the API server: objects as JSON, counts of many, the log of a pod.

use std::future::Future;
use std::time::Duration;

use ::cluster::Cluster;
use anyhow::{Context, Result, bail};
use http::Request;
use serde_json::{Value, json};

use crate::clock;

/// Kinds that belong to jobs, by the path in a namespace.
pub const KINDS: [(&str, &str); 5] = [
    ("/api/v1", "pods"),
    ("/api/v1", "services"),
    ("/api/v1", "configmaps"),
    ("/apis/apps/v1", "deployments"),
    ("/apis/networking.k8s.io/v1", "networkpolicies"),
];

/// In every namespace, put there by the cluster itself.
const OF_THE_CLUSTER: &str = "kube-root-ca.crt";

const PAUSE: Duration = Duration::from_millis(20);

pub fn path(api: &str, namespace: &str, kind: &str) -> String {
    format!("{api}/namespaces/{namespace}/{kind}")
}

pub async fn get(cluster: &Cluster, path: &str) -> Result<Value> {
    let answer = cluster.send("GET", path, &json!({})).await;
    answer.map_err(|refusal| anyhow::anyhow!("read {path}: {}", refusal.message))
}

pub async fn create(cluster: &Cluster, path: &str, object: &Value) -> Result<()> {
    let answer = cluster.send("POST", path, object).await;
    answer
        .map(drop)
        .map_err(|refusal| anyhow::anyhow!("create in {path}: {}", refusal.message))
}

/// Whether it was there.
pub async fn delete(cluster: &Cluster, path: &str) -> Result<bool> {
    match cluster.send("DELETE", path, &json!({})).await {
        Ok(_) => Ok(true),
        Err(refusal) if refusal.code == 404 => Ok(false),
        Err(refusal) => bail!("delete {path}: {}", refusal.message),
    }
}

/// How many objects a collection has; the server tells without sending them.
pub async fn count(cluster: &Cluster, path: &str) -> Result<u64> {
    let list = get(cluster, &format!("{path}?limit=1")).await?;
    let first = list["items"].as_array().map_or(0, Vec::len);
    let rest = list["metadata"]["remainingItemCount"].as_u64().unwrap_or(0);
    Ok(u64::try_from(first)? + rest)
}

/// What jobs have left in a namespace.
pub async fn leftovers(cluster: &Cluster, namespace: &str) -> Result<u64> {
    let mut left = 0;
    for (api, kind) in KINDS {
        let path = path(api, namespace, kind);
        left += match kind {
            "configmaps" => {
                let list = get(cluster, &path).await?;
                let items = list["items"].as_array().into_iter().flatten();
                u64::try_from(
                    items
                        .filter(|item| item["metadata"]["name"] != OF_THE_CLUSTER)
                        .count(),
                )?
            }
            _ => count(cluster, &path).await?,
        };
    }
    Ok(left)
}

/// The log of a pod so far; nothing where its container has not begun.
pub async fn log(cluster: &Cluster, namespace: &str, pod: &str) -> String {
    let request =
        Request::get(format!("/api/v1/namespaces/{namespace}/pods/{pod}/log")).body(Vec::new());
    match request {
        Ok(request) => cluster
            .client
            .request_text(request)
            .await
            .unwrap_or_default(),
        Err(_) => String::new(),
    }
}

/// Asks until there is an answer; how long it took.
pub async fn until<Answer, Asking>(
    what: &str,
    limit: Duration,
    mut ask: impl FnMut() -> Asking,
) -> Result<Answer>
where
    Asking: Future<Output = Result<Option<Answer>>>,
{
    let begun = clock::now();
    loop {
        if let Some(answer) = ask().await.with_context(|| what.to_owned())? {
            return Ok(answer);
        }
        if begun.elapsed() > limit {
            bail!("not within {} s: {what}", limit.as_secs());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits until nothing of any job is left in a namespace; seconds from `since`.
pub async fn until_gone(
    cluster: &Cluster,
    namespace: &str,
    since: f64,
    limit: Duration,
) -> Result<f64> {
    until("everything is gone", limit, || async {
        let left = leftovers(cluster, namespace).await?;
        Ok((left == 0).then(|| clock::unix_seconds() - since))
    })
    .await
}
