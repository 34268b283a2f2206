//! Twenty jobs of five workers at once on fake nodes.

use std::time::Duration;

use anyhow::Result;
use futures::future::try_join_all;

use super::api;
use super::contender::{Contender, Job, Place};
use super::report::{Report, Unit};
use crate::args::OperatorArgs;
use crate::{clock, usage};

const JOBS: u32 = 20;
const WORKERS: u32 = 5;
const PATIENCE: Duration = Duration::from_secs(120);
const CLEAN_UP: Duration = Duration::from_secs(300);

/// Scheduler, workers, runner.
const PODS: u64 = (JOBS * (WORKERS + 2)) as u64;

pub async fn measure(
    contenders: &[Contender<'_>],
    _args: &OperatorArgs,
    report: &mut Report,
) -> Result<()> {
    for contender in contenders {
        eprintln!(
            "{}: {JOBS} jobs of {WORKERS} workers at once",
            contender.product.title()
        );
        burst(contender, report).await?;
    }
    Ok(())
}

async fn burst(contender: &Contender<'_>, report: &mut Report) -> Result<()> {
    let cpu = usage::cpu(contender.pid()).cpu_seconds;
    let begun = clock::unix_seconds();
    try_join_all((0..JOBS).map(|number| apply(contender, number))).await?;
    let pods = contender.pods_path();
    let all = api::until("all pods are there", PATIENCE, || async {
        let there = api::count(contender.cluster, &pods).await?;
        Ok((there >= PODS).then_some(()))
    });
    let product = contender.product;
    match all.await {
        Ok(()) => {
            let took = clock::unix_seconds() - begun;
            report.add(
                product,
                "20 jobs of 5 at once: all pods created",
                Unit::Seconds,
                vec![took],
            );
        }
        Err(error) => eprintln!("{}: {error:#}", product.title()),
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    let cpu = usage::cpu(contender.pid()).cpu_seconds - cpu;
    report.add(
        product,
        "20 jobs of 5 at once: operator's CPU",
        Unit::Seconds,
        vec![cpu],
    );
    let stuck = contender.stuck().await?;
    report.add(
        product,
        "20 jobs of 5 at once: clusters stuck",
        Unit::Count,
        vec![stuck as f64],
    );
    let asked = clock::unix_seconds();
    try_join_all((0..JOBS).map(|number| async move {
        api::delete(contender.cluster, &contender.job_path(&name(number))).await
    }))
    .await?;
    let namespace = contender.namespace.name();
    let gone = api::until_gone(contender.cluster, namespace, asked, CLEAN_UP).await?;
    report.add(
        product,
        "20 jobs of 5 at once: deleted → everything gone",
        Unit::Seconds,
        vec![gone],
    );
    Ok(())
}

fn name(number: u32) -> String {
    format!("burst-{number}")
}

async fn apply(contender: &Contender<'_>, number: u32) -> Result<()> {
    let name = name(number);
    let job = Job {
        name: &name,
        workers: WORKERS,
        program: "pass",
        place: Place::FakeNodes,
    };
    contender.apply(job).await
}
