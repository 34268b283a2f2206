//! `daskjob cancel`, `suspend` and `resume`: one field of a job, and waiting until it has come about.

use crate::connect::{Connection, ConnectionArgs};
use crate::job::{self, Job, word_of};
use crate::problem::{Kind, Problem};
use crate::{follow, outcome};
use clap::Args;
use contract::labels;
use contract::status::condition;
use serde_json::json;

/// End a job. It becomes Failed with reason Cancelled, its cluster is taken down, its record is kept; `kubectl delete dj
/// NAME` removes that too.
#[derive(Debug, Args)]
pub struct CancelArgs {
    /// The job
    #[arg(value_name = "NAME", value_parser = job::name_argument)]
    pub name: String,

    /// Why, for whoever looks at the job later
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,

    /// Wait until nothing of its cluster is left
    #[arg(long)]
    pub wait: bool,

    #[command(flatten)]
    pub connection: ConnectionArgs,
}

/// Suspending takes the cluster of a job away and stops its clocks; what it computed is lost, and it is no failure.
/// Resuming begins a fresh attempt.
#[derive(Debug, Args)]
pub struct SuspendArgs {
    /// The job
    #[arg(value_name = "NAME", value_parser = job::name_argument)]
    pub name: String,

    /// Wait until it has come about
    #[arg(long)]
    pub wait: bool,

    #[command(flatten)]
    pub connection: ConnectionArgs,
}

pub async fn cancel(arguments: &CancelArgs) -> Result<u8, Problem> {
    let connection = Connection::open(&arguments.connection).await?;
    let found = connection.job(&arguments.name).await?;
    if let Some(phase) = found.status.finished() {
        eprintln!(
            "daskjob: {} is {} already: there is nothing to cancel",
            found.name(),
            word_of(phase)
        );
        return Ok(0);
    }
    let why = arguments.reason.as_deref().unwrap_or("by daskjob cancel");
    request_cancel(&connection, found.name(), why).await?;
    eprintln!("daskjob: {} is being cancelled", found.name());
    if arguments.wait {
        let ended = follow::until(&connection, found.name(), |job| {
            job.status.holds(condition::TORN_DOWN)
        })
        .await?;
        if let Some(job) = ended {
            eprintln!(
                "daskjob: {}",
                outcome::sentence(&job, terminal::clock::now_seconds())
            );
        }
    }
    Ok(0)
}

/// Asks for the end of a job; the operator sees to it.
pub async fn request_cancel(connection: &Connection, name: &str, why: &str) -> Result<(), Problem> {
    // "false" would mean that it is not cancelled.
    let why = match why.trim() {
        "" | "false" => "true",
        why => why,
    };
    let patch = json!({"metadata": {"annotations": {labels::CANCEL: why}}});
    connection.merge(name, &patch).await.map(|_| ())
}

pub async fn suspend(arguments: &SuspendArgs, suspend: bool) -> Result<u8, Problem> {
    let connection = Connection::open(&arguments.connection).await?;
    let found = connection.job(&arguments.name).await?;
    job::refuse_finished(
        &found,
        if suspend {
            "be suspended"
        } else {
            "be resumed"
        },
    )?;
    let (word, done) = if suspend {
        ("suspended", is_at_rest as fn(&Job) -> bool)
    } else {
        ("resumed", is_going as _)
    };
    if found.spec()["suspend"].as_bool().unwrap_or(false) == suspend {
        eprintln!(
            "daskjob: {} is {}",
            found.name(),
            if suspend {
                "suspended already"
            } else {
                "not suspended"
            }
        );
    } else {
        connection
            .merge(found.name(), &json!({"spec": {"suspend": suspend}}))
            .await?;
        eprintln!("daskjob: {} is being {word}", found.name());
    }
    if arguments.wait {
        let job = follow::until(&connection, found.name(), |job| {
            job.is_finished() || done(job)
        })
        .await?;
        let gone = || {
            Problem::new(
                Kind::NotFound,
                format!("{} was deleted meanwhile", found.name()),
                "",
            )
        };
        let job = job.ok_or_else(gone)?;
        eprintln!("daskjob: {} is {}", job.name(), job.state());
    }
    Ok(0)
}

fn is_at_rest(job: &Job) -> bool {
    job.is_observed() && job.status.holds(condition::SUSPENDED)
}

fn is_going(job: &Job) -> bool {
    job.is_observed() && !job.status.holds(condition::SUSPENDED) && job.status.attempt > 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::tests::job;

    #[test]
    fn a_job_is_suspended_once_the_operator_says_so_of_this_edit() {
        let conditions = json!([{"type": "Suspended", "status": "True", "reason": "Requested", "lastTransitionTime": "2026-11-21T12:00:00Z"}]);
        let of = |generation: i64| {
            job(
                json!({"suspend": true}),
                json!({"observedGeneration": generation, "conditions": conditions, "attempt": 1}),
            )
        };
        assert!(is_at_rest(&of(2)) && !is_at_rest(&of(1)));
        assert!(!is_going(&of(2)));
        let resumed = job(json!({}), json!({"observedGeneration": 2, "attempt": 2}));
        assert!(is_going(&resumed) && !is_at_rest(&resumed));
    }
}
