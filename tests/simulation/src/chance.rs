//! All randomness of a run.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::Rng;

pub struct Chance(Pcg64Mcg);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(Pcg64Mcg::new((u128::from(seed) << 1) | 1))
    }

    /// Below `limit`, which must not be zero.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0.next_u64() as usize % limit
    }

    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.0.next_u64() % (high - low + 1)
    }

    /// True in so many cases of a hundred.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.0.next_u64() % 100 < percent
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        if from.is_empty() {
            None
        } else {
            Some(&from[self.below(from.len())])
        }
    }
}
