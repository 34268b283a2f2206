//! Many jobs of ours on fake nodes, beside plain creates of pods by as many clients; a large job beside a small one.

use std::collections::BTreeMap;
use std::time::Duration;

use ::cluster::{TestNamespace, WORKER_IMAGE, on_fake_nodes};
use anyhow::{Context, Result};
use futures::future::try_join_all;
use serde_json::{Value, json};

use super::contender::{Contender, Job, Place, Product, requests};
use super::idle::mebibytes;
use super::report::{Report, Unit};
use super::{api, copy};
use crate::args::OperatorArgs;
use crate::{clock, usage};

const CLIENTS: u32 = 16;
const WORKERS: u32 = 4;
/// Scheduler and runner beside the workers.
const PODS_OF_A_JOB: u32 = WORKERS + 2;
const LARGE: u32 = 500;
const PATIENCE: Duration = Duration::from_secs(600);
const REST: Duration = Duration::from_secs(20);
const BETWEEN_COUNTS: Duration = Duration::from_millis(250);

/// What our operator asked of the API server so far.
pub struct Calls(BTreeMap<String, f64>);

/// Calls between two moments.
pub struct Made {
    /// Creates and status writes, Events apart.
    pub writes: f64,
    pub deletes: f64,
    pub all: f64,
}

impl Calls {
    /// Nothing for an operator that does not count them.
    pub async fn of(contender: &Contender<'_>) -> Result<Option<Self>> {
        if contender.product != Product::Daskjob {
            return Ok(None);
        }
        let text = contender
            .http("/metrics")
            .await
            .context("read the operator's metrics")?;
        let mut calls = BTreeMap::new();
        for line in text.lines() {
            if let Some((verb, count)) = call(line) {
                *calls.entry(verb.to_owned()).or_insert(0.0) += count;
            }
        }
        Ok(Some(Self(calls)))
    }

    pub fn since(&self, before: &Self) -> Made {
        let of = |is_meant: &dyn Fn(&str) -> bool| -> f64 {
            let sum = |calls: &Self| -> f64 {
                let meant = calls.0.iter().filter(|(verb, _)| is_meant(verb));
                meant.map(|(_, count)| count).sum()
            };
            sum(self) - sum(before)
        };
        Made {
            // A verb nobody here has heard of counts as a write.
            writes: of(&|verb| !["get", "list", "delete"].contains(&verb)),
            deletes: of(&|verb| verb == "delete"),
            all: of(&|_| true),
        }
    }
}

/// Verb and count of a line like `daskjob_operator_api_calls_total{verb="create",code="201"} 4`.
fn call(line: &str) -> Option<(&str, f64)> {
    let rest = line.strip_prefix("daskjob_operator_api_calls_total{")?;
    let (labels, count) = rest.split_once("} ")?;
    let verb = labels
        .split(',')
        .find_map(|label| label.strip_prefix("verb=\""))?;
    Some((verb.trim_end_matches('"'), count.parse().ok()?))
}

pub async fn measure(
    contender: &Contender<'_>,
    args: &OperatorArgs,
    report: &mut Report,
) -> Result<()> {
    let jobs = args.jobs();
    let plain = plain_creates(contender, jobs * PODS_OF_A_JOB, report).await?;
    many(contender, jobs, plain, report).await?;
    large_beside_small(contender, report).await
}

/// Pods a second that clients create without an operator; as many as the jobs have, for the scheduler and the kubelets begin
/// to take their share of the API server while creates go on.
async fn plain_creates(contender: &Contender<'_>, count: u32, report: &mut Report) -> Result<f64> {
    eprintln!("plain creates: {count} pods by {CLIENTS} clients");
    let namespace = contender.cluster.namespace("bench-plain").await;
    let path = api::path("/api/v1", namespace.name(), "pods");
    let begun = clock::unix_seconds();
    in_parallel(count, |number| {
        let path = &path;
        async move { api::create(contender.cluster, path, &plain_pod(number)).await }
    })
    .await?;
    let rate = f64::from(count) / (clock::unix_seconds() - begun);
    report.add(
        contender.product,
        "plain creates by 16 clients",
        Unit::PerSecond,
        vec![rate],
    );
    clear(contender, &namespace, &path).await?;
    Ok(rate)
}

async fn clear(contender: &Contender<'_>, namespace: &TestNamespace<'_>, path: &str) -> Result<()> {
    api::delete(contender.cluster, path).await?;
    api::until_gone(contender.cluster, namespace.name(), 0.0, PATIENCE).await?;
    // What others still do about it takes from nobody's time.
    tokio::time::sleep(REST).await;
    Ok(())
}

