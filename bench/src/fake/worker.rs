//! One fake worker: a stream to the scheduler and, beside it, heartbeats.

use std::sync::mpsc::Sender;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use protocol::{Value, encode_value};
use transport::{Connection, Connector, Pool};

use super::messages::{self, Assignment};

/// A worker before it runs.
pub struct FakeWorker {
    scheduler: String,
    index: u16,
    nthreads: u32,
}

impl FakeWorker {
    pub fn new(scheduler: &str, index: u16, nthreads: u32) -> Self {
        Self {
            scheduler: scheduler.to_owned(),
            index,
            nthreads,
        }
    }

    pub fn name(&self) -> String {
        format!("fake-{}", self.index)
    }

    /// Where it says that it listens. Nobody asks it for data.
    fn address(&self) -> String {
        format!("tcp://127.0.0.1:{}", 1_001 + self.index)
    }

    /// Until the scheduler ends the stream.
    pub async fn run(self, registered: &Sender<()>) -> Result<()> {
        let (stream, heartbeat_interval) = self.register().await?;
        registered.send(()).context("report the registration")?;
        let heartbeats = heartbeats(self.scheduler.clone(), self.address(), heartbeat_interval);
        tokio::select! {
            ended = answer_tasks(stream, self.index) => ended,
            ended = heartbeats => ended,
        }
    }

    async fn register(&self) -> Result<(Connection, Duration)> {
        let mut stream = Connector::default().connect(&self.scheduler).await?;
        let registration =
            messages::registration(&self.address(), &self.name(), i64::from(self.nthreads));
        stream.send_value(&registration).await?;
        let reply = stream
            .recv_value()
            .await?
            .context("the scheduler closed the connection instead of answering")?;
        if !reply
            .get("status")
            .is_some_and(|status| status.is_str("OK"))
        {
            bail!("the scheduler refused the worker: {reply:?}");
        }
        let interval = reply
            .get("heartbeat-interval")
            .and_then(Value::as_f64)
            .unwrap_or(0.5);
        stream.send_value(&messages::running()).await?;
        Ok((stream, Duration::from_secs_f64(interval.clamp(0.1, 60.0))))
    }
}

/// Answers every message of the stream with one message.
async fn answer_tasks(mut stream: Connection, index: u16) -> Result<()> {
    let mut assignments: Vec<Assignment> = Vec::new();
    while let Some(frames) = stream.recv().await? {
        assignments.clear();
        let goes_on = messages::read_assignments(&frames, &mut assignments)?;
        if !assignments.is_empty() {
            let reply = messages::answers(&assignments, i64::from(index));
            stream.send(&reply).await?;
        }
        if !goes_on {
            return Ok(());
        }
    }
    Ok(())
}

async fn heartbeats(scheduler: String, address: String, interval: Duration) -> Result<()> {
    let pool = Pool::new(Connector::default(), 4);
    loop {
        tokio::time::sleep(interval).await;
        let reply = pool
            .call(&scheduler, &encode_value(&messages::heartbeat(&address)))
            .await?;
        if !reply
            .get("status")
            .is_some_and(|status| status.is_str("OK"))
        {
            bail!("the scheduler does not know the worker any more: {reply:?}");
        }
    }
}
