//! Values for peers: from this process, from disk or from the executor, acknowledged by whoever asked.

use crate::errors;
use crate::executor::lent::{self, Loan, Piece, Unacknowledged};
use crate::life::Life;
use crate::machine::{Machine, Stopped};
use crate::peers;
use crate::requests::{Fetched, Serialized};
use crate::server::{ConnectionError, Visit};
use crate::spill::Spilled;
use crate::values::Readable;
use bytes::Bytes;
use protocol::address::host_of;
use protocol::messages::{Request, WorkerStatus};
use protocol::{Key, MessageWriter, Payload, map, snippet};
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tracing::warn;
use transport::{Frame, Spring};
use worker_core::may_serve;

/// From so much on the executor is asked to pour what it lends: below, the wait for its threads costs more than it saves.
const POURED_BYTES: u64 = 2 << 20;

/// Values that were asked for, and where the rest of them is.
struct Reading {
    here: Vec<(Key, Serialized)>,
    on_disk: Vec<(Key, Spilled)>,
    in_executor: Option<oneshot::Receiver<Fetched>>,
    spring: Option<Spring>,
    nbytes: u64,
}

impl Machine {
    fn read(&mut self, keys: &[Key], may_pour: bool) -> Reading {
        let (mut here, mut on_disk, mut to_fetch) = (Vec::new(), Vec::new(), Vec::new());
        let (mut nbytes, mut lent_bytes) = (0, 0);
        for key in keys {
            let Some(held) = self.core.held(key) else {
                continue;
            };
            nbytes += held.nbytes;
            match self.values.readable(held.value, held.location) {
                Some(Readable::Here(payload)) => here.push((key.clone(), (&payload).into())),
                Some(Readable::OnDisk(spilled)) => on_disk.push((key.clone(), spilled)),
                Some(Readable::InExecutor) => {
                    to_fetch.push(key.clone());
                    lent_bytes += held.nbytes;
                }
                None => {}
            }
        }
        let may_pour = may_pour && lent_bytes >= POURED_BYTES && self.life.lends_freely();
        // Without a pipe it is read where it is.
        let pipe = may_pour.then(Spring::new).and_then(Result::ok);
        let (spring, inlet) = pipe.unzip();
        let in_executor = (!to_fetch.is_empty()).then(|| {
            let (request, fetched) = self.requests.fetch();
            self.line.say(|line| line.fetch(request, &to_fetch, inlet));
            fetched
        });
        Reading {
            here,
            on_disk,
            in_executor,
            spring,
            nbytes,
        }
    }
}

/// Values in serialized form.
#[derive(Default)]
struct Reply {
    values: Vec<(Key, Serialized)>,
    loan: Option<Rc<Loan>>,
    spring: Option<Spring>,
    nbytes: u64,
}

/// Those of the values that are held; what is not is left out.
async fn read(life: &Life, keys: Vec<Key>, may_pour: bool) -> Result<Reply, Stopped> {
    let reading = life
        .handle
        .call(move |machine| machine.read(&keys, may_pour));
    let reading = reading.await?;
    let mut values = reading.here;
    if !reading.on_disk.is_empty() {
        let (on_disk, memory) = (reading.on_disk, Arc::clone(&life.memory));
        let read = spawn_blocking(move || {
            let read = on_disk.into_iter();
            let read = read.map(|(key, file)| (key, file.read(&memory)));
            read.collect::<Vec<_>>()
        });
        for (key, content) in read.await.unwrap_or_default() {
            match content {
                Ok(payload) => values.push((key, (&payload).into())),
                Err(error) => warn!(task = %key, error = %error, "a spilled value cannot be read"),
            }
        }
    }
    let mut loan = None;
    if let Some(fetched) = reading.in_executor {
        let fetched = fetched.await.map_err(|_| Stopped)?;
        values.extend(fetched.found);
        loan = fetched.loan;
    }
    Ok(Reply {
        values,
        loan,
        spring: reading.spring,
        nbytes: reading.nbytes,
    })
}

impl Reply {
    /// As a message of which the large frames are read when they are sent.
    fn message(self) -> Vec<Frame> {
        let mut out = MessageWriter::new();
        out.write_map_len(2);
        out.write_raw(snippet!("status"));
        out.write_raw(snippet!("OK"));
        out.write_raw(snippet!("data"));
        out.write_map_len(self.values.len());
        let mut pieces = Vec::new();
        for (key, value) in self.values {
            out.write_key(&key);
            // The message names frames by their places only.
            let places = vec![Bytes::new(); value.frames.len()];
            out.write_serialized(&Payload::new(value.header.clone(), places));
            pieces.push(Piece::Here(value.header));
            pieces.extend(value.frames);
        }
        let head = out.finish().0.into_iter().take(1).map(Frame::Here);
        let pieces = pieces.into_iter();
        let pieces = pieces.map(|piece| lent::frame(piece, self.loan.as_ref()));
        head.chain(pieces).collect()
    }
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
    let reply = read(life, keys, visit.writer.is_plain()).await?;
    transfer.of(reply.nbytes);
    send(visit, reply).await
}

/// Until the peer has it, or is gone.
async fn send(visit: &mut Visit<'_>, mut reply: Reply) -> Result<(), ConnectionError> {
    let mut spring = reply.spring.take();
    let kept = Unacknowledged::new(reply.loan.clone().filter(|_| spring.is_some()));
    let sent = visit
        .writer
        .send_lent(reply.message(), spring.as_mut())
        .await;
    if spring.is_some_and(|spring| spring.is_dry()) {
        visit.life.found_slow_to_pour();
    }
    let heard: Result<_, ConnectionError> = match sent {
        Ok(()) => visit.reader.recv_value().await.map_err(Into::into),
        Err(failure) => {
            visit.life.stop_lending_after(&failure);
            Err(failure.into())
        }
    };
    kept.settled();
    match heard? {
        Some(acknowledgement) if acknowledgement.is_str("OK") => Ok(()),
        _ => Err(ConnectionError::NotAcknowledged),
    }
}
