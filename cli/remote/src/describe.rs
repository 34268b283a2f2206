//! `daskjob describe`: everything a person needs to know of one job, in one place.

mod pods;
mod text;

use crate::connect::{Connection, ConnectionArgs};
use crate::job;
use crate::problem::{Call, Problem};
use clap::{Args, ValueEnum};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::Api;
use kube::api::ListParams;
use serde_json::json;
use terminal::{clock, print};
use text::{Subject, text_of};

/// Show one job in full: its state and why, what to do, timeline, workers, pods, events and the end of its log.
#[derive(Debug, Args)]
pub struct DescribeArgs {
    /// The job
    #[arg(value_name = "NAME", value_parser = job::name_argument)]
    pub name: String,

    /// Shape of the answer
    #[arg(short, long, value_enum, default_value_t = Output::Text, value_name = "FORMAT")]
    pub output: Output,

    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Shape of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Text,
    /// For programs: the resource, its pods and its events as the cluster has them
    Json,
}

pub async fn run(arguments: &DescribeArgs) -> Result<u8, Problem> {
    let connection = Connection::open(&arguments.connection).await?;
    let job = connection.job(&arguments.name).await?;
    let pods = list_pods(&connection, job.uid()).await;
    let pods = or_note(pods);
    let events = or_note(list_events(&connection, job.uid(), &pods).await);
    match arguments.output {
        Output::Text => print(&text_of(&Subject {
            job: &job,
            pods: &pods,
            events: &events,
            now: clock::now_seconds(),
        })),
        Output::Json => {
            let all = json!({"job": job.object, "pods": pods, "events": events});
            print(&(serde_json::to_string_pretty(&all).expect("resources are JSON") + "\n"));
        }
    }
    Ok(0)
}

/// The job itself can be told without.
fn or_note<T>(listed: Result<Vec<T>, Problem>) -> Vec<T> {
    listed.unwrap_or_else(|problem| {
        eprintln!("daskjob: note: {}", problem.text());
        Vec::new()
    })
}

async fn list_pods(connection: &Connection, uid: &str) -> Result<Vec<Pod>, Problem> {
    let pods: Api<Pod> = Api::namespaced(connection.client.clone(), &connection.namespace);
    let parameters = ListParams::default().labels(&plan::objects::labels::selector_of_job(uid));
    let listed = pods.list(&parameters).await;
    listed
        .map(|list| list.items)
        .map_err(|error| call(connection, "pods").problem(error))
}

/// Those of the job, and warnings about its pods.
async fn list_events(
    connection: &Connection,
    uid: &str,
    pods: &[Pod],
) -> Result<Vec<Event>, Problem> {
    let events: Api<Event> = Api::namespaced(connection.client.clone(), &connection.namespace);
    let of_job = ListParams::default().fields(&format!("involvedObject.uid={uid}"));
    let of_pods = ListParams::default().fields("involvedObject.kind=Pod,type=Warning");
    let listed = futures::future::try_join(events.list(&of_job), events.list(&of_pods)).await;
    let (of_job, of_pods) = listed.map_err(|error| call(connection, "events").problem(error))?;
    let is_ours = |event: &Event| {
        let about = event.involved_object.uid.as_deref();
        pods.iter().any(|pod| pod.metadata.uid.as_deref() == about)
    };
    let of_pods = of_pods.items.into_iter().filter(is_ours);
    Ok(of_job.items.into_iter().chain(of_pods).collect())
}

fn call<'a>(connection: &'a Connection, resource: &'a str) -> Call<'a> {
    Call {
        verb: "list",
        resource,
        namespace: &connection.namespace,
        name: "",
    }
}
