//! Workers that are not there: they register, send heartbeats, and say at once that every task is done.
//!
//! They speak the raw protocol of a real worker and batch as one does, answering what came in one message with one
//! message. They have no data and no Python, so that what is measured is the scheduler.

mod messages;
mod worker;

use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use tokio::runtime::{Builder, Runtime};

/// A number of fake workers, running until dropped.
pub struct FakeWorkers {
    // Held for its drop, which ends the workers' tasks.
    _runtime: Runtime,
}

impl FakeWorkers {
    /// Registers `count` workers of `nthreads` threads each.
    pub fn start(scheduler: &str, count: u16, nthreads: u32) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("fake-workers")
            .enable_all()
            .build()
            .context("start the runtime of the fake workers")?;
        let (registered, registrations) = mpsc::channel();
        for index in 0..count {
            let worker = worker::FakeWorker::new(scheduler, index, nthreads);
            let registered = registered.clone();
            runtime.spawn(async move {
                let name = worker.name();
                if let Err(error) = worker.run(&registered).await {
                    eprintln!("bench: fake worker {name} ended: {error:#}");
                }
            });
        }
        for _ in 0..count {
            registrations
                .recv_timeout(Duration::from_secs(30))
                .map_err(|_| anyhow!("the fake workers could not register"))?;
        }
        Ok(Self { _runtime: runtime })
    }
}
