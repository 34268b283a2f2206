//! The course of one life: begin, register, work until there is a reason to end, end.

use crate::clock;
use crate::config::Config;
use crate::executor::line::{Line, LineReader};
use crate::executor::message::FromExecutor;
use crate::executor::process::{self, Launch, Process};
use crate::life::{End, Life, Parts};
use crate::machine::{Handle, Input, Machine};
use crate::registration::{self, Facts, Registered, RegistrationError};
use crate::{heartbeat, http, server, streams, watch};
use anyhow::{Context as _, anyhow, bail};
use protocol::messages::{Handshake, WorkerStatus, encode_worker_batch};
use protocol::{Address, Scheme, Value, encode_value, map};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::process::Child;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{debug, error, info, warn};
use transport::{Connector, ListenOptions, Listener, Pool, outbox};
use worker_core::{Check, Event, Worker};

/// What one life is begun with.
pub struct Setting<'a> {
    pub config: &'a Rc<Config>,
    pub scheduler: &'a str,
    pub name: Option<&'a str>,
    pub nanny: Option<&'a str>,
    pub http: &'a Rc<TcpListener>,
    /// Told once the scheduler has this worker.
    pub registered: &'a dyn Fn(&Rc<Life>),
}

/// What may wait for a scheduler that does not read, in bytes.
const OUTBOX_BYTES: usize = 1 << 30;
const CONNECTIONS: usize = 512;
/// For the executor's imports and preloads.
const START_LIMIT: Duration = Duration::from_secs(120);
/// For the executor's plugins to be taken down, and for what tasks still say.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
const TELL_LIMIT: Duration = Duration::from_secs(5);
const GOODBYE: Duration = Duration::from_secs(2);

/// Removed with everything in it when the life is over.
struct LocalDirectory(PathBuf);

impl Drop for LocalDirectory {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            debug!(error = %error, "the local directory is left");
        }
    }
}

impl LocalDirectory {
    fn new(base: &Path) -> anyhow::Result<Self> {
        let path = base.join(format!("worker-{}", crate::random_word()));
        std::fs::create_dir_all(&path)
            .with_context(|| format!("make the local directory {}", path.display()))?;
        Ok(Self(path))
    }
}

/// Lives until there is a reason to end. An error means that no life came to be.
pub async fn live(
    setting: &Setting<'_>,
    orders: &mut mpsc::UnboundedReceiver<End>,
) -> anyhow::Result<End> {
    let config = setting.config;
    let directory = LocalDirectory::new(&config.local_directory)?;
    let pool = Pool::new(connector(config), CONNECTIONS);
    let listener = listen(setting).await?;
    let address = contact(config, &listener, setting.scheduler).await;
    let Process {
        mut child,
        line,
        _lifeline,
    } = process::start(&Launch {
        python: config.python.clone(),
        environment: Vec::new(),
    })
    .with_context(|| format!("start the Python interpreter {}", config.python.display()))?;
    let (handle, inputs) = Handle::new();
    let (ends, mut ended) = mpsc::unbounded_channel();
    let parts = Parts {
        config: Rc::clone(config),
        scheduler: setting.scheduler.to_owned(),
        id: format!("Worker-{}", crate::random_uuid()),
        name: Value::from(setting.name.unwrap_or(&address)),
        address,
        nanny: setting.nanny.map(str::to_owned),
        local_directory: directory.0.clone(),
        handle,
        pool,
        http_port: setting
            .http
            .local_addr()
            .map_or(0, |address| address.port()),
        executor_pid: child.id().unwrap_or(0),
    };
    let life = Life::new(parts, ends);
    let mut reader = line.reader();
    let (facts, early) = start_executor(&life, &line, &mut reader, &mut child).await?;
    life.executor_pid.set(child.id().unwrap_or(0));
    life.memory_bytes
        .set(crate::measure::memory_bytes(&life.processes()));
    info!(worker = life.address, scheduler = life.scheduler, nanny = ?life.nanny, "worker starts");
    let registered = tokio::select! {
        registered = registration::register(&life, &facts) => registered.map_err(of_registration)?,
        Some(end) = orders.recv() => return Ok(end),
        status = child.wait() => bail!("keep the Python process: it {}", status.map_or_else(|error| error.to_string(), process::describe)),
    };
    info!(
        worker = life.address,
        scheduler = life.scheduler,
        "worker registered"
    );
    let mut tasks = JoinSet::new();
    tasks.spawn_local(http::serve(Rc::clone(&life), Rc::clone(setting.http)));
    begin(
        &mut tasks, &life, registered, line, reader, inputs, early, listener,
    );
    (setting.registered)(&life);
    let mut end = tokio::select! {
        Some(end) = ended.recv() => end,
        Some(end) = orders.recv() => end,
        status = child.wait() => executor_ended(&life, status),
    };
    info!(worker = life.address, reason = ?end, "worker ends");
    if let End::ExecutorLost { tasks, .. } = &mut end {
        *tasks = life.handle.call(running).await.unwrap_or_default();
    }
    finish(&life, &end, &mut child, &mut ended, orders).await;
    tasks.shutdown().await;
    if let End::ExecutorLost { cause, tasks } = &end {
        tell_loss(&life, cause, tasks).await;
    }
    drop(directory);
    Ok(end)
}

