//! Values for peers: from this process, from disk or from the executor, acknowledged by whoever asked.

use crate::errors;
use crate::life::Life;
use crate::machine::{Machine, Stopped};
use crate::peers;
use crate::requests::Fetched;
use crate::server::{ConnectionError, Visit};
use crate::spill::Spilled;
use crate::values::Readable;
use protocol::address::host_of;
use protocol::messages::{Request, WorkerStatus};
use protocol::{Key, Payload, Value, map};
use std::rc::Rc;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tracing::warn;
use worker_core::may_serve;

/// Values that were asked for, and where the rest of them is.
struct Reading {
    here: Vec<(Key, Payload)>,
    on_disk: Vec<(Key, Spilled)>,
    in_executor: Option<oneshot::Receiver<Fetched>>,
    nbytes: u64,
}

impl Machine {
    fn read(&mut self, keys: &[Key]) -> Reading {
        let (mut here, mut on_disk, mut to_fetch) = (Vec::new(), Vec::new(), Vec::new());
        let mut nbytes = 0;
        for key in keys {
            let Some(held) = self.core.held(key) else {
                continue;
            };
            nbytes += held.nbytes;
            match self.values.readable(held.value, held.location) {
                Some(Readable::Here(payload)) => here.push((key.clone(), payload)),
                Some(Readable::OnDisk(spilled)) => on_disk.push((key.clone(), spilled)),
                Some(Readable::InExecutor) => to_fetch.push(key.clone()),
                None => {}
            }
        }
        let in_executor = (!to_fetch.is_empty()).then(|| {
            let (request, fetched) = self.requests.fetch();
            self.line.say(|line| line.fetch(request, &to_fetch));
            fetched
        });
        Reading {
            here,
            on_disk,
            in_executor,
            nbytes,
        }
    }
}

/// Values that are here, serialized; what is not here is left out.
async fn read(life: &Life, keys: Vec<Key>) -> Result<(Vec<(Key, Payload)>, u64), Stopped> {
    let reading = life.handle.call(move |machine| machine.read(&keys)).await?;
    let mut values = reading.here;
    if !reading.on_disk.is_empty() {
        let on_disk = reading.on_disk;
        let read = spawn_blocking(move || {
            let read = on_disk.into_iter().map(|(key, file)| (key, file.read()));
            read.collect::<Vec<_>>()
        });
        for (key, content) in read.await.unwrap_or_default() {
            match content {
                Ok(payload) => values.push((key, payload)),
                Err(error) => warn!(task = %key, error = %error, "a spilled value cannot be read"),
            }
        }
    }
    if let Some(fetched) = reading.in_executor {
        values.extend(fetched.await.map_err(|_| Stopped)?.found);
    }
    Ok((values, reading.nbytes))
}

/// Counts a transfer while it lasts.
struct Transfer {
    life: Rc<Life>,
    nbytes: u64,
}

impl Transfer {
    fn begin(life: &Rc<Life>) -> Self {
        let out = &life.outgoing;
        out.count.set(out.count.get() + 1);
        out.count_total.set(out.count_total.get() + 1);
        Self {
            life: Rc::clone(life),
            nbytes: 0,
        }
    }

    fn of(&mut self, nbytes: u64) {
        self.nbytes = nbytes;
        let out = &self.life.outgoing;
        out.bytes.set(out.bytes.get() + nbytes);
        out.bytes_total.set(out.bytes_total.get() + nbytes);
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        let out = &self.life.outgoing;
        out.count.set(out.count.get() - 1);
        out.bytes.set(out.bytes.get() - self.nbytes);
    }
}

/// Answers `get_data`; where values were sent, waits until the peer has them.
pub async fn get_data(visit: &mut Visit<'_>, request: &Request) -> Result<(), ConnectionError> {
    let life = visit.life;
    let keys = match peers::keys_of(request) {
        Ok(keys) => keys,
        Err(text) => {
            let reply = errors::reply("TypeError", &text);
            return Ok(visit.writer.send_value(&reply).await?);
        }
    };
    let same_host = host_of(&visit.peer) == host_of(&life.address);
    let paused = life.status.get() == WorkerStatus::Paused;
    let serving = life.outgoing.count.get();
    let connections = life.config.outgoing_connections;
    if !may_serve(serving, connections, same_host, paused) {
        let busy = map! {"status" => "busy"};
        return Ok(visit.writer.send_value(&busy).await?);
    }
    let mut transfer = Transfer::begin(life);
    let (values, nbytes) = read(life, keys).await?;
    transfer.of(nbytes);
    let data = values.into_iter();
    let data = data.map(|(key, payload)| (key.to_value(), Value::Serialized(payload)));
    let reply = map! {"status" => "OK", "data" => data.collect::<Value>()};
    visit.writer.send_value(&reply).await?;
    drop(reply);
    match visit.reader.recv_value().await? {
        Some(acknowledgement) if acknowledgement.is_str("OK") => Ok(()),
        _ => Err(ConnectionError::NotAcknowledged),
    }
}
