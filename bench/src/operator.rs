//! `bench operator`: jobs on a real cluster, our operator and the dask-kubernetes operator in one run.
//!
//! ```text
//! run ─► cluster (found or started; its network namespace becomes this program's)
//!   ├─► contender (an operator as a process, and how its jobs are written and read)
//!   ├─► idle, latency, burst, scale (what is measured)
//!   └─► report (table, JSON)
//! ```
//! Both operators run all the time, each for a namespace of its own; what they are asked alternates.

mod api;
mod burst;
mod contender;
mod copy;
mod idle;
mod latency;
mod report;
mod scale;

use std::cell::RefCell;
use std::path::Path;

use ::cluster::{Cluster, Tier, on_cluster};
use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::args::{Measure, OperatorArgs};
use crate::usage;
use contender::Contender;
pub use contender::Product;
use report::Report;

pub fn run(args: &OperatorArgs) -> Result<()> {
    let outcome = RefCell::new(None);
    on_cluster(Tier::Node, async |cluster| {
        *outcome.borrow_mut() = Some(measure(&cluster, args).await);
    });
    let Some(report) = outcome.into_inner() else {
        bail!(
            "nothing was measured: it needs a test cluster with a node (`cargo xtask cluster up --tier 2` says more)"
        );
    };
    let report = report?;
    println!("{}", report.table());
    match &args.json {
        Some(path) => report.write_json(path),
        None => Ok(()),
    }
}

/// The operators, each with a namespace of its own.
async fn start_all<'a>(
    cluster: &'a Cluster,
    args: &OperatorArgs,
    logs: &Path,
) -> Result<Vec<Contender<'a>>> {
    let program = cluster.install_images();
    cluster.install_definitions();
    let mut contenders = Vec::new();
    for product in args.products() {
        eprintln!("starting {}", product.title());
        contenders.push(Contender::start(product, cluster, &program, args, logs).await?);
    }
    Ok(contenders)
}

async fn measure(cluster: &Cluster, args: &OperatorArgs) -> Result<Report> {
    let logs = tempfile::Builder::new()
        .prefix("daskjob-bench-")
        .tempdir()
        .context("make a directory for logs")?;
    let mut report = Report::new(usage::load_average());
    let mut contenders = start_all(cluster, args, logs.path()).await?;
    let measured = measure_each(&mut contenders, args, &mut report).await;
    report.load_after(usage::load_average());
    measured.with_context(|| tails(&contenders, logs))?;
    Ok(report)
}

async fn measure_each(
    contenders: &mut [Contender<'_>],
    args: &OperatorArgs,
    report: &mut Report,
) -> Result<()> {
    for measure in args.measures() {
        match measure {
            Measure::Idle => idle::measure(contenders, args, report).await?,
            Measure::Latency => latency::measure(contenders, args, report).await?,
            Measure::Burst => burst::measure(contenders, args, report).await?,
            Measure::Scale => {
                for contender in contenders
                    .iter_mut()
                    .filter(|it| it.product == Product::Daskjob)
                {
                    scale::measure(contender, args, report).await?;
                }
            }
        }
    }
    Ok(())
}

fn tails(contenders: &[Contender<'_>], logs: TempDir) -> String {
    let kept = logs.keep();
    let tails = contenders.iter().map(|it| {
        format!(
            "the end of the log of {}:\n{}\n",
            it.product.title(),
            it.log_tail()
        )
    });
    format!(
        "measure (logs are kept in {})\n{}",
        kept.display(),
        tails.collect::<String>()
    )
}
