//! The course of one life: begin, register, work until there is a reason to end, end.

use crate::clock;
use crate::config::Config;
use crate::directory::{self, LocalDirectory};
use crate::ending::{self, Ending};
use crate::executor::lent;
use crate::executor::line::{Line, LineReader};
use crate::executor::message::FromExecutor;
use crate::executor::process::{self, Launch, Process};
use crate::executor::shared::SharedMemory;
use crate::life::{End, Life, Parts};
use crate::machine::{Handle, Input, Machine};
use crate::nanny::Nanny;
use crate::registration::{self, Facts, Registered, RegistrationError};
use crate::{heartbeat, http, server, streams, watch};
use anyhow::{Context as _, anyhow, bail};
use bytes::Bytes;
use protocol::messages::{Handshake, WorkerStatus, encode_worker_batch};
use protocol::{Address, FrameMemory, Scheme, Value, array, map};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::process::Child;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tracing::{debug, error, info};
use transport::{Connector, ListenOptions, Listener, Pool, outbox};
use worker_core::{Check, Event, Worker};

/// What one life is begun with.
pub struct Setting<'a> {
    pub config: &'a Rc<Config>,
    pub scheduler: &'a str,
    pub name: Option<&'a str>,
    pub nanny: &'a Rc<Nanny>,
    pub http: &'a Rc<TcpListener>,
}

/// What may wait for a scheduler that does not read, in bytes.
const OUTBOX_BYTES: usize = 1 << 30;
const CONNECTIONS: usize = 512;
/// For the executor's imports and preloads.
pub const START_LIMIT: Duration = Duration::from_secs(120);
/// For a process whose line has ended to have ended too.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Lives until there is a reason to end. An error means that no life came to be.
pub async fn live(
    setting: &Setting<'_>,
    orders: &mut mpsc::UnboundedReceiver<End>,
) -> anyhow::Result<End> {
    let config = setting.config;
    let directory = LocalDirectory::new(&config.local_directory, config.file_locks)?;
    if config.file_locks {
        remove_abandoned_beside(&directory);
    }
    let memory = SharedMemory::new(config.memory_limit);
    let pool = Pool::new(connector(config, &memory), CONNECTIONS);
    let listener = listen(setting, &memory).await?;
    let environment = setting.nanny.environment();
    // Imports take longer than anything a name server may have to say.
    let Process {
        mut child,
        line,
        _lifeline,
    } = process::start(
        &Launch {
            python: config.python.clone(),
            environment: environment.clone(),
        },
        &memory,
    )
    .with_context(|| format!("start the Python interpreter {}", config.python.display()))?;
    let address = tokio::select! {
        address = contact(config, &listener, setting.scheduler) => address,
        Some(end) = orders.recv() => return Ok(end),
    };
    let (handle, inputs) = Handle::new();
    let (ends, mut ended) = mpsc::unbounded_channel();
    let parts = Parts {
        config: Rc::clone(config),
        scheduler: setting.scheduler.to_owned(),
        id: format!("Worker-{}", crate::random_uuid()),
        name: name_of(setting.name.unwrap_or(&address)),
        address,
        nanny: setting.nanny.address.borrow().clone(),
        local_directory: directory.path().to_owned(),
        handle,
        pool,
        http_port: setting
            .http
            .local_addr()
            .map_or(0, |address| address.port()),
        executor_pid: child.id().unwrap_or(0),
        memory,
    };
    let life = Life::new(parts, ends);
    let mut reader = line.reader();
    let (facts, early) = tokio::select! {
        started = start_executor(&life, &line, &mut reader, &mut child) => started?,
        Some(end) = orders.recv() => return Ok(end),
    };
    tokio::select! {
        () = setting.nanny.has_asked_for_plugins() => {}
        Some(end) = orders.recv() => return Ok(end),
    }
    if setting.nanny.environment() != environment {
        let reason = "plugins of the nanny have changed the environment".to_owned();
        return Ok(End::Restart { reason });
    }
    life.executor_pid.set(child.id().unwrap_or(0));
    life.memory_bytes.set(crate::measure::memory_bytes(
        &life.processes(),
        life.memory.bytes(),
    ));
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
    setting.nanny.registered(&life);
    let end = tokio::select! {
        end = lifetime(config) => end,
        Some(end) = ended.recv() => end,
        Some(end) = orders.recv() => end,
        status = child.wait() => ending::executor_ended(&life, status),
    };
    info!(worker = life.address, reason = ?end, "worker ends");
    let ending = Ending::new(&life, &end);
    let end = ending.finish(end, &mut child, &mut ended, orders).await;
    tasks.shutdown().await;
    if let End::ExecutorLost(loss) = &end {
        ending.tell_loss(loss).await;
    }
    drop(directory);
    Ok(end)
}

