//! Who of several replicas acts: the holder of a Lease.
//!
//! Nothing breaks when two act for a moment: every write names the version or the uid it means. The Lease spares them
//! each other's work.

use crate::config::Lease;
use kube::Client;
use kube_lease_manager::{LeaseManager, LeaseManagerBuilder, LeaseManagerError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Without a word from the holder for so long, another takes the Lease.
const DURATION_SECONDS: u64 = 15;
/// The holder says so this long before.
const GRACE_SECONDS: u64 = 5;

pub struct Leadership {
    leads: watch::Receiver<bool>,
    task: JoinHandle<Result<LeaseManager, LeaseManagerError>>,
}

impl Leadership {
    pub async fn stand(
        client: Client,
        lease: &Lease,
        identity: &str,
    ) -> Result<Self, LeaseManagerError> {
        let manager = LeaseManagerBuilder::new(client, lease.name.clone())
            .with_namespace(lease.namespace.clone())
            .with_identity(identity)
            .with_duration(DURATION_SECONDS)
            .with_grace(GRACE_SECONDS)
            .build()
            .await?;
        let (leads, task) = manager.watch().await;
        Ok(Leadership { leads, task })
    }

    /// Waits until this replica leads, or does no more; false if that cannot be known any longer.
    pub async fn becomes(&mut self, leader: bool) -> bool {
        self.leads.wait_for(|leads| *leads == leader).await.is_ok()
    }

    /// Gives the Lease back, so that another replica need not wait for it to run out.
    pub async fn release(self) {
        drop(self.leads);
        match self.task.await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = %crate::chain(&error), "the lease is left to run out");
            }
            Err(error) => tracing::warn!(error = %error, "the lease is left to run out"),
        }
    }
}