fn of_registration(error: RegistrationError) -> anyhow::Error {
    anyhow!(error)
}

fn executor_ended(life: &Life, status: std::io::Result<std::process::ExitStatus>) -> End {
    let how = status.map_or_else(|error| error.to_string(), process::describe);
    let cause = match life.memory_verdict.borrow_mut().take() {
        Some(verdict) => format!("{verdict}; it {how}"),
        None => how,
    };
    End::lost(cause)
}

fn connector(config: &Config) -> Connector {
    Connector {
        pickle_protocol: Handshake::NEWEST_PICKLES,
        ..Connector::new(config.security.clone())
    }
}

async fn listen(setting: &Setting<'_>) -> anyhow::Result<Listener> {
    let config = setting.config;
    let ports = config.worker_ports.clone();
    listen_on(config, setting.scheduler, ports)
        .await
        .context("listen for peers (--worker-port)")
}

/// Plain or encrypted as the scheduler is, unless it was said.
pub async fn listen_on(
    config: &Config,
    scheduler: &str,
    ports: std::ops::RangeInclusive<u16>,
) -> anyhow::Result<Listener> {
    let host = config.host.clone().unwrap_or_default();
    let scheme = match config.protocol.as_deref() {
        Some(protocol) => Address::parse(&format!("{protocol}://localhost:1"))?.scheme,
        None => Address::parse(scheduler)?.scheme,
    };
    let options = match scheme {
        Scheme::Tcp => ListenOptions::tcp(host, 0),
        Scheme::Tls => ListenOptions::tls(host, 0, config.security.clone()),
    };
    let options = ListenOptions {
        ports,
        pickle_protocol: Handshake::NEWEST_PICKLES,
        ..options
    };
    Ok(Listener::bind(&options).await?)
}

/// The address others are told.
pub async fn contact(config: &Config, listener: &Listener, scheduler: &str) -> String {
    if let Some(address) = &config.contact_address {
        return address.clone();
    }
    listener.contact_address(ip_of(scheduler).await)
}

async fn ip_of(address: &str) -> Option<IpAddr> {
    let host = Address::parse(address).ok()?.host;
    transport::resolve(&host).await.ok()?.first().copied()
}

/// Gives the executor its settings and waits until it is ready. What it says behind that is returned too.
async fn start_executor(
    life: &Life,
    line: &Line,
    reader: &mut LineReader,
    child: &mut Child,
) -> anyhow::Result<(Facts, Vec<FromExecutor>)> {
    line.say(|line| line.start(&settings(life)));
    line.flush();
    let greeting = tokio::time::timeout(START_LIMIT, reader.next());
    let greeting = greeting.await.context(
        "start the Python process: it did not become ready in time (its imports or a preload hang)",
    )?;
    let Some(messages) = greeting.context("start the Python process")? else {
        let status = child.wait().await.map(process::describe);
        bail!(
            "start the Python process: it {}",
            status.unwrap_or_else(|error| error.to_string())
        );
    };
    let mut messages = messages.into_iter();
    match messages.next() {
        Some(FromExecutor::Ready {
            versions,
            startup_information,
            ..
        }) => {
            let facts = Facts {
                versions: versions.detached(),
                startup_information: startup_information.detached(),
            };
            Ok((facts, messages.collect()))
        }
        Some(FromExecutor::Refused { text, traceback }) => {
            if !traceback.is_empty() {
                error!("{traceback}");
            }
            bail!("start the Python process: {text}")
        }
        other => bail!("start the Python process: it began with {other:?}"),
    }
}