fn plain_pod(number: u32) -> Value {
    let mut spec = on_fake_nodes();
    spec["containers"] = json!([{
        "name": "main", "image": WORKER_IMAGE,
        "resources": {"requests": requests()},
    }]);
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": format!("plain-{number}")}, "spec": spec})
}

/// Does something for each number, as many at once as there are clients.
async fn in_parallel<Doing>(count: u32, what: impl Fn(u32) -> Doing) -> Result<()>
where
    Doing: Future<Output = Result<()>>,
{
    let what = &what;
    let clients = (0..CLIENTS).map(|client| async move {
        let mut number = client;
        while number < count {
            what(number).await?;
            number += CLIENTS;
        }
        anyhow::Ok(())
    });
    try_join_all(clients).await.map(drop)
}

async fn many(contender: &Contender<'_>, jobs: u32, plain: f64, report: &mut Report) -> Result<()> {
    eprintln!("{jobs} jobs of {WORKERS} workers at once");
    let product = contender.product;
    let (pods, wanted) = (contender.pods_path(), u64::from(jobs * PODS_OF_A_JOB));
    let calls = Calls::of(contender)
        .await?
        .context("our operator counts its calls")?;
    let cpu = usage::cpu(contender.pid()).cpu_seconds;
    let begun = clock::unix_seconds();
    in_parallel(jobs, |number| async move {
        let name = name(number);
        contender
            .apply(Job {
                name: &name,
                workers: WORKERS,
                program: "pass",
                place: Place::FakeNodes,
            })
            .await
    })
    .await?;
    api::until("all pods are there", PATIENCE, || async {
        tokio::time::sleep(BETWEEN_COUNTS).await;
        // Counting costs the API server more than a create, so it is asked once the operator knows of them all.
        if pods_known(contender).await? < wanted {
            return Ok(None);
        }
        Ok((api::count(contender.cluster, &pods).await? >= wanted).then_some(()))
    })
    .await?;
    let took = clock::unix_seconds() - begun;
    let objects = api::leftovers(contender.cluster, contender.namespace.name()).await?;
    let rate = objects as f64 / took;
    report.add(
        product,
        "many jobs: all objects created",
        Unit::Seconds,
        vec![took],
    );
    report.add(
        product,
        "many jobs: objects",
        Unit::Count,
        vec![objects as f64],
    );
    report.add(
        product,
        "many jobs: objects created",
        Unit::PerSecond,
        vec![rate],
    );
    report.add(
        product,
        "many jobs: rate ÷ plain creates",
        Unit::Ratio,
        vec![rate / plain],
    );
    let settled = until_at_rest(contender).await?;
    report.add(
        product,
        "many jobs: memory",
        Unit::Mebibytes,
        vec![mebibytes(contender)],
    );
    report.add(
        product,
        "many jobs: operator's CPU",
        Unit::Seconds,
        vec![usage::cpu(contender.pid()).cpu_seconds - cpu],
    );
    let made = settled.since(&calls);
    report.add(
        product,
        "many jobs: creates and status writes a job",
        Unit::Count,
        vec![made.writes / f64::from(jobs)],
    );
    report.add(
        product,
        "many jobs: calls a job",
        Unit::Count,
        vec![made.all / f64::from(jobs)],
    );
    let copies = copy::objects_of(contender.cluster, contender.namespace.name()).await?;
    tokio::time::sleep(REST).await;
    let later = Calls::of(contender)
        .await?
        .context("our operator counts its calls")?;
    report.add(
        product,
        "many jobs: writes in 20 s at rest",
        Unit::Count,
        vec![later.since(&settled).writes],
    );
    let asked = clock::unix_seconds();
    in_parallel(jobs, |number| async move {
        api::delete(contender.cluster, &contender.job_path(&name(number)))
            .await
            .map(drop)
    })
    .await?;
    let gone = api::until_gone(
        contender.cluster,
        contender.namespace.name(),
        asked,
        PATIENCE,
    )
    .await?;
    report.add(
        product,
        "many jobs: deleted → everything gone",
        Unit::Seconds,
        vec![gone],
    );
    tokio::time::sleep(Duration::from_secs(10)).await;
    report.add(
        product,
        "after many jobs: memory",
        Unit::Mebibytes,
        vec![mebibytes(contender)],
    );
    let same = creates_of_the_same(contender, copies).await?;
    report.add(
        product,
        "the same objects by 16 clients",
        Unit::PerSecond,
        vec![same],
    );
    report.add(
        product,
        "many jobs: rate ÷ the same objects",
        Unit::Ratio,
        vec![rate / same],
    );
    Ok(())
}

