//! How long and how large a helper may get while it works on one request.
//!
//! Looked at only while there is a request, so that an idle scheduler does nothing. Counts ticks of a timer instead of
//! reading a clock.

use super::HelperOptions;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::Sleep;

const TICK: Duration = Duration::from_millis(100);

/// A bound that was crossed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crossed {
    Time,
    Memory,
}

/// Watches one process.
pub struct Watch {
    process: Option<u32>,
    time_limit: Duration,
    memory_limit_bytes: Option<u64>,
    timer: Pin<Box<Sleep>>,
    elapsed: Duration,
    is_working: bool,
}

impl Watch {
    pub fn new(options: &HelperOptions, process: Option<u32>) -> Self {
        Self {
            process,
            time_limit: options.time_limit,
            memory_limit_bytes: options.memory_limit_bytes,
            timer: Box::pin(tokio::time::sleep(TICK)),
            elapsed: Duration::ZERO,
            is_working: false,
        }
    }

    /// A request begins, or none does.
    pub fn restart(&mut self, is_working: bool) {
        self.is_working = is_working;
        self.elapsed = Duration::ZERO;
        self.timer.set(tokio::time::sleep(self.next_tick()));
    }

    fn next_tick(&self) -> Duration {
        TICK.min(self.time_limit.saturating_sub(self.elapsed))
    }

    /// Completes when the request in work has crossed a bound. Cancel-safe.
    pub async fn crossed(&mut self) -> Crossed {
        if !self.is_working {
            std::future::pending::<()>().await;
        }
        loop {
            let tick = self.next_tick();
            self.timer.as_mut().await;
            self.elapsed += tick;
            self.timer.set(tokio::time::sleep(self.next_tick()));
            if self.elapsed >= self.time_limit {
                return Crossed::Time;
            }
            let limit = self.memory_limit_bytes.unwrap_or(u64::MAX);
            if self
                .process
                .and_then(resident_bytes)
                .is_some_and(|bytes| bytes > limit)
            {
                return Crossed::Memory;
            }
        }
    }
}

/// Memory a process has now; `None` once it is gone.
fn resident_bytes(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    kibibytes_of(&status, "VmRSS:")
}

/// What a helper may have where nobody says: 60 % of what this container or machine has.
pub fn default_memory_limit_bytes() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| kibibytes_of(&text, "MemTotal:"));
    let group = [
        "/sys/fs/cgroup/memory.max",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
    ];
    let group = group.iter().find_map(|path| {
        std::fs::read_to_string(path)
            .ok()?
            .trim()
            .parse::<u64>()
            .ok()
    });
    let least = machine.into_iter().chain(group).min()?;
    Some(least / 10 * 6)
}

/// The bytes of a line such as `MemTotal:  32768 kB`.
fn kibibytes_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_limit_leaves_memory_to_the_scheduler() {
        let machine = std::fs::read_to_string("/proc/meminfo").expect("Linux");
        let total = kibibytes_of(&machine, "MemTotal:").expect("a total");
        assert!(default_memory_limit_bytes().expect("a limit") < total);
    }

    #[test]
    fn sizes_are_read_from_the_kernels_tables() {
        assert_eq!(
            kibibytes_of("VmPeak:\t 9 kB\nVmRSS:\t 32768 kB\n", "VmRSS:"),
            Some(32768 * 1024)
        );
        assert_eq!(kibibytes_of("", "VmRSS:"), None);
    }

    #[tokio::test]
    async fn only_work_is_bounded_and_each_request_begins_anew() {
        let options = HelperOptions {
            time_limit: Duration::from_millis(1500),
            ..HelperOptions::default()
        };
        let mut watch = Watch::new(&options, None);
        let longer = Duration::from_secs(2);
        assert!(
            tokio::time::timeout(longer, watch.crossed()).await.is_err(),
            "nothing to do"
        );
        watch.restart(true);
        let early = Duration::from_millis(900);
        assert!(tokio::time::timeout(early, watch.crossed()).await.is_err());
        watch.restart(true);
        assert!(tokio::time::timeout(early, watch.crossed()).await.is_err());
        assert_eq!(
            tokio::time::timeout(longer, watch.crossed()).await,
            Ok(Crossed::Time)
        );
    }

    #[tokio::test]
    async fn a_process_that_is_too_large_is_noticed() {
        let options = HelperOptions {
            memory_limit_bytes: Some(1),
            ..HelperOptions::default()
        };
        let mut watch = Watch::new(&options, Some(std::process::id()));
        watch.restart(true);
        assert_eq!(watch.crossed().await, Crossed::Memory);
    }
}
