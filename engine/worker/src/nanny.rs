//! The second address of a worker: who asks it has lives ended and begun, whatever the worker itself is doing.
//!
//! Owns who waits for what becomes of the worker, which the supervisor does, and which plugins there are for nannies, whose
//! Python is `nanny_python`'s. Invariant: no worker registers before the plugins that the scheduler had for its nanny.

use crate::config::Config;
use crate::executor::process::Launch;
use crate::life::{End, Life};
use crate::nanny_python::NannyPython;
use crate::{errors, living, logs};
use protocol::messages::Request;
use protocol::{Address, EnumMember, Frames, Text, Value, decode_message, encode_value, map};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tracing::{debug, error, warn};
use transport::{Connection, Connector, Listener};

/// How far the supervisor is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stage {
    /// How many lives have registered, and how many of them have ended.
    pub registered: u64,
    pub ended: u64,
    pub is_alive: bool,
}

/// For a worker that a plugin has started anew, as with stock.
const RESTART_LIMIT: Duration = Duration::from_secs(30);

pub struct Nanny {
    pub address: RefCell<Option<String>>,
    /// No further life is to begin.
    pub is_over: Cell<bool>,
    pub stage: watch::Sender<Stage>,
    /// Plugins for nannies that the scheduler has are in place, or it is not there yet.
    has_asked: watch::Sender<bool>,
    /// Those that are, by name.
    plugins: RefCell<Vec<(Value, Value)>>,
    python: NannyPython,
    orders: mpsc::UnboundedSender<End>,
    config: Rc<Config>,
    scheduler: String,
}

impl Nanny {
    pub fn new(
        config: &Rc<Config>,
        name: Option<&str>,
        scheduler: String,
        orders: mpsc::UnboundedSender<End>,
    ) -> Rc<Self> {
        let launch = Launch {
            python: config.python.clone(),
            environment: config.environment.clone(),
        };
        let settings = living::settings_of_nanny(config, name, &scheduler);
        Rc::new(Self {
            address: RefCell::default(),
            is_over: Cell::new(false),
            stage: watch::Sender::new(Stage::default()),
            has_asked: watch::Sender::new(!config.nanny),
            plugins: RefCell::default(),
            python: NannyPython::new(launch, settings, orders.clone()),
            orders,
            config: Rc::clone(config),
            scheduler,
        })
    }

    /// What the worker's process is started with.
    pub fn environment(&self) -> Vec<(String, String)> {
        let mut environment = self.config.environment.clone();
        environment.extend(self.python.environment());
        environment
    }

    /// Returns when the first worker may register.
    pub async fn has_asked_for_plugins(&self) {
        // The sender is this very value.
        let mut asked = self.has_asked.subscribe();
        let _always = asked.wait_for(|asked| *asked).await;
    }

    pub async fn start_python(&self) -> anyhow::Result<()> {
        self.python.start().await
    }

    pub async fn close(&self) {
        self.python.close().await;
    }

    pub fn listens_at(&self, address: String) {
        self.python.is_at(&address);
        *self.address.borrow_mut() = Some(address);
    }

    pub fn registered(&self, life: &Life) {
        self.stage.send_modify(|stage| {
            stage.registered += 1;
            stage.is_alive = true;
        });
        let worker = map! {
            "address" => life.address.as_str(),
            "pid" => life.executor_pid.get(),
            "local_directory" => life.local_directory.to_string_lossy().into_owned(),
        };
        self.python.tell_worker(worker);
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

    async fn answer(&self, request: &Request, frames: &Frames) -> Frames {
        let operation = request.op.to_string_lossy();
        match &*operation {
            "plugin_add" => {
                let argument = |name| request.argument(name).cloned().unwrap_or_default();
                self.note_plugin(argument("name"), argument("plugin"));
                self.by_python(&operation, frames).await
            }
            "plugin_remove" => {
                let name = request.argument("name");
                self.forget_plugin(name.unwrap_or(&Value::Nil));
                self.by_python(&operation, frames).await
            }
            "run" => self.by_python(&operation, frames).await,
            _ => encode_value(&self.own_answer(&operation, request).await),
        }
    }

    /// Whether it is another than the one that is there by its name.
    fn note_plugin(&self, name: Value, plugin: Value) -> bool {
        let mut plugins = self.plugins.borrow_mut();
        let entry = (name, plugin);
        if plugins.contains(&entry) {
            return false;
        }
        plugins.retain(|(known, _)| *known != entry.0);
        plugins.push(entry);
        true
    }

    fn forget_plugin(&self, name: &Value) {
        self.plugins.borrow_mut().retain(|(known, _)| known != name);
    }

    /// What only Python can answer; where it wants the worker anew, after that.
    async fn by_python(&self, operation: &str, frames: &Frames) -> Frames {
        let before = self.stage.borrow().registered;
        match self.python.ask(operation, frames).await {
            Ok(answer) => {
                if self.python.take_restart() {
                    let anew = self.until(|stage| stage.is_alive && stage.registered > before);
                    if tokio::time::timeout(RESTART_LIMIT, anew).await.is_err() {
                        warn!("the worker has not begun anew in time");
                    }
                }
                answer
            }
            Err(failure) => {
                let text = format!("the nanny failed to {failure:#}");
                encode_value(&errors::reply("RuntimeError", &text))
            }
        }
    }

    async fn own_answer(&self, operation: &str, request: &Request) -> Value {
        match operation {
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
                "nthreads" => self.config.nthreads,
            },
            "get_logs" => logs::of_program(request),
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
            true => encode_value(&Value::text("OK")),
            false => nanny.answer(&request, &frames).await,
        };
        let sent = match request.reply {
            true => connection.send(&reply).await,
            false => Ok(()),
        };
        if sent.is_err() || request.close || request.op == "close" {
            return;
        }
    }
}

