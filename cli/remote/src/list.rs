//! `daskjob list`: jobs in columns, once or as they change.

use crate::columns;
use crate::connect::{Connection, ConnectionArgs};
use crate::job::{self, Job};
use crate::problem::{Call, JOBS, Problem};
use crate::{outcome, times};
use clap::{Args, ValueEnum};
use futures::{StreamExt, pin_mut};
use kube::Api;
use kube::api::{DynamicObject, ListParams};
use kube::runtime::{WatchStreamExt, watcher};
use serde_json::{Value, json};
use terminal::{clock, print, try_print};

/// List jobs and how they are.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    pub connection: ConnectionArgs,

    /// Of all namespaces
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub all_namespaces: bool,

    /// Only jobs with these labels, as for kubectl: team=etl,stage!=test
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,

    /// Go on showing each change until Ctrl-C
    #[arg(short, long)]
    pub watch: bool,

    /// Shape of the answer; with --watch, json is one job a line
    #[arg(short, long, value_enum, default_value_t = Output::Text, value_name = "FORMAT")]
    pub output: Output,
}

/// Shape of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Columns
    Text,
    /// More columns
    Wide,
    /// For programs: a list of the resources as the cluster has them
    Json,
}

/// Which columns are shown.
#[derive(Clone, Copy)]
struct Shape {
    namespaces: bool,
    wide: bool,
}

pub async fn run(arguments: &ListArgs) -> Result<u8, Problem> {
    let connection = Connection::open(&arguments.connection).await?;
    let jobs: Api<DynamicObject> = match arguments.all_namespaces {
        true => Api::all_with(connection.client.clone(), &job::resource()),
        false => connection.jobs(),
    };
    let call = Call {
        verb: "list",
        resource: JOBS,
        namespace: match arguments.all_namespaces {
            true => "",
            false => &connection.namespace,
        },
        name: "",
    };
    let parameters = ListParams {
        label_selector: arguments.selector.clone(),
        ..ListParams::default()
    };
    let found = jobs
        .list(&parameters)
        .await
        .map_err(|error| call.problem(error))?;
    let found: Vec<Job> = found.items.into_iter().map(Job::from).collect();
    let shape = Shape {
        namespaces: arguments.all_namespaces,
        wide: arguments.output == Output::Wide,
    };
    if arguments.watch {
        return watch(jobs, arguments, shape, &found, call).await;
    }
    match arguments.output {
        Output::Json => print(&json_of(&found)),
        Output::Text | Output::Wide if found.is_empty() => {
            eprintln!(
                "daskjob: there is no job {}",
                place(arguments, &connection.namespace)
            );
        }
        Output::Text | Output::Wide => {
            print(&columns::table(
                "",
                &headings(shape),
                &rows(&found, shape, clock::now_seconds()),
            ));
        }
    }
    Ok(0)
}

fn place(arguments: &ListArgs, namespace: &str) -> String {
    let which = match &arguments.selector {
        Some(selector) => format!("with {selector} "),
        None => String::new(),
    };
    match arguments.all_namespaces {
        true => format!("{which}on this cluster"),
        false => format!("{which}in namespace {namespace}; -A shows those of all namespaces"),
    }
}

/// Shows what is there and each change after it. Widths stay those of the beginning.
async fn watch(
    jobs: Api<DynamicObject>,
    arguments: &ListArgs,
    shape: Shape,
    found: &[Job],
    call: Call<'_>,
) -> Result<u8, Problem> {
    let now = clock::now_seconds();
    let widths = columns::widths(&headings(shape), &rows(found, shape, now));
    let as_json = arguments.output == Output::Json;
    if !as_json {
        let headings: Vec<String> = headings(shape)
            .iter()
            .map(|heading| (*heading).to_owned())
            .collect();
        print(&columns::line("", &widths, &headings));
    }
    let config = watcher::Config {
        label_selector: arguments.selector.clone(),
        ..watcher::Config::default()
    };
    let changes = watcher(jobs, config).default_backoff();
    pin_mut!(changes);
    loop {
        let change = tokio::select! {
            change = changes.next() => change,
            _ = tokio::signal::ctrl_c() => return Ok(0),
        };
        let (job, gone) = match change {
            None => return Ok(0),
            Some(Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object))) => {
                (Job::from(object), false)
            }
            Some(Ok(watcher::Event::Delete(object))) => (Job::from(object), true),
            Some(Ok(watcher::Event::Init | watcher::Event::InitDone)) => continue,
            Some(Err(error)) => {
                refuse_hopeless(error, call)?;
                continue;
            }
        };
        let line = match as_json {
            true => change_as_json(&job, gone),
            false => {
                let mut cells = row(&job, shape, clock::now_seconds());
                if gone {
                    cells[usize::from(shape.namespaces) + 1] = "(deleted)".to_owned();
                }
                columns::line("", &widths, &cells)
            }
        };
        if try_print(&line).is_err() {
            return Ok(0);
        }
    }
}

