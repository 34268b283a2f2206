//! How long tasks of a name take here, to know which are so short that the next should lie ready in the executor.

use protocol::Key;
use std::collections::BTreeMap;

/// Runs below this are shorter than asking for the next one is worth waiting for.
const SHORT_SECONDS: f64 = 1e-3;
const MOST_NAMES: usize = 4096;

#[derive(Default)]
pub(crate) struct Durations {
    /// Running means by the hash of a name.
    seconds: BTreeMap<u64, f64>,
}

impl Durations {
    pub fn note(&mut self, key: &Key, seconds: f64) {
        if !seconds.is_finite() || seconds < 0.0 {
            return;
        }
        if self.seconds.len() == MOST_NAMES {
            self.seconds.clear();
        }
        let mean = self.seconds.entry(name_hash(key)).or_insert(seconds);
        *mean = (*mean + seconds) / 2.0;
    }

    pub fn expected(&self, key: &Key) -> Option<f64> {
        self.seconds.get(&name_hash(key)).copied()
    }
}

pub(crate) fn is_short(expected: Option<f64>) -> bool {
    expected.is_some_and(|seconds| seconds < SHORT_SECONDS)
}

/// Of what a key begins with: `increment` of `increment-5f3a`, `mapped` of `("mapped", 15)`. A guess is enough.
fn name_hash(key: &Key) -> u64 {
    let bytes = key.as_str_bytes().unwrap_or_else(|| key.as_msgpack());
    let start = bytes.iter().position(u8::is_ascii_alphabetic);
    let named = &bytes[start.unwrap_or_default()..];
    let is_name = |byte: &&u8| byte.is_ascii_alphanumeric() || **byte == b'_';
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
    named
        .iter()
        .take_while(is_name)
        .fold(0xCBF2_9CE4_8422_2325, mix)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_of_a_name_are_expected_to_take_what_others_took() {
        let mut durations = Durations::default();
        let number = |number| Key::tuple(&[Key::str("mapped"), Key::int(number)]);
        assert!(!is_short(durations.expected(&number(1))));
        durations.note(&number(1), 1e-5);
        assert!(is_short(durations.expected(&number(2))));
        durations.note(&Key::str("increment-5f3a"), 2.0);
        assert_eq!(durations.expected(&Key::str("increment-77")), Some(2.0));
        durations.note(&number(3), 1.0);
        assert!(!is_short(durations.expected(&number(4))));
        durations.note(&number(5), f64::NAN);
        assert!(durations.expected(&number(5)).is_some_and(f64::is_finite));
    }
}
