//! Times and durations as people read them. Reads no clock.

use contract::timestamp::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// `45s`, `3m20s`, `12m`, `5h10m`, `3d4h`, `40d`: the more there is of it, the less exact.
pub fn duration(seconds: u64) -> String {
    let two = |large: u64, large_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large}{large_unit}"),
        small => format!("{large}{large_unit}{small}{small_unit}"),
    };
    match seconds {
        0..MINUTE => format!("{seconds}s"),
        MINUTE..600 => two(seconds / MINUTE, "m", seconds % MINUTE, "s"),
        600..HOUR => format!("{}m", seconds / MINUTE),
        HOUR..DAY => two(seconds / HOUR, "h", seconds % HOUR / MINUTE, "m"),
        _ if seconds < 10 * DAY => two(seconds / DAY, "d", seconds % DAY / HOUR, "h"),
        _ => format!("{}d", seconds / DAY),
    }
}

/// Seconds since 1970 of a time of the API server.
pub fn seconds_of(time: &Time) -> u64 {
    u64::try_from(time.0.as_second()).unwrap_or(0)
}

/// How long ago a time of the API server was.
pub fn ago(time: Option<&Time>, now: u64) -> String {
    time.map_or_else(
        || "-".to_owned(),
        |time| duration(now.saturating_sub(seconds_of(time))),
    )
}

/// Seconds from one timestamp to another; `None` where one of them is missing or no time.
pub fn between(earlier: Option<&Timestamp>, later: Option<&Timestamp>) -> Option<u64> {
    let (earlier, later) = (earlier?.unix_seconds()?, later?.unix_seconds()?);
    Some(later.saturating_sub(earlier))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_as_exact_as_matters() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (200, "3m20s"),
            (725, "12m"),
            (HOUR, "1h"),
            (5 * HOUR + 10 * MINUTE + 3, "5h10m"),
            (3 * DAY + 4 * HOUR, "3d4h"),
            (40 * DAY + HOUR, "40d"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }
}
