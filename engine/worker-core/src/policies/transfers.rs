//! How many transfers at a time: out of this worker by count, into it by count and bytes.

use crate::config::Config;

/// A few small transfers more do no harm: below so many bytes under way the count does not matter.
const SMALL_BYTES: u64 = 10_000_000;

/// Whether one more peer may be served. Peers on the same host count half; a paused worker serves one at a time.
pub fn may_serve(serving: usize, connections: usize, same_host: bool, paused: bool) -> bool {
    let most = match (paused, same_host) {
        (true, _) => 1,
        (false, true) => connections.saturating_mul(2),
        (false, false) => connections,
    };
    serving < most
}

/// What may come in at a time.
pub(crate) struct Incoming {
    count: usize,
    bytes: u64,
    message_bytes: u64,
}

impl Incoming {
    pub fn new(config: &Config) -> Self {
        let limit = config.memory_limit.zip(config.memory_transfer);
        Self {
            count: config.incoming_connections,
            bytes: limit.map_or(u64::MAX, |(limit, part)| (limit as f64 * part) as u64),
            message_bytes: config.message_bytes_limit,
        }
    }

    /// Whether nothing more may be asked for now.
    pub fn is_full(&self, requests: usize, incoming_bytes: u64) -> bool {
        (requests >= self.count && incoming_bytes >= SMALL_BYTES) || incoming_bytes >= self.bytes
    }

    /// Whether a value may be added to a request. When nothing else is under way the first always may, and the limit on
    /// one message is not for its first.
    pub fn admits(&self, nbytes: u64, request_bytes: u64, incoming_bytes: u64) -> bool {
        if incoming_bytes == 0 && request_bytes == 0 {
            return true;
        }
        let mut allowed = self.bytes.saturating_sub(incoming_bytes);
        if request_bytes != 0 {
            allowed = allowed
                .min(self.message_bytes)
                .saturating_sub(request_bytes);
        }
        nbytes <= allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paused_worker_serves_one_and_neighbours_count_half() {
        assert!(may_serve(49, 50, false, false) && !may_serve(50, 50, false, false));
        assert!(may_serve(99, 50, true, false) && !may_serve(100, 50, true, false));
        assert!(may_serve(0, 50, true, true) && !may_serve(1, 50, true, true));
    }

    fn incoming() -> Incoming {
        Incoming::new(&Config {
            memory_limit: Some(1_000_000_000),
            ..Config::new("tcp://10.0.0.1:4000", 1)
        })
    }

    #[test]
    fn many_small_requests_are_not_too_many_and_few_big_ones_are() {
        let incoming = incoming();
        assert!(!incoming.is_full(50, 9_999_999) && incoming.is_full(10, 10_000_000));
        assert!(!incoming.is_full(9, 99_999_999) && incoming.is_full(1, 100_000_000));
    }

    #[test]
    fn the_first_value_is_asked_for_however_big_it_is() {
        let incoming = incoming();
        assert!(incoming.admits(u64::MAX, 0, 0));
        assert!(!incoming.admits(100_000_001, 0, 1) && incoming.admits(60_000_000, 0, 1));
        assert!(!incoming.admits(50_000_000, 1, 0) && incoming.admits(49_999_999, 1, 0));
    }
}
