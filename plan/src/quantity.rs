//! Reading and writing Kubernetes amounts: `500m`, `1.5`, `2Gi`, `1e3`. Exact in thousandths, rounded up.

use serde::Serialize;

/// An amount that is not negative, in thousandths of its unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount {
    thousandths: u128,
}

/// Why a text is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    #[error("\"{0}\" is not an amount")]
    Syntax(String),
    #[error("\"{0}\" is negative")]
    Negative(String),
    #[error("\"{0}\" is too large")]
    TooLarge(String),
}

impl Amount {
    /// The whole units, rounded up: bytes of memory, number of devices, cores to run threads on.
    pub fn rounded_up(self) -> u64 {
        u64::try_from(self.thousandths.div_ceil(1000)).unwrap_or(u64::MAX)
    }

    /// As a number with a fraction.
    pub fn as_f64(self) -> f64 {
        self.thousandths as f64 / 1000.0
    }

    /// As Kubernetes writes it, without loss: `500m`, `2`, and memory as `2Gi` where it comes out even.
    pub fn to_quantity(self, resource: &str) -> String {
        if !self.thousandths.is_multiple_of(1000) {
            return format!("{}m", self.thousandths);
        }
        let whole = self.thousandths / 1000;
        let bytes = ["memory", "ephemeral-storage", "storage"].contains(&resource)
            || resource.starts_with("hugepages-");
        // From Mi on: 2G, written as 1953125Ki, would surprise whoever wrote it.
        let even = ["Gi", "Mi"]
            .into_iter()
            .zip([1 << 30, 1 << 20])
            .find(|(_, unit)| bytes && whole > 0 && whole.is_multiple_of(*unit));
        match even {
            Some((suffix, unit)) => format!("{}{suffix}", whole / unit),
            None => whole.to_string(),
        }
    }

    pub fn is_zero(self) -> bool {
        self.thousandths == 0
    }

    /// So many whole units.
    pub fn from_whole(units: u64) -> Self {
        Amount {
            thousandths: u128::from(units) * 1000,
        }
    }

    pub fn plus(self, other: Self) -> Self {
        Amount {
            thousandths: self.thousandths.saturating_add(other.thousandths),
        }
    }

    /// What is left; nothing where the other is more.
    pub fn minus(self, other: Self) -> Self {
        Amount {
            thousandths: self.thousandths.saturating_sub(other.thousandths),
        }
    }

    pub fn times(self, count: u64) -> Self {
        Amount {
            thousandths: self.thousandths.saturating_mul(u128::from(count)),
        }
    }
}

impl Serialize for Amount {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.thousandths.is_multiple_of(1000) {
            serializer.serialize_u64(self.rounded_up())
        } else {
            serializer.serialize_f64(self.as_f64())
        }
    }
}

impl std::str::FromStr for Amount {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let syntax = || QuantityError::Syntax(text.to_owned());
        let unsigned = text.strip_prefix('+').unwrap_or(text);
        let (negative, unsigned) = match unsigned.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, unsigned),
        };
        let digits_end = unsigned
            .find(|letter: char| !(letter.is_ascii_digit() || letter == '.'))
            .unwrap_or(unsigned.len());
        let (digits, suffix) = unsigned.split_at(digits_end);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(syntax());
        }
        let scale = Scale::of_suffix(suffix).ok_or_else(syntax)?;
        let thousandths = thousandths(whole, fraction, scale)
            .ok_or_else(|| QuantityError::TooLarge(text.to_owned()))?;
        if negative && thousandths > 0 {
            return Err(QuantityError::Negative(text.to_owned()));
        }
        Ok(Amount { thousandths })
    }
}

/// What a suffix multiplies by: `factor * 10^exponent`.
#[derive(Debug, Clone, Copy)]
struct Scale {
    factor: u128,
    exponent: i32,
}

impl Scale {
    fn of_suffix(suffix: &str) -> Option<Self> {
        let decimal = |exponent| {
            Some(Scale {
                factor: 1,
                exponent,
            })
        };
        let binary = |power: u32| {
            Some(Scale {
                factor: 1024_u128.pow(power),
                exponent: 0,
            })
        };
        match suffix {
            "n" => decimal(-9),
            "u" => decimal(-6),
            "m" => decimal(-3),
            "" => decimal(0),
            "k" => decimal(3),
            "M" => decimal(6),
            "G" => decimal(9),
            "T" => decimal(12),
            "P" => decimal(15),
            "E" => decimal(18),
            "Ki" => binary(1),
            "Mi" => binary(2),
            "Gi" => binary(3),
            "Ti" => binary(4),
            "Pi" => binary(5),
            "Ei" => binary(6),
            other => {
                let exponent = other.strip_prefix(['e', 'E'])?;
                let digits = exponent.trim_start_matches(['+', '-']);
                if digits.is_empty() || digits.len() + 1 < exponent.len() {
                    return None;
                }
                exponent.parse().ok().and_then(decimal)
            }
        }
    }
}