/// Between two attempts to reach the scheduler, at first and in the end.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_secs(5);
/// How long an attempt may take; the first is waited for by the worker.
const FIRST_PATIENCE: Duration = Duration::from_secs(1);
const LAST_PATIENCE: Duration = Duration::from_secs(8);

/// Tells the scheduler of the nanny, as soon as it can be had, takes its plugins, and tells that the worker has begun. Why
/// it cannot be had is the worker's to complain of.
pub async fn announce(nanny: Rc<Nanny>, connector: Connector) {
    let (mut pause, mut patience) = (FIRST_PAUSE, FIRST_PATIENCE);
    let (mut connection, plugins) = loop {
        let registered = register(&nanny, &connector);
        match tokio::time::timeout(patience, registered).await {
            Ok(Ok(registered)) => break registered,
            Ok(Err(failure)) => debug!(error = failure, "the nanny is not announced yet"),
            Err(_) => debug!("the nanny is not announced yet: no answer"),
        }
        nanny.has_asked.send_replace(true);
        tokio::time::sleep(pause).await;
        (pause, patience) = (LAST_PAUSE.min(pause * 2), LAST_PATIENCE.min(patience * 2));
    };
    for (name, plugin) in plugins {
        nanny.install(name, plugin).await;
    }
    nanny.has_asked.send_replace(true);
    nanny.until(|stage| stage.is_alive).await;
    // A scheduler that is gone needs no confirmation.
    let _gone = connection.send_value(&map! {"status" => "ok"}).await;
}

/// The connection, and the plugins the scheduler has for nannies; a text is a reason to try again.
async fn register(
    nanny: &Nanny,
    connector: &Connector,
) -> Result<(Connection, Vec<(Value, Value)>), String> {
    let address = nanny.address.borrow().clone();
    let message = map! {"op" => "register_nanny", "reply" => true, "address" => address};
    let scheduler = Address::parse(&nanny.scheduler).map_err(|error| error.to_string())?;
    let connection = connector.connect_once(&scheduler).await;
    let mut connection = connection.map_err(|error| transport::with_sources(&error))?;
    let sent = connection.send_value(&message).await;
    sent.map_err(|error| error.to_string())?;
    let reply = connection.recv_value().await;
    let reply = reply.map_err(|error| transport::with_sources(&error))?;
    let mut reply = reply.ok_or("the scheduler closed the connection")?;
    let plugins = reply.take("nanny-plugins").and_then(Value::into_map);
    Ok((connection, plugins.unwrap_or_default()))
}

impl Nanny {
    /// A plugin that the scheduler has, unless a client was faster. The worker is not waited for: it may wait for this.
    async fn install(&self, name: Value, plugin: Value) {
        if !self.note_plugin(name.clone(), plugin.clone()) {
            return;
        }
        let request =
            map! {"op" => "plugin_add", "reply" => true, "name" => name, "plugin" => plugin};
        if let Err(failure) = self.python.ask("plugin_add", &encode_value(&request)).await {
            error!(
                error = format!("{failure:#}"),
                "a plugin of the nanny has no effect"
            );
        }
        self.python.take_restart();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WorkerArgs;
    use configuration::Environment;
    use transport::ListenOptions;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn config() -> Rc<Config> {
        let args = WorkerArgs {
            scheduler: Some("tcp://127.0.0.1:9".to_owned()),
            dashboard_address: ":0".to_owned(),
            ..WorkerArgs::default()
        };
        let environment = Environment {
            variables: vec![("DASK_ROOT_CONFIG".to_owned(), "/nonexistent".to_owned())],
            python_prefix: None,
        };
        let config = Config::new(&args, "/nonexistent".into(), &environment);
        Rc::new(config.unwrap())
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_nanny_is_announced_to_a_scheduler_that_comes_late() {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = free.local_addr().unwrap().port();
        drop(free);
        let (orders, _unheard) = mpsc::unbounded_channel();
        let nanny = Nanny::new(&config(), None, format!("tcp://127.0.0.1:{port}"), orders);
        nanny.listens_at("tcp://127.0.0.1:1".to_owned());
        nanny.stage.send_modify(|stage| stage.is_alive = true);
        let connector = Connector::default();
        assert!(register(&nanny, &connector).await.is_err());
        let scheduler = async {
            nanny.has_asked_for_plugins().await;
            let listener = Listener::bind(&ListenOptions::tcp("127.0.0.1", port)).await;
            let listener = listener.unwrap();
            let mut visitor = loop {
                // One that was given up on is followed by another.
                if let Ok(visitor) = listener.accept().await.establish().await {
                    break visitor;
                }
            };
            let request = visitor.recv_value().await.unwrap().unwrap();
            assert!(
                request
                    .get("op")
                    .is_some_and(|op| op.is_str("register_nanny"))
            );
            let reply = map! {"status" => "ok", "nanny-plugins" => map! {}};
            visitor.send_value(&reply).await.unwrap();
            visitor.recv_value().await.unwrap().unwrap()
        };
        let both = async { tokio::join!(announce(Rc::clone(&nanny), connector), scheduler) };
        let (_, confirmation) = tokio::time::timeout(PATIENCE, both).await.unwrap();
        assert!(confirmation.get("status").is_some_and(|it| it.is_str("ok")));
    }
}
