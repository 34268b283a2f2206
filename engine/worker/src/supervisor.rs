//! One worker through all its lives: begins the next where the last was lost, until nobody wants one.

use crate::config::{Config, SchedulerAt};
use crate::guard::Guard;
use crate::life::{End, Loss};
use crate::living::{self, Setting};
use crate::nanny::{self, Nanny};
use crate::termination;
use anyhow::Context as _;
use protocol::messages::Handshake;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{error, info, warn};
use transport::Connector;

/// Between a life that was lost and the next.
const PAUSE: Duration = Duration::from_millis(100);
const FILE_PAUSE: Duration = Duration::from_millis(50);
/// Visitors that the kernel keeps until they are accepted.
const HTTP_BACKLOG: i32 = 1024;

/// How it ended.
pub enum Outcome {
    /// As it was wished.
    Closed,
    /// The Python process died and is not replaced.
    Lost { cause: String },
    /// It, or something it started, was killed for want of memory, and that is to end the worker.
    OutOfMemory { cause: String },
}

pub struct Supervisor {
    config: Rc<Config>,
    name: Option<String>,
    scheduler: String,
    guard: Rc<Guard>,
    pub nanny: Rc<Nanny>,
    orders: mpsc::UnboundedReceiver<End>,
}

impl Supervisor {
    pub fn new(
        config: &Rc<Config>,
        name: Option<String>,
        scheduler: String,
        guard: Rc<Guard>,
    ) -> Self {
        let (sender, orders) = mpsc::unbounded_channel();
        Self {
            config: Rc::clone(config),
            guard,
            nanny: Nanny::new(config, name.as_deref(), scheduler.clone(), sender),
            name,
            scheduler,
            orders,
        }
    }

    pub async fn run(mut self) -> anyhow::Result<Outcome> {
        let mut tasks = JoinSet::new();
        let outcome = self.all_lives(&mut tasks).await;
        self.nanny.close().await;
        outcome
    }

    async fn all_lives(&mut self, tasks: &mut JoinSet<()>) -> anyhow::Result<Outcome> {
        if self.config.nanny {
            let ports = self.config.nanny_ports.clone();
            let listener = living::listen_on(&self.config, &self.scheduler, ports, None).await;
            let listener =
                listener.context("listen for those who watch the worker (--nanny-port)")?;
            let address = living::contact_of_nanny(&listener, &self.scheduler).await;
            self.nanny.listens_at(address);
            if !self.config.preload_nanny.is_empty() {
                self.nanny.start_python().await?;
            }
            tasks.spawn_local(nanny::serve(Rc::clone(&self.nanny), listener));
            let connector = Connector {
                pickle_protocol: Handshake::NEWEST_PICKLES,
                connect_timeout: self.config.connect_timeout,
                ..Connector::new(self.config.security.clone())
            };
            tasks.spawn_local(nanny::announce(Rc::clone(&self.nanny), connector));
        }
        let http = Rc::new(bind_http(&self.config).await?);
        let mut lives = 0;
        loop {
            if self.nanny.is_over.get() {
                return Ok(Outcome::Closed);
            }
            if let Some(outcome) = self.live(&http, lives).await? {
                return Ok(outcome);
            }
            lives += 1;
        }
    }

    /// One life; what it means for the worker, if it was the last.
    async fn live(
        &mut self,
        http: &Rc<TcpListener>,
        lives: u32,
    ) -> anyhow::Result<Option<Outcome>> {
        while self.orders.try_recv().is_ok() {}
        let setting = Setting {
            config: &self.config,
            scheduler: &self.scheduler,
            name: self.name.as_deref(),
            nanny: &self.nanny,
            http,
        };
        let end = living::live(&setting, &mut self.orders).await;
        self.nanny.died();
        match end {
            Ok(End::ExecutorLost(loss)) => Ok(self.lost(loss).await),
            Ok(End::Restart { .. } | End::Retire { again: true, .. }) => Ok(None),
            Ok(End::Close { .. } | End::Retire { .. } | End::SchedulerGone) => {
                Ok(Some(Outcome::Closed))
            }
            Err(failure)
                if self.config.end_when_out_of_memory
                    && self.guard.memory.borrow().shortage().is_some() =>
            {
                let loss = Loss {
                    cause: format!("did not begin: failed to {failure:#}"),
                    out_of_memory: true,
                    tasks: Vec::new(),
                };
                Ok(self.lost(loss).await)
            }
            Err(failure) if lives == 0 => Err(failure),
            Err(failure) => {
                error!(
                    error = format!("{failure:#}"),
                    "the worker does not come back"
                );
                Err(failure)
            }
        }
    }
}

impl Supervisor {
    /// What the loss of the Python process means for the worker, if it is its end.
    async fn lost(&self, loss: Loss) -> Option<Outcome> {
        // Should nothing come after it, this is what is known.
        termination::leave(&self.config, &loss, &self.guard.memory.borrow());
        self.guard.told();
        let cause = loss.cause;
        if loss.out_of_memory && self.config.end_when_out_of_memory {
            return Some(Outcome::OutOfMemory { cause });
        }
        if !self.config.nanny {
            return Some(Outcome::Lost { cause });
        }
        if self.nanny.is_over.get() {
            warn!(cause, "the worker ends without its Python process");
            return Some(Outcome::Closed);
        }
        warn!(cause, "a new Python process is started");
        tokio::time::sleep(PAUSE).await;
        None
    }
}

/// A busy port is replaced by a free one.
async fn bind_http(config: &Config) -> anyhow::Result<TcpListener> {
    let (host, port) = &config.http;
    let host = match (host.as_str(), &config.host) {
        ("", Some(own)) => own.as_str(),
        (given, _) => given,
    };
    match bind_http_at(host, *port).await {
        Ok(listener) => Ok(listener),
        Err(failure) if *port != 0 => {
            warn!(port, error = %failure, "the HTTP port is not free; taking a free one");
            let free = bind_http_at(host, 0).await;
            free.with_context(|| format!("answer HTTP on {host} (--dashboard-address)"))
        }
        Err(failure) => Err(failure)
            .with_context(|| format!("answer HTTP on {host}:{port} (--dashboard-address)")),
    }
}

async fn bind_http_at(host: &str, port: u16) -> std::io::Result<TcpListener> {
    match host {
        "" => transport::bind_everywhere(port, HTTP_BACKLOG),
        host => TcpListener::bind((host, port)).await,
    }
}

/// The scheduler's address, once it is known.
pub async fn find_scheduler(config: &Config) -> anyhow::Result<String> {
    let file = match &config.scheduler {
        SchedulerAt::Address(address) => return Ok(address.clone()),
        SchedulerAt::File(file) => file,
    };
    let reading = async {
        loop {
            if let Some(address) = address_in(file) {
                return address;
            }
            tokio::time::sleep(FILE_PAUSE).await;
        }
    };
    info!(file = %file.display(), "waiting for the scheduler's file");
    match config.death_timeout {
        None => Ok(reading.await),
        Some(timeout) => tokio::time::timeout(timeout, reading)
            .await
            .with_context(|| format!("find the scheduler's address in {}", file.display())),
    }
}

fn address_in(file: &Path) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let identity: serde_json::Value = serde_json::from_str(&text).ok()?;
    identity.get("address")?.as_str().map(str::to_owned)
}