/// `whole.fraction * scale` in thousandths, rounded up; `None` past the largest we can count.
fn thousandths(whole: &str, fraction: &str, scale: Scale) -> Option<u128> {
    // More digits than this say nothing below a thousandth after rounding up.
    let fraction = &fraction[..fraction.len().min(18)];
    let digits: u128 = format!("0{whole}{fraction}").parse().ok()?;
    let scaled = digits.checked_mul(scale.factor)?;
    let exponent = scale
        .exponent
        .checked_add(3)?
        .checked_sub(i32::try_from(fraction.len()).ok()?)?;
    if exponent >= 0 {
        return if scaled == 0 {
            Some(0)
        } else {
            scaled.checked_mul(10_u128.checked_pow(exponent.unsigned_abs())?)
        };
    }
    Some(
        10_u128
            .checked_pow(exponent.unsigned_abs())
            .map_or(u128::from(scaled > 0), |divisor| scaled.div_ceil(divisor)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_read_as_kubernetes_reads_it() {
        for (text, expected) in [
            ("1", 1.0),
            ("500m", 0.5),
            ("0.1", 0.1),
            (".5", 0.5),
            ("1.", 1.0),
            ("2Gi", 2.0 * 1024.0 * 1024.0 * 1024.0),
            ("1.5Gi", 1.5 * 1024.0 * 1024.0 * 1024.0),
            ("2G", 2e9),
            ("1e3", 1000.0),
            ("1E3", 1000.0),
            ("12e-1", 1.2),
            ("1E", 1e18),
            ("+3", 3.0),
            ("-0", 0.0),
            ("1n", 0.001), // rounded up to a thousandth
        ] {
            let amount: Amount = text.parse().unwrap();
            assert!(
                (amount.as_f64() - expected).abs() < 1e-9 * expected.max(1.0),
                "{text} is {}",
                amount.as_f64()
            );
        }
    }

    #[test]
    fn whole_units_are_rounded_up() {
        for (text, expected) in [
            ("500m", 1),
            ("1", 1),
            ("1001m", 2),
            ("0", 0),
            ("1500Mi", 1_572_864_000),
        ] {
            assert_eq!(
                text.parse::<Amount>().unwrap().rounded_up(),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn an_amount_is_written_without_loss() {
        for (resource, text, expected) in [
            ("cpu", "0.5", "500m"),
            ("cpu", "1500m", "1500m"),
            ("cpu", "2", "2"),
            ("cpu", "1048576", "1048576"),
            ("memory", "2Gi", "2Gi"),
            ("memory", "1.5Gi", "1536Mi"),
            ("memory", "2G", "2000000000"),
            ("memory", "1025Ki", "1049600"),
            ("memory", "0", "0"),
            ("memory", "100m", "100m"),
            ("hugepages-2Mi", "4Mi", "4Mi"),
            ("nvidia.com/gpu", "1", "1"),
        ] {
            let amount: Amount = text.parse().unwrap();
            let written = amount.to_quantity(resource);
            assert_eq!(written, expected, "{resource} {text}");
            assert_eq!(
                written.parse::<Amount>().unwrap(),
                amount,
                "{resource} {text}"
            );
        }
    }

    #[test]
    fn what_is_not_an_amount_is_an_error() {
        for text in [
            "", "two", "1 Gi", "2GB", "1gi", "1.2.3", "m", "1e", "1e+-3", "e3", "1ee3", "--1",
        ] {
            assert!(
                matches!(text.parse::<Amount>(), Err(QuantityError::Syntax(_))),
                "{text}: {:?}",
                text.parse::<Amount>()
            );
        }
        assert!(matches!(
            "-1".parse::<Amount>(),
            Err(QuantityError::Negative(_))
        ));
        for text in [
            "1e40",
            "1e2147483647",
            "99999999999999999999999999999999999999Ei",
        ] {
            assert!(
                matches!(text.parse::<Amount>(), Err(QuantityError::TooLarge(_))),
                "{text}"
            );
        }
    }
}
