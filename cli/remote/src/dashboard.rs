//! `daskjob dashboard`: a port of this machine that leads to the status page of a job's scheduler, through the API server.
//!
//! Each connection goes to the scheduler of the present attempt, so a page stays right when the attempt changes.

use crate::connect::{Connection, ConnectionArgs};
use crate::follow::changes;
use crate::job::{self, Job};
use crate::logs::{State, state_of};
use crate::problem::{Call, Kind, Problem};
use crate::{list, outcome};
use clap::Args;
use contract::{Role, http, ports};
use futures::{StreamExt, pin_mut};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use std::net::{Ipv4Addr, SocketAddr};
use terminal::{clock, print};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Open the status page of a job's scheduler on this machine, until Ctrl-C or the job's end.
///
/// Prints the address once the scheduler runs. The same port answers everything the scheduler says over HTTP, such as
/// /metrics and /api/v1/status. It takes the right to forward ports to pods (create on pods/portforward).
#[derive(Debug, Args)]
pub struct DashboardArgs {
    /// The job
    #[arg(value_name = "NAME", value_parser = job::name_argument)]
    pub name: String,

    /// Port of this machine; 0 is any free one. [default: 8787, or a free one where that is taken]
    #[arg(short, long, value_name = "PORT")]
    pub port: Option<u16>,

    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Which scheduler connections go to.
#[derive(Clone, PartialEq, Eq)]
enum Target {
    /// None runs yet.
    Awaited,
    Pod(String),
}

pub async fn run(arguments: &DashboardArgs) -> Result<u8, Problem> {
    let connection = Connection::open(&arguments.connection).await?;
    let job = connection.job(&arguments.name).await?;
    job::refuse_finished(&job, "show its scheduler, which is gone")?;
    let listener = listen(arguments.port).await?;
    let address = listener
        .local_addr()
        .map_err(|error| cannot_listen(arguments.port, &error))?;
    let (target, targets) = watch::channel(Target::Awaited);
    tokio::select! {
        ended = watch_job(&connection, &job, &target) => ended,
        problem = serve(&connection, listener, targets.clone()) => Err(problem),
        never = announce(targets, address) => never,
        _ = tokio::signal::ctrl_c() => Ok(0),
    }
}

async fn listen(port: Option<u16>) -> Result<TcpListener, Problem> {
    let wanted = port.unwrap_or(ports::DASHBOARD);
    match (TcpListener::bind((Ipv4Addr::LOCALHOST, wanted)).await, port) {
        (Ok(listener), _) => Ok(listener),
        (Err(_), None) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .map_err(|error| cannot_listen(port, &error)),
        (Err(error), Some(_)) => Err(cannot_listen(port, &error)),
    }
}

fn cannot_listen(port: Option<u16>, error: &std::io::Error) -> Problem {
    Problem::refused(
        format!(
            "cannot listen on port {} of this machine: {error}",
            port.unwrap_or_default()
        ),
        "choose another with --port, or leave it out for a free one",
    )
}

/// Keeps the target right until the job ends.
async fn watch_job(
    connection: &Connection,
    job: &Job,
    target: &watch::Sender<Target>,
) -> Result<u8, Problem> {
    let (name, uid) = (job.name(), job.uid());
    let pods: Api<Pod> = Api::namespaced(connection.client.clone(), &connection.namespace);
    let changes = changes(connection, name);
    pin_mut!(changes);
    let mut attempt = job.status.attempt;
    let mut look = tokio::time::interval(std::time::Duration::from_secs(1));
    loop {
        tokio::select! {
            change = changes.next() => match change {
                None | Some(Ok(None)) => {
                    eprintln!("daskjob: {name} was deleted");
                    return Ok(0);
                }
                Some(Err(error)) => list::refuse_hopeless(error, connection.call("watch", name))?,
                Some(Ok(Some(object))) => {
                    let job = Job::from(object);
                    if job.is_finished() || job.uid() != uid {
                        eprintln!("daskjob: {}", outcome::sentence(&job, clock::now_seconds()));
                        return Ok(0);
                    }
                    attempt = job.status.attempt;
                }
            },
            _ = look.tick() => {
                let wanted = plan::names::scheduler(name, attempt);
                let found = pods.get_opt(&wanted).await;
                let call = Call { verb: "get", resource: "pods", namespace: &connection.namespace, name: &wanted };
                let runs = match found {
                    Ok(pod) => pod.is_some_and(|pod| state_of(&pod, Role::Scheduler.as_str()) == State::Running),
                    Err(error) => match call.problem(error) {
                        problem if problem.kind == Kind::Forbidden => return Err(problem),
                        _ => continue,
                    },
                };
                let next = if runs { Target::Pod(wanted) } else { Target::Awaited };
                target.send_if_modified(|known| {
                    let changes = *known != next;
                    *known = next;
                    changes
                });
            }
        }
    }
}

/// Says where the page is, and when there is none for a while.
async fn announce(
    mut targets: watch::Receiver<Target>,
    address: SocketAddr,
) -> Result<u8, Problem> {
    let mut told = false;
    loop {
        let target = targets.borrow_and_update().clone();
        match target {
            Target::Awaited if told => {
                eprintln!("daskjob: the scheduler is gone; waiting for the next attempt")
            }
            Target::Awaited => eprintln!("daskjob: waiting for the scheduler"),
            Target::Pod(_) if told => {
                eprintln!("daskjob: the next attempt's scheduler runs; the page is where it was")
            }
            Target::Pod(_) => {
                print(&format!("http://{address}{}\n", http::STATUS_PAGE));
                eprintln!("daskjob: Ctrl-C ends it; the job goes on");
                told = true;
            }
        }
        if targets.changed().await.is_err() {
            // Whoever told of targets has ended, and says why.
            std::future::pending::<()>().await;
        }
    }
}

/// Takes connections for as long as there are any; ends only with a problem.
async fn serve(
    connection: &Connection,
    listener: TcpListener,
    targets: watch::Receiver<Target>,
) -> Problem {
    loop {
        let accepted = match listener.accept().await {
            Ok((accepted, _)) => accepted,
            Err(error) => return cannot_listen(None, &error),
        };
        let pods: Api<Pod> = Api::namespaced(connection.client.clone(), &connection.namespace);
        let target = targets.borrow().clone();
        let namespace = connection.namespace.clone();
        tokio::spawn(async move {
            if let Err(said) = forward(accepted, pods, target, &namespace).await {
                eprintln!("daskjob: {said}");
            }
        });
    }
}

async fn forward(
    mut accepted: TcpStream,
    pods: Api<Pod>,
    target: Target,
    namespace: &str,
) -> Result<(), String> {
    let Target::Pod(pod) = target else {
        // A browser shows it and asks again by itself.
        let answer = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nRefresh: 2\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nThe scheduler does not run yet.\n";
        let _ = accepted.write_all(answer.as_bytes()).await;
        return Ok(());
    };
    let call = Call {
        verb: "create",
        resource: "pods/portforward",
        namespace,
        name: &pod,
    };
    let mut forwarder = pods
        .portforward(&pod, &[ports::DASHBOARD])
        .await
        .map_err(|error| call.problem(error).text())?;
    let Some(mut remote) = forwarder.take_stream(ports::DASHBOARD) else {
        return Err(format!("no connection to {pod} can be had"));
    };
    // One side that goes away ends both.
    let _ = tokio::io::copy_bidirectional(&mut accepted, &mut remote).await;
    drop(remote);
    forwarder.abort();
    Ok(())
}
