//! How fast groups adapt to their load: Dask's own configuration for its adaptive clusters, read where Dask reads it.

use super::environment::Environment;
use std::ffi::OsStr;
use std::time::Duration;

/// How often the load is looked at: seconds, or a number with `ms`, `s` or `m`.
const INTERVAL: &str = "DASK_DISTRIBUTED__ADAPTIVE__INTERVAL";

/// How often in a row fewer workers must do before some are retired.
const WAIT_COUNT: &str = "DASK_DISTRIBUTED__ADAPTIVE__WAIT_COUNT";

/// A look costs the scheduler little, but not nothing.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    pub interval: Duration,
    pub wait_count: u32,
}

impl Default for Pace {
    fn default() -> Self {
        Pace {
            interval: Duration::from_secs(2),
            wait_count: 3,
        }
    }
}

impl Pace {
    /// From the variables of the scheduler; what cannot be understood is as if unset.
    pub fn of(environment: &Environment) -> Self {
        let get = |name: &str| {
            environment
                .get(OsStr::new(name))
                .and_then(|text| text.to_str())
        };
        let usual = Pace::default();
        Pace {
            interval: get(INTERVAL)
                .and_then(duration)
                .map_or(usual.interval, |interval| interval.max(SHORTEST_INTERVAL)),
            wait_count: get(WAIT_COUNT)
                .and_then(|text| text.trim().parse().ok())
                .unwrap_or(usual.wait_count),
        }
    }
}

fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let unit_begins = text
        .find(|letter: char| letter.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_begins);
    let seconds_each = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        _ => return None,
    };
    let seconds = number.trim().parse::<f64>().ok()? * seconds_each;
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dasks_own_variables_set_the_pace_and_nonsense_does_not() {
        let pace = |interval: &str, count: &str| {
            let variables = [(INTERVAL, interval), (WAIT_COUNT, count)];
            let variables = variables.map(|(name, value)| (name.into(), value.into()));
            Pace::of(&Environment::from(variables))
        };
        let of = |milliseconds, wait_count| Pace {
            interval: Duration::from_millis(milliseconds),
            wait_count,
        };
        assert_eq!(pace("200ms", "2"), of(200, 2));
        assert_eq!(pace("1.5", " 1 "), of(1500, 1));
        assert_eq!(pace("1 m", "0"), of(60_000, 0));
        assert_eq!(pace("0s", "3"), of(50, 3));
        for nonsense in ["", "soon", "-1s", "1 day"] {
            assert_eq!(pace(nonsense, nonsense), Pace::default());
        }
        assert_eq!(Pace::of(&Environment::new()), Pace::default());
    }
}
