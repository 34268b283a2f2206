//! One job at a time on the real node: from apply to the first task, to the end, and to nothing being left.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::api;
use super::contender::{Contender, Job, Place, Product};
use super::report::{Report, Unit};
use super::scale::Calls;
use crate::args::OperatorArgs;
use crate::clock;

/// Says when its first task ran: a worker's clock, which is that of this machine.
const PROGRAM: &str = "
import sys, time
from dask.distributed import Client
begun = time.time()
client = Client()
first = client.submit(time.time).result()
print('begun', begun, flush=True)
print('first', first, flush=True)
";

/// Then works for longer than anybody waits.
const ENDLESS: &str = "time.sleep(3600)\n";

const PATIENCE: Duration = Duration::from_secs(120);

pub async fn measure(
    contenders: &[Contender<'_>],
    args: &OperatorArgs,
    report: &mut Report,
) -> Result<()> {
    let rounds = args.rounds();
    // What is read from disk and cached by the node for the first job only is not the operator's.
    for contender in contenders {
        job_that_ends(contender, "warm-up", &mut Report::new(0.0)).await?;
    }
    for round in 0..rounds {
        for contender in contenders {
            eprintln!(
                "{}: job {} of {rounds}",
                contender.product.title(),
                round + 1
            );
            let calls = Calls::of(contender).await?;
            let outcome = job_that_ends(contender, &format!("ends-{round}"), report).await;
            give_up_on_error(contender, outcome, report).await?;
            if let (Some(before), Some(after)) = (calls, Calls::of(contender).await?) {
                let made = after.since(&before);
                report.add(
                    contender.product,
                    "one job of 2 workers: creates and status writes",
                    Unit::Count,
                    vec![made.writes],
                );
                report.add(
                    contender.product,
                    "one job of 2 workers: deletes",
                    Unit::Count,
                    vec![made.deletes],
                );
            }
            let outcome = job_that_is_deleted(contender, &format!("deleted-{round}"), report).await;
            give_up_on_error(contender, outcome, report).await?;
        }
    }
    Ok(())
}

/// A job of theirs that gets nowhere is counted and taken away; one of ours ends the benchmark.
async fn give_up_on_error(
    contender: &Contender<'_>,
    outcome: Result<()>,
    report: &mut Report,
) -> Result<()> {
    let Err(error) = outcome else { return Ok(()) };
    if contender.product == Product::Daskjob {
        return Err(error);
    }
    eprintln!("{}: {error:#}", contender.product.title());
    report.add(
        contender.product,
        "jobs that got nowhere",
        Unit::Count,
        vec![1.0],
    );
    let jobs = api::get(contender.cluster, &contender.jobs_path()).await?;
    for job in jobs["items"].as_array().into_iter().flatten() {
        let name = job["metadata"]["name"].as_str().unwrap_or_default();
        api::delete(contender.cluster, &contender.job_path(name)).await?;
    }
    let namespace = contender.namespace.name();
    api::until_gone(
        contender.cluster,
        namespace,
        clock::unix_seconds(),
        PATIENCE,
    )
    .await?;
    Ok(())
}

async fn job_that_ends(contender: &Contender<'_>, name: &str, report: &mut Report) -> Result<()> {
    let applied = apply(contender, name, PROGRAM).await?;
    first_task(contender, name, applied, report).await?;
    let outcome = api::until("the job has ended", PATIENCE, || contender.outcome(name)).await?;
    if outcome == "Failed" {
        bail!("job {name} failed");
    }
    let took = clock::unix_seconds() - applied;
    report.add(
        contender.product,
        "apply → ended",
        Unit::Seconds,
        vec![took],
    );
    delete(contender, name, "delete (ended) → everything gone", report).await
}

async fn job_that_is_deleted(
    contender: &Contender<'_>,
    name: &str,
    report: &mut Report,
) -> Result<()> {
    let applied = apply(contender, name, &format!("{PROGRAM}{ENDLESS}")).await?;
    first_task(contender, name, applied, report).await?;
    delete(
        contender,
        name,
        "delete (running) → everything gone",
        report,
    )
    .await
}

async fn apply(contender: &Contender<'_>, name: &str, program: &str) -> Result<f64> {
    let job = Job {
        name,
        workers: 2,
        program,
        place: Place::RealNode,
    };
    let applied = clock::unix_seconds();
    contender.apply(job).await?;
    Ok(applied)
}

/// Waits until the first task has run and notes when.
async fn first_task(
    contender: &Contender<'_>,
    name: &str,
    applied: f64,
    report: &mut Report,
) -> Result<()> {
    let runner = api::until("the job has a runner", PATIENCE, || contender.runner(name)).await?;
    let namespace = contender.namespace.name();
    let text = api::until("the first task has run", PATIENCE, || async {
        let text = api::log(contender.cluster, namespace, &runner).await;
        Ok(said(&text, "first").is_some().then_some(text))
    });
    let text = text.await?;
    let begun = said(&text, "begun").context("the program says when it began")?;
    let first = said(&text, "first").context("the program says when its task ran")?;
    report.add(
        contender.product,
        "apply → program begins",
        Unit::Seconds,
        vec![begun - applied],
    );
    report.add(
        contender.product,
        "apply → first task",
        Unit::Seconds,
        vec![first - applied],
    );
    Ok(())
}

fn said(text: &str, word: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(word))?;
    line.trim().parse().ok()
}

async fn delete(
    contender: &Contender<'_>,
    name: &str,
    title: &'static str,
    report: &mut Report,
) -> Result<()> {
    let asked = clock::unix_seconds();
    api::delete(contender.cluster, &contender.job_path(name)).await?;
    let namespace = contender.namespace.name();
    let took = api::until_gone(contender.cluster, namespace, asked, PATIENCE).await?;
    report.add(contender.product, title, Unit::Seconds, vec![took]);
    Ok(())
}
