//! Sets of small identities: a few in place, some in a list, many hashed; and a set that remembers insertion order.
//!
//! Invariant: the same calls in the same order give the same iteration order; no random state anywhere.

use hashbrown::HashTable;
use std::marker::PhantomData;

/// Something that is really a `u32`.
pub(crate) trait Id: Copy + Eq {
    fn raw(self) -> u32;
    fn from_raw(raw: u32) -> Self;
}

macro_rules! impl_id {
    ($($name:ty),*) => {$(
        impl $crate::id_set::Id for $name {
            fn raw(self) -> u32 { self.0 }
            fn from_raw(raw: u32) -> Self { Self(raw) }
        }
    )*};
}
pub(crate) use impl_id;

impl_id!(crate::ids::WorkerId, crate::ids::ClientId);

const IN_PLACE: usize = 3;
/// Beyond this a linear search for removal costs more than hashing.
const LISTED: usize = 48;

/// 16 bytes; no order promised.
pub(crate) struct IdSet<I> {
    repr: Repr,
    kind: PhantomData<I>,
}

enum Repr {
    InPlace {
        len: u8,
        ids: [u32; IN_PLACE],
    },
    #[expect(
        clippy::box_collection,
        reason = "a task has several sets, and this halves the size of each"
    )]
    Listed(Box<Vec<u32>>),
    Hashed(Box<HashTable<u32>>),
}

/// Mixes an id for hashing; multiplication by an odd constant spreads consecutive ids over the table.
pub(crate) fn hash_id(raw: u32) -> u64 {
    u64::from(raw)
        .wrapping_mul(0x9E37_79B9_7F4A_7C15)
        .rotate_left(26)
}

impl<I> Default for IdSet<I> {
    fn default() -> Self {
        Self {
            repr: Repr::InPlace {
                len: 0,
                ids: [0; IN_PLACE],
            },
            kind: PhantomData,
        }
    }
}

impl<I: Id> IdSet<I> {
    pub fn len(&self) -> usize {
        match &self.repr {
            Repr::InPlace { len, .. } => usize::from(*len),
            Repr::Listed(ids) => ids.len(),
            Repr::Hashed(ids) => ids.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn contains(&self, id: I) -> bool {
        let raw = id.raw();
        match &self.repr {
            Repr::InPlace { len, ids } => ids[..usize::from(*len)].contains(&raw),
            Repr::Listed(ids) => ids.contains(&raw),
            Repr::Hashed(ids) => ids.find(hash_id(raw), |own| *own == raw).is_some(),
        }
    }

    /// True if it was not there.
    pub fn insert(&mut self, id: I) -> bool {
        if self.contains(id) {
            return false;
        }
        self.push_new(id.raw());
        true
    }

    fn push_new(&mut self, raw: u32) {
        match &mut self.repr {
            Repr::InPlace { len, ids } => {
                let at = usize::from(*len);
                if at < IN_PLACE {
                    ids[at] = raw;
                    *len += 1;
                } else {
                    let mut list = Vec::with_capacity(IN_PLACE + 3);
                    list.extend_from_slice(ids);
                    list.push(raw);
                    self.repr = Repr::Listed(Box::new(list));
                }
            }
            Repr::Listed(ids) if ids.len() < LISTED => ids.push(raw),
            Repr::Listed(ids) => {
                let mut table = HashTable::with_capacity(ids.len() * 2);
                for own in ids.iter().chain([&raw]) {
                    table.insert_unique(hash_id(*own), *own, |other| hash_id(*other));
                }
                self.repr = Repr::Hashed(Box::new(table));
            }
            Repr::Hashed(table) => {
                table.insert_unique(hash_id(raw), raw, |other| hash_id(*other));
            }
        }
    }

    /// True if it was there.
    pub fn remove(&mut self, id: I) -> bool {
        let raw = id.raw();
        match &mut self.repr {
            Repr::InPlace { len, ids } => {
                let used = usize::from(*len);
                let Some(at) = ids[..used].iter().position(|own| *own == raw) else {
                    return false;
                };
                ids[at] = ids[used - 1];
                *len -= 1;
                true
            }
            Repr::Listed(ids) => {
                let Some(at) = ids.iter().position(|own| *own == raw) else {
                    return false;
                };
                ids.swap_remove(at);
                if ids.is_empty() {
                    *self = Self::default();
                }
                true
            }
            Repr::Hashed(table) => {
                let Ok(entry) = table.find_entry(hash_id(raw), |own| *own == raw) else {
                    return false;
                };
                entry.remove();
                if table.is_empty() {
                    *self = Self::default();
                }
                true
            }
        }
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }

    pub fn iter(&self) -> impl Iterator<Item = I> + '_ {
        let (slice, table) = match &self.repr {
            Repr::InPlace { len, ids } => (&ids[..usize::from(*len)], None),
            Repr::Listed(ids) => (ids.as_slice(), None),
            Repr::Hashed(table) => (&[][..], Some(table)),
        };
        slice
            .iter()
            .chain(table.into_iter().flat_map(|table| table.iter()))
            .map(|raw| I::from_raw(*raw))
    }

    /// The only member, if there is exactly one.
    pub fn only(&self) -> Option<I> {
        if self.len() == 1 {
            self.iter().next()
        } else {
            None
        }
    }

    /// Bytes held outside the 16 of the set itself.
    pub fn heap_bytes(&self) -> usize {
        match &self.repr {
            Repr::InPlace { .. } => 0,
            Repr::Listed(ids) => 24 + 4 * ids.capacity(),
            Repr::Hashed(table) => 32 + table.allocation_size(),
        }
    }
}

const GONE: u32 = u32::MAX;

/// A set that is iterated in insertion order. Removal leaves a hole; holes are squeezed out when they prevail.
pub(crate) struct OrderedIdSet<I> {
    order: Vec<u32>,
    /// Positions in `order`, hashed by the id found there.
    places: HashTable<u32>,
    kind: PhantomData<I>,
}

impl<I> Default for OrderedIdSet<I> {
    fn default() -> Self {
        Self {
            order: Vec::new(),
            places: HashTable::new(),
            kind: PhantomData,
        }
    }
}

impl<I: Id> OrderedIdSet<I> {
    pub fn len(&self) -> usize {
        self.places.len()
    }