/// In the background: there may be much of it.
fn remove_abandoned_beside(directory: &LocalDirectory) {
    let path = directory.path().to_owned();
    tokio::task::spawn_blocking(move || {
        if let Err(error) = directory::remove_abandoned(&path) {
            debug!(error = %error, "what killed workers left is not looked at");
        }
    });
}

/// A name that is a number is one, as in stock: whoever asks for worker 3 means this one.
fn name_of(text: &str) -> Value {
    text.parse::<i64>()
        .map_or_else(|_| text.into(), Value::from)
}

fn of_registration(error: RegistrationError) -> anyhow::Error {
    anyhow!(error)
}

/// Until a life has lasted as long as it may.
async fn lifetime(config: &Config) -> End {
    let Some(lifetime) = &config.lifetime else {
        return std::future::pending().await;
    };
    let stagger = lifetime.stagger.as_secs_f64() * (2.0 * crate::random_share() - 1.0);
    let seconds = (lifetime.duration.as_secs_f64() + stagger).max(0.0);
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
    End::Retire {
        reason: "the lifetime is over".to_owned(),
        again: lifetime.restart,
    }
}

fn connector(config: &Config, memory: &Arc<SharedMemory>) -> Connector {
    Connector {
        pickle_protocol: Handshake::NEWEST_PICKLES,
        memory: Some(Arc::clone(memory) as Arc<dyn FrameMemory>),
        connect_timeout: config.connect_timeout,
        tcp_timeout: config.tcp_timeout,
        ..Connector::new(config.security.clone())
    }
}

async fn listen(setting: &Setting<'_>, memory: &Arc<SharedMemory>) -> anyhow::Result<Listener> {
    let config = setting.config;
    let ports = config.worker_ports.clone();
    let memory = Arc::clone(memory) as Arc<dyn FrameMemory>;
    listen_on(config, setting.scheduler, ports, Some(memory))
        .await
        .context("listen for peers (--worker-port)")
}

/// Plain or encrypted as the scheduler is, unless it was said.
pub async fn listen_on(
    config: &Config,
    scheduler: &str,
    ports: std::ops::RangeInclusive<u16>,
    memory: Option<Arc<dyn FrameMemory>>,
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
        tcp_timeout: config.tcp_timeout,
        memory,
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
    let greeting = tokio::time::timeout(START_LIMIT, greeting(reader, child));
    let (early, greeting) = greeting.await.context(
        "start the Python process: it did not become ready in time (its imports or a preload hang)",
    )??;
    match greeting {
        FromExecutor::Ready {
            versions,
            startup_information,
            process,
            probe,
        } => {
            begin_lending(life, line, process.zip(probe));
            let facts = Facts {
                versions: versions.detached(),
                startup_information: startup_information.detached(),
            };
            Ok((facts, early))
        }
        FromExecutor::Refused { text, traceback } => {
            if !traceback.is_empty() {
                error!("{traceback}");
            }
            bail!("start the Python process: {text}")
        }
        other => bail!("start the Python process: it began with {other:?}"),
    }
}

