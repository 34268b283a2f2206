//! A namespace for one test, so that tests run side by side and leave nothing behind.

use std::process;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use crate::{Cluster, eventually};

/// Deleted with everything in it when the test has passed; kept for a look when it has failed.
pub struct TestNamespace<'a> {
    cluster: &'a Cluster,
    name: String,
}

impl Cluster {
    /// Makes one, ready for pods.
    pub async fn namespace(&self, purpose: &str) -> TestNamespace<'_> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("{purpose}-{}-{number}", process::id());
        self.kubectl(&["create", "namespace", &name], "")
            .expect_success();
        let namespace = TestNamespace {
            cluster: self,
            name,
        };
        // Pods are refused until their service account is there.
        eventually("the namespace has a service account", async || {
            self.kubectl(
                &["get", "serviceaccount", "default", "-n", namespace.name()],
                "",
            )
            .success
        })
        .await;
        namespace
    }
}

impl TestNamespace<'_> {
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for TestNamespace<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("namespace {} is left for a look", self.name);
            return;
        }
        let delete = ["delete", "namespace", &self.name, "--wait=false"];
        self.cluster.kubectl(&delete, "");
    }
}
