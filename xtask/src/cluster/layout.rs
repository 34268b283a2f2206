//! Where everything of one test cluster is: its names, directories and addresses. Pure.
//!
//! Invariant: two checkouts have two clusters, each in a network namespace of its own, so that the fixed addresses
//! below never meet.

use std::path::{Path, PathBuf};

use crate::cache;

/// Address of the node inside the namespace. Pods reach the API server there too.
pub const NODE_ADDRESS: &str = "10.88.0.1";
/// Where packets for everywhere else are sent: nobody is there.
pub const NOWHERE: &str = "10.88.0.2";
pub const NODE_NAME: &str = "node0";
pub const POD_SUBNET: &str = "10.244.0.0/24";
/// The first address of the service subnet: `kubernetes.default`.
pub const API_SERVICE: &str = "10.96.0.1";
pub const SERVICE_SUBNET: &str = "10.96.0.0/16";
pub const API_SERVER: &str = "https://127.0.0.1:6443";
pub const ETCD: &str = "http://127.0.0.1:2379";

/// One test cluster.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Name of the cluster, of its network namespace and of its control groups.
    pub name: String,
    /// Everything it keeps.
    pub directory: PathBuf,
}

impl Layout {
    /// The cluster of a checkout, and of the cache it is kept in.
    pub fn new(cache: &Path, checkout: &Path) -> Self {
        let name = format!(
            "daskjob-{}",
            &cache::fingerprint(&format!("{}\n{}", checkout.display(), cache.display()))[..8]
        );
        Self {
            directory: cache.join("clusters").join(&name),
            name,
        }
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.directory.join(relative)
    }

    /// What a cluster says of itself, see [`super::description`].
    pub fn description(&self) -> PathBuf {
        self.path("cluster.json")
    }

    pub fn lock(&self) -> PathBuf {
        self.directory.with_extension("lock")
    }

    pub fn logs(&self) -> PathBuf {
        self.path("log")
    }

    pub fn log(&self, component: &str) -> PathBuf {
        self.logs().join(format!("{component}.log"))
    }

    /// A certificate (`crt`), key (`key`) or public key (`pub`) of the cluster's own authority.
    pub fn certificate(&self, whose: &str, extension: &str) -> PathBuf {
        self.path("pki").join(format!("{whose}.{extension}"))
    }

    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        self.path(&format!("{user}.kubeconfig"))
    }

    pub fn network_namespace(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// Sockets and state of the container runtime: a short path, for a socket's may have 107 bytes.
    pub fn runtime_directory(&self) -> PathBuf {
        Path::new("/run").join(&self.name)
    }

    pub fn containerd_socket(&self) -> PathBuf {
        self.runtime_directory().join("containerd.sock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_checkouts_have_two_clusters() {
        let of = |cache: &str, checkout: &str| Layout::new(Path::new(cache), Path::new(checkout));
        let name = of("/cache", "/a").name;
        assert_eq!(name, of("/cache", "/a").name);
        for other in [of("/cache", "/b"), of("/other", "/a")] {
            assert_ne!(name, other.name);
        }
        assert!(name.len() < 20, "it is part of socket paths");
    }
}
