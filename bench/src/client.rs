//! A Python client of its own process: unmodified distributed runs the scenarios, told line by line.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::args::EngineArgs;
use crate::cluster::Cluster;
use crate::process::Process;

const PROGRAM: &str = include_str!("client.py");

/// The running client program.
pub struct Client {
    process: Process,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

/// What one scenario took, as the client saw it.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Ran {
    pub tasks: usize,
    pub wall_seconds: f64,
    pub client_cpu_seconds: f64,
    /// Of the times of one repetition; only where a scenario repeats something.
    #[serde(default)]
    pub median_seconds: Option<f64>,
}

/// A number with a unit of its own.
#[derive(Clone, Debug, Deserialize)]
pub struct Measured {
    pub title: String,
    pub unit: String,
    pub value: f64,
}

impl Client {
    /// Connects and waits for the workers.
    pub fn start(cluster: &Cluster, workers: usize, args: &EngineArgs) -> Result<Self> {
        let directory = cluster.directory.path();
        let program = directory.join("bench_client.py");
        fs::write(&program, PROGRAM).context("write the client program")?;
        let mut command = Command::new(&args.python);
        command
            .arg(&program)
            .arg(&cluster.address)
            .arg(workers.to_string());
        cluster.make_tasks_importable(&mut command);
        let mut process = Process::start_talking("client", command, directory)?;
        let child = process.child();
        let input = child
            .stdin
            .take()
            .expect("the client was started with pipes");
        let output = child
            .stdout
            .take()
            .expect("the client was started with pipes");
        let mut client = Self {
            process,
            input,
            output: BufReader::new(output),
        };
        let ready = client.read_line()?;
        if ready != "ready" {
            bail!("the client said {ready:?} instead of ready");
        }
        Ok(client)
    }

    /// Runs a scenario to its end; its results stay held.
    pub fn run(&mut self, word: &str, size: usize) -> Result<Ran> {
        let reply = self.ask(&format!("{word} {size}"))?;
        serde_json::from_str(&reply).with_context(|| format!("read the client's {reply:?}"))
    }

    /// Runs a scenario whose outcome are numbers of its own.
    pub fn figures(&mut self, word: &str, size: usize) -> Result<Vec<Measured>> {
        let reply = self.ask(&format!("{word} {size}"))?;
        serde_json::from_str(&reply).with_context(|| format!("read the client's {reply:?}"))
    }

    /// Lets go of what the last scenario held, and returns when the scheduler has forgotten it.
    pub fn release(&mut self) -> Result<()> {
        self.ask("release 0").map(drop)
    }

    fn ask(&mut self, line: &str) -> Result<String> {
        writeln!(self.input, "{line}").and_then(|()| self.input.flush())?;
        self.read_line()
    }

    fn read_line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            bail!("the client ended:\n{}", self.process.log_tail());
        }
        Ok(line.trim_end().to_owned())
    }
}
