//! Dask's way of writing byte counts and durations: `"64 MiB"`, `"5 minutes"`, `"300ms"`, `1000`.
//!
//! Owns nothing but the two grammars; knows no key and no source. Invariant: whatever Dask accepts is accepted with
//! the same result, so that a configuration file means the same to both schedulers.

use thiserror::Error;

/// Why a text is no byte count or duration.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UnitError {
    #[error("{0:?} is not a number")]
    NotANumber(String),
    #[error("{0:?} is not a byte unit (B, kB, MB, GB, TB, PB, kiB, MiB, GiB, TiB, PiB)")]
    ByteUnit(String),
    #[error(
        "{0:?} is not a time unit (ns, us, ms, s, m, h, d, w, or spelled out: milliseconds, minutes …)"
    )]
    TimeUnit(String),
    #[error("it is too large")]
    TooLarge,
    #[error("it is empty")]
    Empty,
}

const BYTE_UNITS: [(&str, f64); 22] = [
    ("", 1.0),
    ("b", 1.0),
    ("kb", 1e3),
    ("mb", 1e6),
    ("gb", 1e9),
    ("tb", 1e12),
    ("pb", 1e15),
    ("k", 1e3),
    ("m", 1e6),
    ("g", 1e9),
    ("t", 1e12),
    ("p", 1e15),
    ("kib", 1024.0),
    ("mib", 1_048_576.0),
    ("gib", 1_073_741_824.0),
    ("tib", 1_099_511_627_776.0),
    ("pib", 1_125_899_906_842_624.0),
    ("ki", 1024.0),
    ("mi", 1_048_576.0),
    ("gi", 1_073_741_824.0),
    ("ti", 1_099_511_627_776.0),
    ("pi", 1_125_899_906_842_624.0),
];

const TIME_UNITS: [(&str, &str, f64); 8] = [
    ("s", "second", 1.0),
    ("ms", "millisecond", 1e-3),
    ("us", "microsecond", 1e-6),
    ("ns", "nanosecond", 1e-9),
    ("m", "minute", 60.0),
    ("h", "hour", 3_600.0),
    ("d", "day", 86_400.0),
    ("w", "week", 604_800.0),
];

/// Reads a byte count; a text without a digit counts one of its unit, as in Dask.
pub fn parse_bytes(text: &str) -> Result<i64, UnitError> {
    let mut text = text.replace(' ', "");
    if !text.chars().any(char::is_numeric) {
        text.insert(0, '1');
    }
    let (number, unit) = split_unit(&text);
    let number = parse_float(number)?;
    let factor = BYTE_UNITS
        .iter()
        .find(|(name, _)| *name == unit.to_lowercase())
        .map(|(_, factor)| *factor)
        .ok_or_else(|| UnitError::ByteUnit(unit.to_owned()))?;
    whole_bytes(number * factor)
}

/// Cuts a float to whole bytes, as `int()` does, and refuses what no counter holds.
pub fn whole_bytes(bytes: f64) -> Result<i64, UnitError> {
    if bytes.is_finite() && bytes.abs() < 9.2e18 {
        Ok(bytes as i64)
    } else {
        Err(UnitError::TooLarge)
    }
}

/// Reads a duration as seconds; without a unit the number counts seconds.
pub fn parse_timedelta(text: &str) -> Result<f64, UnitError> {
    let mut text = text.replace(' ', "");
    let first = text.chars().next().ok_or(UnitError::Empty)?;
    if !first.is_numeric() {
        text.insert(0, '1');
    }
    let (number, unit) = split_unit(&text);
    let number = parse_float(number)?;
    Ok(number * seconds_in(unit)?)
}

fn seconds_in(unit: &str) -> Result<f64, UnitError> {
    if unit.is_empty() {
        return Ok(1.0);
    }
    let lower = unit.to_lowercase();
    let singular = lower.strip_suffix('s').unwrap_or(&lower);
    TIME_UNITS
        .iter()
        .find(|(short, long, _)| *short == lower || *long == singular)
        .map(|(_, _, seconds)| *seconds)
        .ok_or_else(|| UnitError::TimeUnit(unit.to_owned()))
}

/// Splits off the letters a text ends with.
fn split_unit(text: &str) -> (&str, &str) {
    text.split_at(text.trim_end_matches(char::is_alphabetic).len())
}

/// Reads a float as Python's `float()` does: underscores may stand between digits.
pub fn parse_float(text: &str) -> Result<f64, UnitError> {
    let fail = || UnitError::NotANumber(text.to_owned());
    let trimmed = text.trim();
    let bytes = trimmed.as_bytes();
    let underscores_between_digits = bytes.iter().enumerate().all(|(i, byte)| {
        *byte != b'_'
            || (i > 0
                && bytes[i - 1].is_ascii_digit()
                && bytes.get(i + 1).is_some_and(u8::is_ascii_digit))
    });
    if !underscores_between_digits {
        return Err(fail());
    }
    trimmed.replace('_', "").parse().map_err(|_| fail())
}

#[cfg(test)]
mod tests {
    use super::*;

    // Both tables hold what dask 2026.8.0 answers.
    #[test]
    fn byte_counts_mean_what_dask_makes_of_them() {
        for (text, bytes) in [
            ("100", 100),
            ("100 MB", 100_000_000),
            ("100M", 100_000_000),
            ("5kB", 5_000),
            ("5.4 kB", 5_400),
            ("1kiB", 1_024),
            ("1e6", 1_000_000),
            ("1e6 kB", 1_000_000_000),
            ("MB", 1_000_000),
            ("2GiB", 2_147_483_648),
            ("50MB", 50_000_000),
            ("10 MiB", 10_485_760),
            ("1_000", 1_000),
            ("0.5 k", 500),
            ("3Ti", 3_298_534_883_328),
            ("-1", -1),
            ("1.9", 1),
            ("", 1),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text:?}");
        }
    }

    #[test]
    fn what_dask_refuses_as_a_byte_count_is_refused() {
        for text in ["5 foos", "1.2.3", "inf", "nan", "0x10", "1__0", "1 MB 2"] {
            assert!(parse_bytes(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn durations_mean_what_dask_makes_of_them() {
        for (text, seconds) in [
            ("3s", 3.0),
            ("3.5 seconds", 3.5),
            ("300ms", 0.3),
            ("5 minutes", 300.0),
            ("1h", 3_600.0),
            ("500ms", 0.5),
            ("1us", 1e-6),
            ("100 ns", 100.0 * 1e-9),
            ("30", 30.0),
            ("1_0", 10.0),
            ("ms", 0.001),
            ("2 Hours", 7_200.0),
            ("1 week", 604_800.0),
            ("1e3", 1_000.0),
            ("0 seconds", 0.0),
            (".5s", 1.5),
            ("1 D", 86_400.0),
        ] {
            assert_eq!(parse_timedelta(text), Ok(seconds), "{text:?}");
        }
    }

    #[test]
    fn what_dask_refuses_as_a_duration_is_refused() {
        for text in [
            "",
            "5 lightyears",
            "-1s",
            "1.2.3s",
            "inf",
            "ss",
            "1 mins",
            "5 mss",
        ] {
            assert!(parse_timedelta(text).is_err(), "{text:?}");
        }
    }
}
