//! A set of workers as bits, one for each rank; iterated in order of rank.

#[derive(Clone, Default)]
pub(crate) struct RankSet {
    words: Vec<u64>,
    len: usize,
}

impl RankSet {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn contains(&self, rank: u32) -> bool {
        let word = self.words.get(rank as usize / 64).copied().unwrap_or(0);
        word & bit(rank) != 0
    }

    pub fn insert(&mut self, rank: u32) {
        let at = rank as usize / 64;
        if at >= self.words.len() {
            self.words.resize(at + 1, 0);
        }
        if self.words[at] & bit(rank) == 0 {
            self.words[at] |= bit(rank);
            self.len += 1;
        }
    }

    pub fn remove(&mut self, rank: u32) {
        if self.contains(rank) {
            self.words[rank as usize / 64] &= !bit(rank);
            self.len -= 1;
        }
    }

    pub fn put(&mut self, rank: u32, member: bool) {
        if member {
            self.insert(rank);
        } else {
            self.remove(rank);
        }
    }

    pub fn clear(&mut self) {
        self.words.clear();
        self.len = 0;
    }

    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.words.iter().enumerate().flat_map(|(at, word)| {
            let mut left = *word;
            std::iter::from_fn(move || {
                if left == 0 {
                    return None;
                }
                let lowest = left.trailing_zeros();
                left &= left - 1;
                Some(at as u32 * 64 + lowest)
            })
        })
    }

    /// The member with `index` members before it.
    pub fn nth(&self, index: usize) -> Option<u32> {
        let mut before = index;
        for (at, word) in self.words.iter().enumerate() {
            let ones = word.count_ones() as usize;
            if before >= ones {
                before -= ones;
                continue;
            }
            let mut left = *word;
            for _ in 0..before {
                left &= left - 1;
            }
            return Some(at as u32 * 64 + left.trailing_zeros());
        }
        None
    }
}

fn bit(rank: u32) -> u64 {
    1 << (rank % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_come_in_order_and_by_index() {
        let mut set = RankSet::default();
        for rank in [200, 3, 64, 63, 3] {
            set.insert(rank);
        }
        set.remove(64);
        set.remove(65);
        assert_eq!(set.iter().collect::<Vec<_>>(), [3, 63, 200]);
        assert_eq!(
            (0..4).map(|at| set.nth(at)).collect::<Vec<_>>(),
            [Some(3), Some(63), Some(200), None]
        );
        assert_eq!(set.len(), 3);
    }
}
