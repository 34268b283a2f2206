//! What a worker answers over HTTP: whether it lives, and its numbers in Prometheus' text format.
//!
//! Names of metrics are stock Dask's; left out is what nothing here has: Python's garbage collector and lock, latency and
//! ticks. Invariant: a visitor costs bounded memory and time, however it behaves.

use crate::life::{Life, Spills, Traffic};
use crate::machine::Machine;
use contract::http as paths;
use std::fmt::Write as _;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use worker_core::{IncomingTransfers, ManagedMemory};

/// Visitors at a time; more are turned away.
const VISITORS: usize = 32;
/// For a request to come and its answer to leave.
const VISIT: Duration = Duration::from_secs(15);
const HEAD_BYTES: usize = 8 * 1024;
/// Between attempts to accept when that failed.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers until it is dropped.
pub async fn serve(life: Rc<Life>, listener: Rc<TcpListener>) {
    let mut visitors = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                while visitors.try_join_next().is_some() {}
                if visitors.len() < VISITORS {
                    let life = Rc::clone(&life);
                    visitors.spawn_local(async move {
                        // Whoever is slow or gone gets no answer.
                        let _late = tokio::time::timeout(VISIT, visit(&life, stream)).await;
                    });
                }
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

async fn visit(life: &Life, mut stream: TcpStream) -> std::io::Result<()> {
    let mut head = Vec::with_capacity(1024);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() >= HEAD_BYTES || stream.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8_lossy(&head);
    let mut words = head.lines().next().unwrap_or_default().split(' ');
    let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let path = target.split('?').next().unwrap_or("");
    let path = path.strip_prefix(&*life.config.http_prefix).unwrap_or(path);
    let (status, kind, body) = answer(life, method, path).await;
    let body_sent = if method == "HEAD" { "" } else { &body };
    let reply = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body_sent}",
        body.len()
    );
    stream.write_all(reply.as_bytes()).await?;
    stream.shutdown().await
}

async fn answer(life: &Life, method: &str, path: &str) -> (&'static str, &'static str, String) {
    const TEXT: &str = "text/plain";
    if !matches!(method, "GET" | "HEAD") {
        return ("405 Method Not Allowed", TEXT, "only GET\n".to_owned());
    }
    match path {
        paths::HEALTH => ("200 OK", TEXT, "ok".to_owned()),
        paths::METRICS => match life.handle.call(Figures::of).await {
            Ok(figures) => ("200 OK", "text/plain; version=0.0.4", figures.text(life)),
            Err(stopped) => ("503 Service Unavailable", TEXT, stopped.to_string()),
        },
        _ => {
            let known = format!("there are {} and {}\n", paths::HEALTH, paths::METRICS);
            ("404 Not Found", TEXT, known)
        }
    }
}

/// What the machine has to say.
struct Figures {
    tasks: Vec<(&'static str, usize)>,
    threads: usize,
    managed: ManagedMemory,
    incoming: IncomingTransfers,
}

impl Figures {
    fn of(machine: &mut Machine) -> Self {
        Self {
            tasks: machine.core.counts().collect(),
            threads: machine.core.threads_in_use(),
            managed: machine.core.managed_memory(),
            incoming: machine.core.incoming(),
        }
    }

    fn text(&self, life: &Life) -> String {
        let mut out = Text::new(&life.config.metrics_namespace);
        out.head("tasks", "gauge", "Tasks by what they do");
        for (state, count) in &self.tasks {
            out.sample("tasks", &format!("{{state=\"{state}\"}}"), *count as f64);
        }
        let threads = life.config.nthreads;
        out.one("threads", "gauge", "Threads for tasks", threads as f64);
        let busy = self.threads as f64;
        out.one("threads_in_use", "gauge", "Threads that run a task", busy);
        let managed = self.managed.in_memory;
        let unmanaged = life.memory_bytes.get().saturating_sub(managed);
        out.head("memory_bytes", "gauge", "Memory by what holds it");
        for (kind, bytes) in [
            ("managed", managed),
            ("unmanaged", unmanaged),
            ("spilled", self.managed.spilled),
        ] {
            let label = format!("{{type=\"{kind}\"}}");
            out.sample("memory_bytes", &label, bytes as f64);
        }
        self.transfers(life, &mut out);
        spills(&life.spills, &mut out);
        out.text
    }

    fn transfers(&self, life: &Life, out: &mut Text) {
        let (incoming, outgoing) = (&self.incoming, &life.outgoing);
        for (name, kind, help, value) in [
            (
                "transfer_incoming_bytes",
                "gauge",
                "Bytes on their way here",
                incoming.bytes,
            ),
            (
                "transfer_incoming_count",
                "gauge",
                "Transfers on their way here",
                incoming.count as u64,
            ),
            (
                "transfer_incoming_count_total",
                "counter",
                "Transfers to here so far",
                incoming.count_total,
            ),
            (
                "transfer_outgoing_bytes",
                "gauge",
                "Bytes on their way to peers",
                outgoing.bytes.get(),
            ),
            (
                "transfer_outgoing_count",
                "gauge",
                "Transfers on their way to peers",
                outgoing.count.get() as u64,
            ),
            (
                "transfer_outgoing_bytes_total",
                "counter",
                "Bytes sent to peers so far",
                outgoing.bytes_total.get(),
            ),
            (
                "transfer_outgoing_count_total",
                "counter",
                "Transfers to peers so far",
                outgoing.count_total.get(),
            ),
        ] {
            out.one(name, kind, help, value as f64);
        }
    }
}

fn spills(spills: &Spills, out: &mut Text) {
    let (written, read) = (&spills.written, &spills.read);
    type Figure = fn(&Traffic) -> f64;
    let figures: [(&str, &str, Figure); 3] = [
        (
            "spill_bytes_total",
            "Bytes that went to disk and came back",
            |it| it.bytes.get() as f64,
        ),
        (
            "spill_count_total",
            "Values that went to disk and came back",
            |it| it.count.get() as f64,
        ),
        ("spill_time_seconds_total", "Time that took", |it| {
            it.seconds.get()
        }),
    ];
    for (name, help, figure) in figures {
        out.head(name, "counter", help);
        for (activity, traffic) in [("disk_write", written), ("disk_read", read)] {
            let label = format!("{{activity=\"{activity}\"}}");
            out.sample(name, &label, figure(traffic));
        }
    }
    let failures = spills.failures.get() as f64;
    let help = "Values that could not be written to disk";
    out.one("spill_failures_total", "counter", help, failures);
    let fails = f64::from(spills.failure.borrow().is_some());
    let help = "1 where the disk took nothing the last time";
    out.one("spill_disk_failing", "gauge", help, fails);
}

struct Text {
    text: String,
    /// What all names begin with.
    prefix: String,
}

impl Text {
    fn new(namespace: &str) -> Self {
        let prefix = match namespace {
            "" => "worker_".to_owned(),
            namespace => format!("{namespace}_worker_"),
        };
        Self {
            text: String::new(),
            prefix,
        }
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let prefix = &self.prefix;
        // Writing to a String cannot fail.
        let _infallible = write!(
            self.text,
            "# HELP {prefix}{name} {help}\n# TYPE {prefix}{name} {kind}\n"
        );
    }

    fn sample(&mut self, name: &str, labels: &str, value: f64) {
        let _infallible = writeln!(self.text, "{}{name}{labels} {value}", self.prefix);
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: f64) {
        self.head(name, kind, help);
        self.sample(name, "", value);
    }
}