/// A watch goes on by itself after what passes; missing rights do not.
pub fn refuse_hopeless(error: watcher::Error, call: Call<'_>) -> Result<(), Problem> {
    let status = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status,
        _ => return Ok(()),
    };
    match status.code {
        401 | 403 | 404 => {
            let call = Call {
                verb: "watch",
                ..call
            };
            Err(call.problem(kube::Error::Api(status)))
        }
        _ => Ok(()),
    }
}

fn json_of(jobs: &[Job]) -> String {
    let items: Vec<Value> = jobs
        .iter()
        .map(|job| serde_json::to_value(&job.object).expect("a resource is JSON"))
        .collect();
    serde_json::to_string_pretty(&items).expect("resources are JSON") + "\n"
}

fn change_as_json(job: &Job, gone: bool) -> String {
    let object = serde_json::to_value(&job.object).expect("a resource is JSON");
    format!("{}\n", json!({"deleted": gone, "job": object}))
}

fn headings(shape: Shape) -> Vec<&'static str> {
    let mut headings = vec![
        "NAME", "STATUS", "WORKERS", "ATTEMPT", "AGE", "TOOK", "REASON",
    ];
    if shape.namespaces {
        headings.insert(0, "NAMESPACE");
    }
    if shape.wide {
        headings.extend(["ENGINE", "SCHEDULER"]);
    }
    headings
}

fn rows(jobs: &[Job], shape: Shape, now: u64) -> Vec<Vec<String>> {
    jobs.iter().map(|job| row(job, shape, now)).collect()
}

fn row(job: &Job, shape: Shape, now: u64) -> Vec<String> {
    let status = &job.status;
    let took = match job.is_finished() {
        true => outcome::seconds_taken(job, now).map_or_else(|| "-".to_owned(), times::duration),
        false => "-".to_owned(),
    };
    let mut cells = vec![
        job.name().to_owned(),
        job.state(),
        format!("{}/{}", status.workers.ready, status.workers.desired),
        status.attempt.to_string(),
        times::ago(job.object.metadata.creation_timestamp.as_ref(), now),
        took,
        reason_of(job),
    ];
    if shape.namespaces {
        cells.insert(0, job.namespace().to_owned());
    }
    if shape.wide {
        cells.push(job.spec()["engine"].as_str().unwrap_or("native").to_owned());
        cells.push(
            status
                .scheduler_address
                .clone()
                .unwrap_or_else(|| "-".to_owned()),
        );
    }
    cells
}

/// Why it failed, or what it waits for.
fn reason_of(job: &Job) -> String {
    let failed = job
        .status
        .failure
        .as_ref()
        .map(|failure| failure.reason.as_str());
    let waits = || job.waits_for().map(|(reason, _)| reason);
    failed.or_else(waits).unwrap_or("-").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::tests::job;

    #[test]
    fn a_row_tells_state_workers_and_why() {
        let status = json!({
            "jobStatus": "Failed", "attempt": 2, "workers": {"ready": 1, "desired": 4},
            "failure": {"role": "runner", "class": "Application", "reason": "NonZeroExit", "message": "m"},
            "conditions": [{"type": "Failed", "status": "True", "reason": "x", "lastTransitionTime": "2026-11-21T12:03:20Z"}],
        });
        let shape = Shape {
            namespaces: true,
            wide: true,
        };
        let now = 1_795_262_400 + 600;
        let found = [job(json!({"engine": "dask"}), status)];
        assert_eq!(
            rows(&found, shape, now),
            [[
                "team",
                "etl",
                "Failed",
                "1/4",
                "2",
                "10m",
                "3m20s",
                "NonZeroExit",
                "dask",
                "-"
            ]]
        );
        assert_eq!(headings(shape).len(), 10);
    }

    #[test]
    fn a_start_that_waits_tells_for_what() {
        let status = json!({"jobStatus": "Starting", "conditions": [
            {"type": "ClusterReady", "status": "False", "reason": "Unschedulable", "message": "no node", "lastTransitionTime": "2026-11-21T12:00:00Z"},
        ]});
        assert_eq!(reason_of(&job(json!({}), status)), "Unschedulable");
        assert_eq!(reason_of(&job(json!({}), json!({}))), "-");
    }
}
