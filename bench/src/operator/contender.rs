//! An operator as a process, and how its jobs are written and read.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use ::cluster::{Cluster, TestNamespace, WORKER_IMAGE, on_fake_nodes};
use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::api;
use crate::args::OperatorArgs;
use crate::process::Process;

const START: Duration = Duration::from_secs(60);

/// Whose operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Product {
    Daskjob,
    DaskKubernetes,
}

impl Product {
    pub fn title(self) -> &'static str {
        match self {
            Self::Daskjob => "daskjob",
            Self::DaskKubernetes => "dask-kubernetes",
        }
    }

    fn api(self) -> String {
        match self {
            Self::Daskjob => format!("/apis/{}", crd::api_version()),
            Self::DaskKubernetes => "/apis/kubernetes.dask.org/v1".to_owned(),
        }
    }

    /// Labels of the pod that runs a job's program.
    fn runner(self, job: &str) -> String {
        match self {
            Self::Daskjob => format!("daskjob.dev/job-name={job},daskjob.dev/role=runner"),
            Self::DaskKubernetes => {
                format!("dask.org/cluster-name={job},dask.org/component=job-runner")
            }
        }
    }
}

/// Where the pods of a job are to run.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Place {
    RealNode,
    /// They run at once and do nothing.
    FakeNodes,
}

/// A job to be written.
#[derive(Clone, Copy)]
pub struct Job<'a> {
    pub name: &'a str,
    pub workers: u32,
    pub program: &'a str,
    pub place: Place,
}

/// A running operator; ends when it is dropped.
pub struct Contender<'a> {
    pub product: Product,
    pub cluster: &'a Cluster,
    pub namespace: TestNamespace<'a>,
    process: Process,
    port: u16,
}

impl<'a> Contender<'a> {
    pub async fn start(
        product: Product,
        cluster: &'a Cluster,
        program: &Path,
        args: &OperatorArgs,
        logs: &Path,
    ) -> Result<Self> {
        let namespace = cluster.namespace("bench").await;
        let port = free_port()?;
        let command = match product {
            Product::Daskjob => daskjob(program, namespace.name(), port),
            Product::DaskKubernetes => {
                let python = args.dask_kubernetes_python.as_deref();
                let python = python.context(
                    "name a Python with dask-kubernetes by --dask-kubernetes-python; `cargo xtask bench operator` makes one",
                )?;
                install_their_definitions(cluster, python)?;
                dask_kubernetes(python, namespace.name(), port)
            }
        };
        let mut command = command;
        command.env("KUBECONFIG", cluster.kubeconfig());
        let process = Process::start(product.title(), command, logs)?;
        let mut contender = Self {
            product,
            cluster,
            namespace,
            process,
            port,
        };
        contender.until_ready().await?;
        Ok(contender)
    }

    async fn until_ready(&mut self) -> Result<()> {
        let path = match self.product {
            Product::Daskjob => "/readyz",
            Product::DaskKubernetes => "/healthz",
        };
        let ready = api::until("the operator is ready", START, || async {
            let answer = self.http(path).await.unwrap_or_default();
            Ok(answer.starts_with("HTTP/1.1 200").then_some(()))
        });
        let ready = ready.await;
        if !self.process.is_alive() {
            bail!("{} ended:\n{}", self.product.title(), self.log_tail());
        }
        ready.with_context(|| self.log_tail())
    }

    /// What its HTTP server says of a path, head and all.
    pub async fn http(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: bench\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer)
    }

    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }

    pub fn jobs_path(&self) -> String {
        api::path(&self.product.api(), self.namespace.name(), "daskjobs")
    }

    pub fn job_path(&self, name: &str) -> String {
        format!("{}/{name}", self.jobs_path())
    }

    pub fn pods_path(&self) -> String {
        api::path("/api/v1", self.namespace.name(), "pods")
    }

    pub async fn apply(&self, job: Job<'_>) -> Result<()> {
        let object = match self.product {
            Product::Daskjob => our_job(job),
            Product::DaskKubernetes => their_job(job),
        };
        api::create(self.cluster, &self.jobs_path(), &object).await
    }

    /// The pod that runs a job's program, once it is there.
    pub async fn runner(&self, job: &str) -> Result<Option<String>> {
        let path = format!(
            "{}?labelSelector={}",
            self.pods_path(),
            self.product.runner(job)
        );
        let list = api::get(self.cluster, &path).await?;
        Ok(list["items"][0]["metadata"]["name"]
            .as_str()
            .map(str::to_owned))
    }

    /// Whether a job says that it has ended, and how.
    pub async fn outcome(&self, job: &str) -> Result<Option<String>> {
        let job = api::get(self.cluster, &self.job_path(job)).await?;
        let ended = ["Complete", "Failed", "Successful"];
        // Both call it so.
        let said = &job["status"]["jobStatus"];
        Ok(said
            .as_str()
            .filter(|said| ended.contains(said))
            .map(str::to_owned))
    }

    /// Clusters that never got to where all their objects are there.
    pub async fn stuck(&self) -> Result<u64> {
        if self.product == Product::Daskjob {
            return Ok(0);
        }
        let path = api::path(&self.product.api(), self.namespace.name(), "daskclusters");
        let list = api::get(self.cluster, &path).await?;
        let clusters = list["items"].as_array().into_iter().flatten();
        Ok(u64::try_from(
            clusters
                .filter(|it| it["status"]["phase"] != "Running")
                .count(),
        )?)
    }
}