    pub fn contains(&self, id: I) -> bool {
        let raw = id.raw();
        self.places
            .find(hash_id(raw), |at| self.order[*at as usize] == raw)
            .is_some()
    }

    /// True if it was not there.
    pub fn insert(&mut self, id: I) -> bool {
        if self.contains(id) {
            return false;
        }
        let raw = id.raw();
        let place = self.order.len() as u32;
        self.order.push(raw);
        let order = &self.order;
        self.places
            .insert_unique(hash_id(raw), place, |at| hash_id(order[*at as usize]));
        true
    }

    /// True if it was there.
    pub fn remove(&mut self, id: I) -> bool {
        let raw = id.raw();
        let order = &self.order;
        let Ok(entry) = self
            .places
            .find_entry(hash_id(raw), |at| order[*at as usize] == raw)
        else {
            return false;
        };
        let (place, _) = entry.remove();
        self.order[place as usize] = GONE;
        if self.order.len() > 16 && self.places.len() * 2 < self.order.len() {
            self.squeeze();
        }
        true
    }

    fn squeeze(&mut self) {
        self.order.retain(|raw| *raw != GONE);
        self.order.shrink_to(self.order.len() * 2);
        let order = &self.order;
        self.places = HashTable::with_capacity(order.len());
        for (place, raw) in order.iter().enumerate() {
            self.places
                .insert_unique(hash_id(*raw), place as u32, |at| {
                    hash_id(order[*at as usize])
                });
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = I> + '_ {
        self.order
            .iter()
            .filter(|raw| **raw != GONE)
            .map(|raw| I::from_raw(*raw))
    }

    pub fn heap_bytes(&self) -> usize {
        4 * self.order.capacity() + self.places.allocation_size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::WorkerId;

    #[test]
    fn a_set_holds_what_was_inserted_and_not_removed_at_any_size() {
        for size in [0u32, 1, 3, 4, 47, 48, 49, 50, 500] {
            let mut set = IdSet::<WorkerId>::default();
            for raw in 0..size {
                assert!(set.insert(WorkerId(raw)));
                assert!(!set.insert(WorkerId(raw)));
            }
            for raw in (0..size).step_by(2) {
                assert!(set.remove(WorkerId(raw)));
                assert!(!set.remove(WorkerId(raw)));
            }
            let mut left: Vec<u32> = set.iter().map(|id| id.0).collect();
            left.sort_unstable();
            assert_eq!(left, (1..size).step_by(2).collect::<Vec<_>>());
            assert_eq!(set.len(), left.len());
            assert!((0..size).all(|raw| set.contains(WorkerId(raw)) == (raw % 2 == 1)));
        }
    }

    #[test]
    fn an_ordered_set_keeps_insertion_order_through_removals() {
        let mut set = OrderedIdSet::<WorkerId>::default();
        for raw in 0..100 {
            set.insert(WorkerId(raw));
        }
        for raw in 0..90 {
            set.remove(WorkerId(raw));
        }
        set.insert(WorkerId(5));
        let ids: Vec<u32> = set.iter().map(|id| id.0).collect();
        assert_eq!(ids, [90, 91, 92, 93, 94, 95, 96, 97, 98, 99, 5]);
        assert!(set.contains(WorkerId(95)) && !set.contains(WorkerId(6)));
    }

    #[test]
    fn a_set_takes_sixteen_bytes_in_its_task() {
        assert_eq!(size_of::<IdSet<WorkerId>>(), 16);
    }
}
