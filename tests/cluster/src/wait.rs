//! Waiting for what a cluster does in its own time.

use std::time::Duration;

/// How long anything may take that has no limit of its own; a busy machine is slow.
const LONGEST: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(100);

/// Waits until something is so; panics where it never is.
pub async fn eventually(what: &str, so: impl AsyncFnMut() -> bool) {
    assert!(within(LONGEST, so).await, "not within {LONGEST:?}: {what}");
}

/// Whether something becomes so in time.
pub async fn within(limit: Duration, mut so: impl AsyncFnMut() -> bool) -> bool {
    let until_so = async {
        while !so().await {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::time::timeout(limit, until_so).await.is_ok()
}