/// Free a moment ago, in this network namespace.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("find a free port")?;
    Ok(listener.local_addr()?.port())
}

fn daskjob(program: &Path, namespace: &str, port: u16) -> Command {
    let mut command = Command::new(program);
    command
        .args([
            "operator",
            "--namespaces",
            namespace,
            "--worker-image",
            WORKER_IMAGE,
        ])
        .args([
            "--image-pull-policy",
            "Never",
            "--listen",
            &format!("127.0.0.1:{port}"),
        ]);
    command
}

/// As its own image starts it, but for one namespace.
fn dask_kubernetes(python: &Path, namespace: &str, port: u16) -> Command {
    let mut command = Command::new(python);
    command
        .args([
            "-m",
            "kopf",
            "run",
            "-m",
            "dask_kubernetes.operator.controller",
            "--verbose",
        ])
        .args([
            "--namespace",
            namespace,
            &format!("--liveness=http://127.0.0.1:{port}/healthz"),
        ]);
    command
}

/// Their package brings them.
fn install_their_definitions(cluster: &Cluster, python: &Path) -> Result<()> {
    let script = "import os, dask_kubernetes.operator as it; print(os.path.dirname(it.__file__))";
    let output = Command::new(python)
        .args(["-c", script])
        .output()
        .context("ask Python where dask-kubernetes is")?;
    let package = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let directory = package.join("deployment/helm/dask-kubernetes-operator/crds");
    let directory = directory.to_string_lossy();
    let applied = cluster.kubectl(&["apply", "--server-side", "-f", &directory], "");
    if !applied.success {
        bail!(
            "install the definitions of dask-kubernetes: {}",
            applied.stderr
        );
    }
    let names = [
        "daskclusters",
        "daskjobs",
        "daskworkergroups",
        "daskautoscalers",
    ];
    let names = names.map(|name| format!("crd/{name}.kubernetes.dask.org"));
    let mut wait = vec!["wait", "--for=condition=Established", "--timeout=30s"];
    wait.extend(names.iter().map(String::as_str));
    let waited = cluster.kubectl(&wait, "");
    if !waited.success {
        bail!(
            "wait for the definitions of dask-kubernetes: {}",
            waited.stderr
        );
    }
    Ok(())
}

/// What every container asks for, whoever makes it: enough that a worker has room for its Python beside results.
pub fn requests() -> Value {
    json!({"cpu": "20m", "memory": "256Mi"})
}

fn our_job(job: Job<'_>) -> Value {
    let template = match job.place {
        Place::RealNode => json!({}),
        Place::FakeNodes => on_fake_nodes(),
    };
    let requests = requests();
    json!({
        "apiVersion": crd::api_version(),
        "kind": "DaskJob",
        "metadata": {"name": job.name},
        "spec": {
            "template": {"spec": template},
            "scheduler": {"requests": requests},
            "workers": {"numberOfWorkers": job.workers, "requests": requests},
            "job": {"command": ["python", "-c", job.program], "requests": requests},
        },
    })
}

/// As their documentation writes it, with Dask's own programs.
fn their_job(job: Job<'_>) -> Value {
    let pod = |name: &str, command: Value, ports: Value| {
        let mut spec = match job.place {
            Place::RealNode => json!({}),
            Place::FakeNodes => on_fake_nodes(),
        };
        spec["containers"] = json!([{
            "name": name, "image": WORKER_IMAGE, "imagePullPolicy": "Never",
            "command": command, "ports": ports, "resources": {"requests": requests()},
        }]);
        spec
    };
    let port =
        |name: &str, number: u16| json!({"name": name, "containerPort": number, "protocol": "TCP"});
    let service_port = |name: &str, number: u16| json!({"name": name, "port": number, "targetPort": name, "protocol": "TCP"});
    json!({
        "apiVersion": "kubernetes.dask.org/v1",
        "kind": "DaskJob",
        "metadata": {"name": job.name},
        "spec": {
            "job": {"spec": pod("job", json!(["python", "-c", job.program]), json!([]))},
            "cluster": {"spec": {
                "worker": {
                    "replicas": job.workers,
                    "spec": pod("worker", json!(["python", "-m", "distributed.cli.dask_worker", "--name", "$(DASK_WORKER_NAME)"]), json!([])),
                },
                "scheduler": {
                    "spec": pod(
                        "scheduler",
                        json!(["python", "-m", "distributed.cli.dask_scheduler"]),
                        json!([port("tcp-comm", 8786), port("http-dashboard", 8787)]),
                    ),
                    "service": {
                        "type": "ClusterIP",
                        "selector": {"dask.org/cluster-name": job.name, "dask.org/component": "scheduler"},
                        "ports": [service_port("tcp-comm", 8786), service_port("http-dashboard", 8787)],
                    },
                },
            }},
        },
    })
}
