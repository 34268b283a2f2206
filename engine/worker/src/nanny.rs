//! The second address of a worker: who asks it has lives ended and begun, whatever the worker itself is doing.
//!
//! Owns who waits for what becomes of the worker; the supervisor does it.

use crate::errors;
use crate::life::End;
use crate::logs;
use protocol::messages::Request;
use protocol::{EnumMember, Text, Value, decode_message, map};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{debug, error};
use transport::{Connection, Connector, Listener};

/// How far the supervisor is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stage {
    /// How many lives have registered, and how many of them have ended.
    pub registered: u64,
    pub ended: u64,
    pub is_alive: bool,
}

pub struct Nanny {
    pub address: RefCell<Option<String>>,
    /// No further life is to begin.
    pub is_over: Cell<bool>,
    pub stage: watch::Sender<Stage>,
    orders: mpsc::UnboundedSender<End>,
    nthreads: usize,
    scheduler: String,
}

impl Nanny {
    pub fn new(orders: mpsc::UnboundedSender<End>, nthreads: usize, scheduler: String) -> Rc<Self> {
        Rc::new(Self {
            address: RefCell::default(),
            is_over: Cell::new(false),
            stage: watch::Sender::new(Stage::default()),
            orders,
            nthreads,
            scheduler,
        })
    }

    pub fn registered(&self) {
        self.stage.send_modify(|stage| {
            stage.registered += 1;
            stage.is_alive = true;
        });
    }

    pub fn died(&self) {
        self.stage.send_modify(|stage| {
            stage.ended += u64::from(stage.is_alive);
            stage.is_alive = false;
        });
    }

    /// Ends the present life, if there is one, and all to come.
    pub fn finish(&self, end: End) {
        self.is_over.set(true);
        self.order(end);
    }

    /// Ends the present life, if there is one.
    pub fn order(&self, end: End) {
        // Without a supervisor there is nothing left to end.
        let _over = self.orders.send(end);
    }

    async fn until(&self, reached: impl FnMut(&Stage) -> bool) {
        // The sender is this very value, so it is there as long as somebody waits.
        let mut stage = self.stage.subscribe();
        let _always = stage.wait_for(reached).await;
    }

    /// Returns when the worker is gone. The next begins by itself, as with stock.
    async fn kill(&self) {
        let before = *self.stage.borrow();
        if before.is_alive {
            let reason = "nanny-kill".to_owned();
            self.order(End::Restart { reason });
            self.until(|stage| stage.ended > before.ended).await;
        }
    }

    async fn instantiate(&self) {
        self.until(|stage| stage.is_alive).await;
    }

    async fn restart(&self) {
        let before = self.stage.borrow().registered;
        let reason = "nanny-restart".to_owned();
        self.order(End::Restart { reason });
        self.until(|stage| stage.is_alive && stage.registered > before)
            .await;
    }

    async fn answer(&self, request: &Request) -> Value {
        let operation = request.op.to_string_lossy();
        match &*operation {
            "kill" => {
                self.kill().await;
                Value::Nil
            }
            "instantiate" => {
                self.instantiate().await;
                status("running")
            }
            "restart" => {
                self.restart().await;
                Value::text("OK")
            }
            "terminate" => {
                let reason = "nanny-terminate".to_owned();
                self.finish(End::Close { reason });
                Value::text("OK")
            }
            "close_gracefully" => {
                self.is_over.set(true);
                Value::Nil
            }
            "ping" => Value::Bin(b"pong".as_slice().into()),
            "identity" => map! {
                "type" => "Nanny",
                "id" => self.address.borrow().clone(),
                "scheduler" => self.scheduler.as_str(),
                "nthreads" => self.nthreads,
            },
            "get_logs" => logs::of_program(request),
            "run" | "plugin_add" | "plugin_remove" => {
                let text = format!("the nanny of daskjob-worker does not serve {operation} yet");
                errors::reply("NotImplementedError", &text)
            }
            _ => Value::Nil,
        }
    }
}

fn status(member: &'static str) -> Value {
    Value::Enum(Box::new(EnumMember {
        module: Text::from_static("distributed.core"),
        class: Text::from_static("Status"),
        member: Text::from_static(member),
    }))
}