/// Whether the executor could start, and all else it said: preloads have their say before.
pub async fn greeting(
    reader: &mut LineReader,
    child: &mut Child,
) -> anyhow::Result<(Vec<FromExecutor>, FromExecutor)> {
    let mut others = Vec::new();
    loop {
        let messages = match reader.next().await {
            Ok(Some(messages)) => messages,
            // One that has ended may have left unread what was written to it: how it ended tells more than a broken line.
            ended => {
                let status = tokio::time::timeout(LAST_WORDS, child.wait()).await;
                if let (Err(failure), Err(_)) = (ended, &status) {
                    return Err(failure).context("start the Python process");
                }
                let status = status.context("start the Python process: its line ended")?;
                bail!(
                    "start the Python process: it {}",
                    status.map_or_else(|error| error.to_string(), process::describe)
                );
            }
        };
        let mut greeting = None;
        for message in messages {
            match message {
                FromExecutor::Ready { .. } | FromExecutor::Refused { .. } => {
                    greeting = Some(message);
                }
                message => others.push(message),
            }
        }
        if let Some(greeting) = greeting {
            return Ok((others, greeting));
        }
    }
}

/// From an executor whose memory can be read large values are read where they are.
fn begin_lending(life: &Life, line: &Line, probe: Option<(i32, (u64, Bytes))>) {
    match probe {
        Some((process, (address, content))) if lent::may_read(process, address, &content) => {
            life.lender.set(process);
            line.say(|line| line.lend(true));
        }
        _ => debug!("memory of the Python process cannot be read; large values are copied"),
    }
}

fn settings(life: &Life) -> Value {
    let mut settings = common_settings(&life.config);
    settings.set("address", life.address.as_str());
    settings.set("scheduler", life.scheduler.as_str());
    settings.set("id", life.id.as_str());
    settings.set("name", life.name.clone());
    settings.set(
        "local_directory",
        life.local_directory.to_string_lossy().into_owned(),
    );
    settings.set("nanny", life.nanny.clone());
    settings
}

/// What the nanny's Python is started with.
pub fn settings_of_nanny(config: &Config, name: Option<&str>, scheduler: &str) -> Value {
    let mut settings = common_settings(config);
    settings.set("role", "nanny");
    settings.set("scheduler", scheduler);
    settings.set("name", name.map(name_of));
    settings.set(
        "local_directory",
        config.local_directory.to_string_lossy().into_owned(),
    );
    settings.set(
        "preload_nanny",
        preloads(&config.preload_nanny, &config.preload_nanny_argv),
    );
    settings
}

fn preloads(modules: &[String], arguments: &[String]) -> Value {
    let arguments = arguments
        .iter()
        .map(|argument| Value::from(argument.as_str()));
    let arguments: Value = arguments.collect();
    let modules = modules.iter();
    let modules = modules.map(|module| array![module.as_str(), arguments.clone()]);
    modules.collect()
}

fn common_settings(config: &Config) -> Value {
    let resources = config.resources.iter();
    let resources = resources.map(|(name, amount)| (Value::from(&**name), Value::from(*amount)));
    let mut settings = map! {
        "nthreads" => config.nthreads,
        "memory_limit" => config.memory_limit,
        "resources" => resources.collect::<Value>(),
        "preload" => preloads(&config.preload, &config.preload_argv),
        "silence_logs" => config.silence_logs,
    };
    if let Some(tls) = &config.tls {
        let (certificate, key) = (tls.certificate.as_str(), tls.key.as_str());
        let files = map! {
            "ca_file" => tls.authority.as_str(),
            "cert" => certificate,
            "key" => key,
            "worker_cert" => certificate,
            "worker_key" => key,
            "client_cert" => certificate,
            "client_key" => key,
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
        message_bytes_limit: config.message_bytes_limit,
        default_data_size: config.default_data_size,
        low_level_log_length: config.low_level_log_length,
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
            info!(error = %failure, "the scheduler's stream cannot be written");
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
            watch::kept_memory(&own),
            watch::keep_alive(&own),
            watch::find_missing(&own),
            watch::hanging(&own),
            watch::kills(&own),
        );
    });
    let own = Rc::clone(life);
    tasks.spawn_local(async move { streams::from_scheduler(&own, reader).await });
}

/// Where a nanny is reached: a contact address that was given is the worker's.
pub async fn contact_of_nanny(listener: &Listener, scheduler: &str) -> String {
    listener.contact_address(ip_of(scheduler).await)
}