/// Objects a second where clients create what the jobs had, and no operator does anything: what the jobs' Services cost the
/// cluster is in both.
async fn creates_of_the_same(contender: &Contender<'_>, copies: copy::Copies) -> Result<f64> {
    eprintln!("the same objects by {CLIENTS} clients");
    let namespace = contender.cluster.namespace("bench-same").await;
    let begun = clock::unix_seconds();
    let mut created = 0;
    for (api, kind, objects) in copies {
        let path = api::path(api, namespace.name(), kind);
        created += objects.len();
        in_parallel(u32::try_from(objects.len())?, |number| {
            let (path, objects) = (&path, &objects);
            async move { api::create(contender.cluster, path, &objects[number as usize]).await }
        })
        .await?;
    }
    let rate = created as f64 / (clock::unix_seconds() - begun);
    for (api, kind) in copy::KINDS {
        api::delete(contender.cluster, &api::path(api, namespace.name(), kind)).await?;
    }
    api::until_gone(contender.cluster, namespace.name(), 0.0, PATIENCE).await?;
    Ok(rate)
}

fn name(number: u32) -> String {
    format!("many-{number}")
}

/// How many pods our operator knows of.
async fn pods_known(contender: &Contender<'_>) -> Result<u64> {
    let text = contender.http("/metrics").await?;
    let count = text
        .lines()
        .find_map(|line| line.strip_prefix("daskjob_operator_pods "));
    let count = count.context("our operator says how many pods there are")?;
    Ok(count.trim().parse()?)
}

/// Waits until the operator writes nothing any more.
async fn until_at_rest(contender: &Contender<'_>) -> Result<Calls> {
    let mut before = Calls::of(contender)
        .await?
        .context("our operator counts its calls")?;
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_secs(12)).await;
        let now = Calls::of(contender)
            .await?
            .context("our operator counts its calls")?;
        if now.since(&before).writes == 0.0 {
            return Ok(now);
        }
        before = now;
    }
    Ok(before)
}

/// How long another job waits for its first pod while a large one is made.
async fn large_beside_small(contender: &Contender<'_>, report: &mut Report) -> Result<()> {
    eprintln!("a job of {LARGE} workers, and a small one right after it");
    let apply = |name, workers| {
        contender.apply(Job {
            name,
            workers,
            program: "pass",
            place: Place::FakeNodes,
        })
    };
    apply("large", LARGE).await?;
    let asked = clock::unix_seconds();
    apply("small", 1).await?;
    let pods = contender.pods_path();
    let first = api::until("the small job has a pod", PATIENCE, || async {
        let path = format!("{pods}?labelSelector=daskjob.dev/job-name=small&limit=1");
        let list = api::get(contender.cluster, &path).await?;
        Ok(list["items"].get(0).map(|_| clock::unix_seconds() - asked))
    });
    report.add(
        contender.product,
        "small job beside one of 500 workers: first pod",
        Unit::Seconds,
        vec![first.await?],
    );
    for name in ["large", "small"] {
        api::delete(contender.cluster, &contender.job_path(name)).await?;
    }
    api::until_gone(
        contender.cluster,
        contender.namespace.name(),
        asked,
        PATIENCE,
    )
    .await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Calls, call};

    #[test]
    fn a_count_of_calls_is_read_with_its_verb() {
        let line = "daskjob_operator_api_calls_total{verb=\"create\",code=\"201\"} 4";
        assert_eq!(call(line), Some(("create", 4.0)));
        assert_eq!(call("daskjob_operator_pods 3"), None);
    }

    #[test]
    fn what_neither_reads_nor_deletes_is_a_write() {
        let calls = |counts: [f64; 5]| {
            let verbs = ["get", "list", "delete", "create", "update_status"];
            Calls(verbs.map(str::to_owned).into_iter().zip(counts).collect())
        };
        let made = calls([9.0, 9.0, 6.0, 7.0, 3.0]).since(&calls([1.0, 1.0, 1.0, 1.0, 1.0]));
        assert_eq!((made.writes, made.deletes, made.all), (8.0, 5.0, 29.0));
    }
}