/// Answers until it is dropped.
pub async fn serve(nanny: Rc<Nanny>, listener: Listener) {
    let mut connections = JoinSet::new();
    loop {
        let incoming = listener.accept().await;
        while connections.try_join_next().is_some() {}
        let nanny = Rc::clone(&nanny);
        connections.spawn_local(async move {
            match incoming.establish().await {
                Ok(connection) => visit(&nanny, connection).await,
                Err(error) => debug!(error = %error, "handshake with a nanny failed"),
            }
        });
    }
}

async fn visit(nanny: &Nanny, mut connection: Connection) {
    while let Ok(Some(frames)) = connection.recv().await {
        let request = decode_message(&frames).ok().map(Request::from_value);
        let Some(Ok(request)) = request else {
            return;
        };
        let reply = match request.op == "close" {
            true => Value::text("OK"),
            false => nanny.answer(&request).await,
        };
        let sent = match request.reply {
            true => connection.send_value(&reply).await,
            false => Ok(()),
        };
        if sent.is_err() || request.close || request.op == "close" {
            return;
        }
    }
}

/// Between two attempts to reach the scheduler, at first and in the end.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_secs(10);

/// Tells the scheduler of the nanny, as soon as it can be had, and then that its worker has begun. Why it cannot is the
/// worker's to complain of.
pub async fn announce(nanny: Rc<Nanny>, connector: Connector) {
    let mut pause = FIRST_PAUSE;
    let mut connection = loop {
        match register(&nanny, &connector).await {
            Ok(connection) => break connection,
            Err(failure) => debug!(error = failure, "the nanny is not announced yet"),
        }
        tokio::time::sleep(pause).await;
        pause = LAST_PAUSE.min(pause * 2);
    };
    nanny.until(|stage| stage.is_alive).await;
    // A scheduler that is gone needs no confirmation.
    let _gone = connection.send_value(&map! {"status" => "ok"}).await;
}

/// A text is a reason to try again.
async fn register(nanny: &Nanny, connector: &Connector) -> Result<Connection, String> {
    let address = nanny.address.borrow().clone();
    let message = map! {"op" => "register_nanny", "reply" => true, "address" => address};
    let connection = connector.connect(&nanny.scheduler).await;
    let mut connection = connection.map_err(|error| transport::with_sources(&error))?;
    let sent = connection.send_value(&message).await;
    sent.map_err(|error| error.to_string())?;
    let reply = connection.recv_value().await;
    let reply = reply.map_err(|error| transport::with_sources(&error))?;
    let reply = reply.ok_or("the scheduler closed the connection")?;
    let plugins = reply.get("nanny-plugins").and_then(Value::as_map);
    for (name, _) in plugins.unwrap_or_default() {
        error!(plugin = ?name, "nanny plugins are not served yet: this one has no effect");
    }
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;
    use transport::ListenOptions;

    const PATIENCE: Duration = Duration::from_secs(60);

    #[tokio::test(flavor = "current_thread")]
    async fn a_nanny_is_announced_to_a_scheduler_that_comes_late() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let (orders, _unheard) = mpsc::unbounded_channel();
        let nanny = Nanny::new(orders, 1, format!("tcp://127.0.0.1:{port}"));
        *nanny.address.borrow_mut() = Some("tcp://127.0.0.1:1".to_owned());
        nanny.registered();
        let connector = Connector {
            connect_timeout: Duration::from_millis(1),
            ..Connector::default()
        };
        assert!(register(&nanny, &connector).await.is_err());
        let patient = Connector {
            connect_timeout: Duration::from_millis(300),
            ..connector
        };
        let scheduler = async {
            // Longer than a single attempt.
            tokio::time::sleep(patient.connect_timeout * 3).await;
            let listener = Listener::bind(&ListenOptions::tcp("127.0.0.1", port)).await;
            let listener = listener.unwrap();
            let mut nanny = loop {
                // One that was given up on is followed by another.
                if let Ok(nanny) = listener.accept().await.establish().await {
                    break nanny;
                }
            };
            let request = nanny.recv_value().await.unwrap().unwrap();
            assert!(
                request
                    .get("op")
                    .is_some_and(|op| op.is_str("register_nanny"))
            );
            let reply = map! {"status" => "ok", "nanny-plugins" => map! {}};
            nanny.send_value(&reply).await.unwrap();
            nanny.recv_value().await.unwrap().unwrap()
        };
        let both = async { tokio::join!(announce(Rc::clone(&nanny), patient.clone()), scheduler) };
        let (_, confirmation) = tokio::time::timeout(PATIENCE, both).await.unwrap();
        assert!(confirmation.get("status").is_some_and(|it| it.is_str("ok")));
    }
}