fn settings(life: &Life) -> Value {
    let config = &life.config;
    let preload = config.preload.iter().map(|module| {
        let arguments = config.preload_argv.iter();
        let arguments = arguments.map(|argument| Value::from(argument.as_str()));
        Value::Array(vec![module.as_str().into(), arguments.collect()])
    });
    let resources = config.resources.iter();
    let resources = resources.map(|(name, amount)| (Value::from(&**name), Value::from(*amount)));
    let mut settings = map! {
        "address" => life.address.as_str(),
        "scheduler" => life.scheduler.as_str(),
        "id" => life.id.as_str(),
        "name" => life.name.clone(),
        "nthreads" => config.nthreads,
        "memory_limit" => config.memory_limit,
        "resources" => resources.collect::<Value>(),
        "local_directory" => life.local_directory.to_string_lossy().into_owned(),
        "preload" => preload.collect::<Value>(),
        "nanny" => life.nanny.clone(),
    };
    if let Some(tls) = &config.tls {
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let files = map! {
            "ca_file" => path(&tls.authority),
            "cert" => path(&tls.certificate),
            "key" => path(&tls.key),
            "worker_cert" => path(&tls.certificate),
            "worker_key" => path(&tls.key),
            "client_cert" => path(&tls.certificate),
            "client_key" => path(&tls.key),
        };
        settings.set("tls", files);
    }
    settings
}

fn core_config(life: &Life) -> worker_core::Config {
    let config = &life.config;
    let memory = &config.memory;
    worker_core::Config {
        resources: config.resources.clone(),
        memory_limit: config.memory_limit,
        incoming_connections: config.incoming_connections,
        memory_transfer: memory.transfer,
        memory_target: memory.target,
        memory_spill: memory.spill,
        memory_pause: memory.pause,
        memory_terminate: memory.terminate,
        max_spill: memory.max_spill_bytes,
        ..worker_core::Config::new(&life.address, config.nthreads)
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "everything a life is made of meets here once"
)]
fn begin(
    tasks: &mut JoinSet<()>,
    life: &Rc<Life>,
    registered: Registered,
    line: Line,
    executor: LineReader,
    inputs: mpsc::UnboundedReceiver<Input>,
    early: Vec<FromExecutor>,
    listener: Listener,
) {
    let (reader, writer, _) = registered.connection.split();
    let (outbox, driver) = outbox(writer, OUTBOX_BYTES);
    let seed = clock::now().0;
    let core = Worker::new(core_config(life), seed, Check::Never, clock::now());
    let machine = Machine::new(core, Rc::clone(life), line.clone(), outbox);
    tasks.spawn_local(machine.run(inputs));
    tasks.spawn_local(async move { line.drive().await });
    life.handle.send(Input::Executor(early));
    let own = Rc::clone(life);
    tasks.spawn_local(async move { streams::from_executor(&own, executor).await });
    let own = Rc::clone(life);
    tasks.spawn_local(async move {
        if let Err(failure) = driver.run(|batch| encode_worker_batch(&batch)).await {
            warn!(error = %failure, "the scheduler's stream cannot be written");
            own.end(End::SchedulerGone);
        }
    });
    tasks.spawn_local(server::accept(Rc::clone(life), listener));
    let own = Rc::clone(life);
    tasks.spawn_local(async move {
        // Tasks find the plugins in place.
        streams::install(&own, registered.plugins).await;
        own.handle.tell(Event::SetStatus(WorkerStatus::Running));
        tokio::join!(
            heartbeat::run(&own, registered.heartbeat_interval),
            watch::memory(&own),
            watch::keep_alive(&own),
            watch::find_missing(&own),
            watch::hanging(&own),
        );
    });
    let own = Rc::clone(life);
    tasks.spawn_local(async move { streams::from_scheduler(&own, reader).await });
}

