//! What every connection and every RPC handler of the scheduler shares.
//!
//! Nothing here decides anything about tasks: that is the core's, reached through `core`.

use crate::config::Config;
use crate::core_loop::{CoreHandle, Stopped};
use crate::graph::GraphHelpers;
use crate::plugins::Plugins;
use crate::rpc;
use crate::streams::status::StatusFeed;
use protocol::{Value, map};
use scheduler_core::Time;
use std::sync::Arc;
use tokio::sync::watch;
use tracing::{debug, warn};
use transport::Pool;

pub struct Context {
    pub core: CoreHandle,
    /// Connections to workers and nannies, for requests that the scheduler makes.
    pub pool: Pool,
    pub graphs: Arc<GraphHelpers>,
    pub config: Arc<Config>,
    pub identity: Identity,
    /// Worker, nanny and scheduler plugins as clients registered them.
    pub plugins: Plugins,
    /// What RPC handlers share with each other.
    pub rpc: rpc::State,
    /// Cluster managers that want to know who joins and leaves.
    pub status_feed: StatusFeed,
    pub closing: watch::Sender<Option<Closing>>,
}

/// Who this scheduler is, fixed once it listens.
pub struct Identity {
    /// `Scheduler-<uuid>`.
    pub id: String,
    /// Concrete addresses that peers can connect to, the first one preferred.
    pub addresses: Vec<String>,
    /// Port of the HTTP server, where there is one.
    pub dashboard_port: Option<u16>,
    pub started: Time,
}

/// Why the scheduler closes; the first reason given is the one that counts.
#[derive(Debug, Clone)]
pub struct Closing {
    pub reason: String,
}

impl Context {
    /// What is installed where graphs are opened, or nil where that is not known.
    pub async fn versions(&self) -> Value {
        match self.graphs.environment().await {
            Ok(environment) => environment.versions.clone(),
            // Who comes while everything ends is turned away anyway.
            Err(error) if self.graphs.has_ended() => {
                debug!(error = %error, "versions of the graph helper are not known any more");
                Value::Nil
            }
            Err(error) => {
                warn!(error = %error, "versions of the graph helper are not known");
                Value::Nil
            }
        }
    }

    /// Who this scheduler is, with at most so many of its workers.
    pub async fn identity(
        &self,
        workers_limit: Option<usize>,
        with_metrics: bool,
    ) -> Result<Value, Stopped> {
        let own = &self.identity;
        let services = match own.dashboard_port {
            Some(port) => map! {"dashboard" => u32::from(port)},
            None => map! {},
        };
        let mut identity = map! {
            "type" => "Scheduler",
            "id" => own.id.as_str(),
            "address" => own.addresses.first().map(String::as_str),
            "services" => services,
            "started" => own.started.seconds(),
        };
        let (count, threads, memory, workers) = self
            .core
            .call(move |core, _, _| {
                (
                    core.worker_count(),
                    core.total_nthreads(),
                    core.total_memory(),
                    core.worker_identities(workers_limit, with_metrics),
                )
            })
            .await?;
        identity.set("n_workers", count);
        identity.set("total_threads", threads);
        identity.set("total_memory", memory);
        identity.set("workers", workers);
        Ok(identity)
    }

    /// Asks the program to close; a second request changes nothing.
    pub fn close(&self, reason: impl Into<String>) {
        self.closing.send_if_modified(|closing| {
            let first = closing.is_none();
            if first {
                *closing = Some(Closing {
                    reason: reason.into(),
                });
            }
            first
        });
    }
}
