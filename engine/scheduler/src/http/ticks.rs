//! How quickly the core answers, measured all the time: what stock Dask calls the ticks of its event loop.

use crate::context::Context;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Default)]
pub struct Ticks {
    count: AtomicU64,
    longest_ns: AtomicU64,
}

impl Ticks {
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// The longest answer since this was last asked, in seconds.
    pub fn take_longest_seconds(&self) -> f64 {
        self.longest_ns.swap(0, Ordering::Relaxed) as f64 / 1e9
    }

    fn note(&self, took_ns: u64) {
        self.count.fetch_add(1, Ordering::Relaxed);
        self.longest_ns.fetch_max(took_ns, Ordering::Relaxed);
    }
}

/// Asks, as often as the configuration says, until the core has stopped.
pub async fn run(ctx: Arc<Context>, ticks: Arc<Ticks>) {
    let interval = ctx.config.dask.admin.system_monitor_interval;
    loop {
        let asked = crate::clock::now();
        if ctx.core.call(|_, _, _| ()).await.is_err() {
            return;
        }
        ticks.note(crate::clock::now().0.saturating_sub(asked.0));
        tokio::time::sleep(interval).await;
    }
}