/// Says goodbye to whoever is still there.
async fn finish(
    life: &Rc<Life>,
    end: &End,
    child: &mut Child,
    ended: &mut mpsc::UnboundedReceiver<End>,
    orders: &mut mpsc::UnboundedReceiver<End>,
) {
    if let End::Retire { .. } = end {
        retire(life, ended, orders).await;
    }
    if let End::ExecutorLost { .. } = end {
        return;
    }
    life.handle.tell(Event::SetStatus(WorkerStatus::Closing));
    life.handle.send(Input::Call(Box::new(|machine| {
        machine.line.say(|line| line.close("worker closes"));
    })));
    if tokio::time::timeout(CLOSE_LIMIT, child.wait())
        .await
        .is_err()
    {
        debug!("the Python process did not end in time and is killed");
        // It may end at this moment.
        let _gone = child.kill().await;
    }
    life.handle
        .send(Input::Call(Box::new(Machine::close_stream)));
    // The scheduler closes its end once it has read that.
    let gone = async {
        while ended
            .recv()
            .await
            .is_some_and(|end| end != End::SchedulerGone)
        {}
    };
    if *end != End::SchedulerGone {
        let _late = tokio::time::timeout(GOODBYE, gone).await;
    }
}

/// Has the scheduler copy elsewhere what only this worker holds, for as long as tasks may drain.
async fn retire(
    life: &Rc<Life>,
    ended: &mut mpsc::UnboundedReceiver<End>,
    orders: &mut mpsc::UnboundedReceiver<End>,
) {
    let request = map! {
        "op" => "retire_workers",
        "reply" => true,
        "workers" => Value::Array(vec![life.address.as_str().into()]),
        "close_workers" => false,
        "remove" => true,
        "stimulus_id" => format!("worker-close-gracefully-{}", clock::now().seconds()),
    };
    let request = encode_value(&request);
    let asked = life.pool.call(&life.scheduler, &request);
    tokio::select! {
        answer = tokio::time::timeout(life.config.drain_timeout, asked) => match answer {
            Ok(Ok(_)) => info!("everything was handed over"),
            Ok(Err(failure)) => warn!(error = %transport::with_sources(&failure), "retiring failed"),
            Err(_) => warn!("not everything was handed over in time (--drain-timeout)"),
        },
        _ = ended.recv() => {}
        _ = orders.recv() => {}
    }
}

/// At most so many tasks are named as those that ran.
const TASKS_NAMED: usize = 8;

fn running(machine: &mut Machine) -> Vec<String> {
    let executing = machine.core.executing(clock::now());
    let names = executing.map(|(key, _)| key.to_string());
    names.take(TASKS_NAMED).collect()
}

/// The scheduler learns at once that this worker is lost, and why.
async fn tell_loss(life: &Life, cause: &str, tasks: &[String]) {
    error!(
        worker = life.address,
        cause,
        ?tasks,
        "the Python process is lost"
    );
    let running: Value = tasks
        .iter()
        .map(|task| Value::from(task.as_str()))
        .collect();
    let event = map! {
        "op" => "log_event",
        "reply" => true,
        "topic" => Value::Array(vec![life.address.as_str().into(), "worker-lost".into()]),
        "msg" => map! {"action" => "worker-executor-lost", "worker" => life.address.as_str(), "reason" => cause, "tasks" => running},
    };
    let unregister = map! {
        "op" => "unregister",
        "reply" => true,
        "address" => life.address.as_str(),
        "stimulus_id" => format!("worker-executor-lost-{}", clock::now().seconds()),
    };
    let told = async {
        life.tell_scheduler(&event).await;
        life.tell_scheduler(&unregister).await;
    };
    if tokio::time::timeout(TELL_LIMIT, told).await.is_err() {
        warn!("the scheduler could not be told that its worker is lost");
    }
}

/// Where a nanny is reached: a contact address that was given is the worker's.
pub async fn contact_of_nanny(listener: &Listener, scheduler: &str) -> String {
    listener.contact_address(ip_of(scheduler).await)
}
