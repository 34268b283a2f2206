//! Answers peers, clients and the scheduler: what the machine knows at once, what only Python can answer by the executor.
//!
//! Invariant: a connection answers one request after the other; a peer that breaks the protocol loses its connection.

use crate::errors;
use crate::life::{End, Life};
use crate::machine::Stopped;
use crate::{clock, logs, outgoing, peers, replicas};
use protocol::messages::{KeysOrder, Request, RequestError};
use protocol::{Frames, Text, Value, decode_message, encode_value, map};
use std::rc::Rc;
use tokio::task::JoinSet;
use tracing::debug;
use transport::{Connection, FrameReader, FrameWriter, Listener, RecvError};
use worker_core::Event;

/// Accepts until it is dropped, and connections with it.
pub async fn accept(life: Rc<Life>, listener: Listener) {
    let mut connections = JoinSet::new();
    loop {
        let incoming = listener.accept().await;
        while connections.try_join_next().is_some() {}
        let life = Rc::clone(&life);
        connections.spawn_local(async move {
            match incoming.establish().await {
                Ok(connection) => serve(&life, connection).await,
                Err(error) => debug!(error = %error, "handshake failed"),
            }
        });
    }
}

async fn serve(life: &Rc<Life>, connection: Connection) {
    let (reader, writer, info) = connection.split();
    let mut visit = Visit {
        life,
        reader,
        writer,
        peer: info.peer_address,
    };
    if let Err(error) = visit.answer().await {
        debug!(peer = visit.peer, error = %transport::with_sources(&error), "connection dropped");
    }
}

/// Why a connection was dropped.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    #[error("read")]
    Read(#[from] RecvError),
    #[error("write")]
    Write(#[from] std::io::Error),
    #[error("message not understood")]
    Decode(#[from] protocol::DecodeError),
    #[error("request not understood")]
    Request(#[from] RequestError),
    #[error("values were not acknowledged")]
    NotAcknowledged,
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// One connection.
pub struct Visit<'a> {
    pub life: &'a Rc<Life>,
    pub reader: FrameReader,
    pub writer: FrameWriter,
    pub peer: String,
}

impl Visit<'_> {
    async fn answer(&mut self) -> Result<(), ConnectionError> {
        loop {
            let Some(frames) = self.reader.recv().await? else {
                return Ok(());
            };
            let message = decode_message(&frames)?;
            // A late acknowledgement of an earlier reply asks for nothing.
            if message.is_str("OK") {
                continue;
            }
            let request = Request::from_value(message)?;
            let (wants_reply, closes) = (request.reply, request.close);
            if request.op == "close" {
                if wants_reply {
                    self.writer.send_value(&Value::text("OK")).await?;
                }
                return Ok(());
            }
            if request.op == "get_data" {
                outgoing::get_data(self, &request).await?;
            } else if let Some(reply) = self.handle(request, frames).await?
                && wants_reply
            {
                self.writer.send(&reply).await?;
            }
            if closes {
                return Ok(());
            }
        }
    }

    /// The reply, if there is to be one.
    async fn handle(
        &mut self,
        mut request: Request,
        frames: Frames,
    ) -> Result<Option<Frames>, ConnectionError> {
        let operation = request.op.to_string_lossy().into_owned();
        let reply = match operation.as_str() {
            "ping" => Value::Bin(b"pong".as_slice().into()),
            "identity" => self.identity(),
            "echo" => request.take("data"),
            "keys" => self.keys().await?,
            "update_data" => replicas::update_data(self.life, request).await?,
            "gather" => replicas::gather(self.life, request).await?,
            "get_logs" => logs::of_worker(self.life, &request).await,
            "free_keys" => self.free_keys(&request),
            "set_resources" => self.set_resources(&request),
            "terminate" => {
                let reason = request.take("reason");
                let reason = reason.as_str().unwrap_or("worker-terminate").to_owned();
                self.life.end(End::Close { reason });
                Value::text("OK")
            }
            _ => {
                let answer = self.life.ask_executor(operation, frames).await?;
                return Ok((!answer.0.is_empty()).then_some(answer));
            }
        };
        Ok(Some(encode_value(&reply)))
    }

    fn identity(&self) -> Value {
        let life = self.life;
        map! {
            "type" => "Worker",
            "id" => life.name.clone(),
            "scheduler" => life.scheduler.as_str(),
            "nthreads" => life.config.nthreads,
            "memory_limit" => life.config.memory_limit,
        }
    }

    async fn keys(&self) -> Result<Value, Stopped> {
        let keys = self.life.handle.call(|machine| {
            let keys = machine.core.held_keys();
            keys.map(|key| key.to_value()).collect::<Value>()
        });
        keys.await
    }

    fn free_keys(&self, request: &Request) -> Value {
        let keys = match peers::keys_of(request) {
            Ok(keys) => keys,
            Err(text) => return errors::reply("TypeError", &text),
        };
        let stimulus_id = stimulus(request, "free-keys");
        self.life
            .handle
            .tell(Event::FreeKeys(KeysOrder { keys, stimulus_id }));
        Value::Nil
    }

    fn set_resources(&self, request: &Request) -> Value {
        let amounts = request.arguments.as_map().unwrap_or_default().iter();
        let amounts = amounts.filter_map(|(name, amount)| Some((name.as_str()?, amount.as_f64()?)));
        let totals = amounts
            .map(|(name, amount)| (name.into(), amount))
            .collect();
        self.life.handle.tell(Event::SetResources(totals));
        Value::Nil
    }
}

/// What caused a request, as its sender calls it.
pub fn stimulus(request: &Request, name: &str) -> Text {
    match request.argument("stimulus_id").and_then(Value::as_text) {
        Some(text) => text.clone(),
        None => Text::from(format!("{name}-{}", clock::now().seconds())),
    }
}
