//! A test's view of the cluster.

use std::ffi::OsStr;
use std::fs::File;
use std::future::Future;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::OnceLock;

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::described::{self, Description};

/// How much of a cluster a test needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// etcd, API server, controllers, scheduler, and fake nodes whose pods run at once and do nothing.
    ControlPlane,
    /// A real node beside them.
    Node,
}

impl Tier {
    pub(crate) fn number(self) -> u8 {
        match self {
            Tier::ControlPlane => 1,
            Tier::Node => 2,
        }
    }
}

/// The cluster, as the administrator sees it.
pub struct Cluster {
    pub client: Client,
    pub(crate) description: Description,
}

/// Runs a test on a real cluster, in its network namespace: everything the test connects to, and every program it
/// starts, is there. On a machine that cannot have a cluster, says so and does nothing.
pub fn on_cluster<Test, Running>(tier: Tier, test: Test)
where
    Test: FnOnce(Cluster) -> Running,
    Running: Future<Output = ()>,
{
    let Some(description) = described::find(tier) else {
        return;
    };
    // A namespace is the thread's, and its children have it too; a test has a thread of its own, so that no other
    // notices.
    enter(&description.network_namespace);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be made");
    runtime.block_on(async {
        let client = client_of(&description.kubeconfig).await;
        test(Cluster {
            client,
            description,
        })
        .await;
    });
}

/// The network namespace this process came from: a way out of the cluster, for what needs the network.
static OUTSIDE: OnceLock<File> = OnceLock::new();

/// A program that runs where the machine's network is.
pub(crate) fn outside(program: impl AsRef<OsStr>) -> Command {
    let namespace = OUTSIDE.get().expect("a test has entered the cluster");
    let path = format!("/proc/{}/fd/{}", process::id(), namespace.as_raw_fd());
    let mut command = Command::new("nsenter");
    command.arg(format!("--net={path}")).arg(program);
    command
}

fn enter(namespace: &Path) {
    OUTSIDE.get_or_init(|| {
        File::open("/proc/thread-self/ns/net").expect("a thread has a network namespace")
    });
    let file = File::open(namespace).expect("the cluster's network namespace can be opened");
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
        .expect("root may enter the cluster's network namespace");
}

async fn client_of(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("the kubeconfig can be read");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .expect("the kubeconfig is complete");
    Client::try_from(config).expect("a client can be made")
}

impl Cluster {
    /// Kubeconfig of the administrator, for programs a test starts.
    pub fn kubeconfig(&self) -> &Path {
        &self.description.kubeconfig
    }

    /// Logs of the cluster's own programs.
    pub fn logs(&self) -> &Path {
        &self.description.logs
    }

    /// Socket of the container runtime, on a cluster with a node.
    pub fn containerd_socket(&self) -> &Path {
        &self.description.containerd_socket
    }

    /// A program that was built with the cluster: `kubectl`, `helm`.
    pub fn program(&self, name: &str) -> PathBuf {
        self.description
            .programs
            .get(name)
            .unwrap_or_else(|| panic!("{name} is not built for this tier"))
            .clone()
    }
}
