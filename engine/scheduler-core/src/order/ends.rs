//! Which ends of the graph each node is connected to: roots when following dependencies, leaves when following
//! dependents.
//!
//! Many nodes are connected to the same ends, so equal sets are shared; a set is dropped when no node still to be
//! computed can need it, unless the caller wants to keep those of the far end.

use super::dag::{Lists, Node};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::{Rc, Weak};

/// What is known of all nodes.
pub struct Ends {
    /// How many ends each node is connected to; an end itself counts as none.
    pub counts: Vec<u32>,
    /// The largest number of direct dependents (or dependencies) among the ends of each node.
    pub max_degree: Vec<u32>,
    /// The sets of the nodes with an empty outward list, where they were asked for.
    pub sets: Vec<Option<Rc<Set>>>,
}

/// A set of ends: a sorted list, or bits where that is smaller.
#[derive(PartialEq, Eq, Hash)]
pub enum Set {
    Few(Vec<Node>),
    Many { bits: Vec<u64>, len: u32 },
}

impl Set {
    pub fn len(&self) -> u32 {
        match self {
            Self::Few(list) => list.len() as u32,
            Self::Many { len, .. } => *len,
        }
    }

    pub fn for_each(&self, mut each: impl FnMut(Node)) {
        match self {
            Self::Few(list) => list.iter().for_each(|node| each(*node)),
            Self::Many { bits, .. } => {
                for (index, word) in bits.iter().enumerate() {
                    let mut word = *word;
                    while word != 0 {
                        each(index as Node * 64 + word.trailing_zeros());
                        word &= word - 1;
                    }
                }
            }
        }
    }

    fn contains_all(&self, other: &Self) -> bool {
        if other.len() > self.len() {
            return false;
        }
        match (self, other) {
            (Self::Few(own), Self::Few(other)) => is_subset(other, own),
            (Self::Many { bits, .. }, Self::Few(other)) => {
                other.iter().all(|node| has_bit(bits, *node))
            }
            (Self::Many { bits, .. }, Self::Many { bits: other, .. }) => {
                bits.iter().zip(other).all(|(own, other)| other & !own == 0)
            }
            (Self::Few(_), Self::Many { .. }) => false,
        }
    }
}

fn is_subset(small: &[Node], large: &[Node]) -> bool {
    let mut rest = large.iter();
    small
        .iter()
        .all(|node| rest.by_ref().find(|candidate| *candidate >= node) == Some(node))
}

fn has_bit(bits: &[u64], node: Node) -> bool {
    bits[node as usize / 64] & (1 << (node % 64)) != 0
}

/// The union. `nodes` is how many nodes there are in all.
fn union(sets: &[Rc<Set>], nodes: usize) -> Set {
    let upper = sets.iter().map(|set| set.len() as usize).sum::<usize>();
    if upper * 32 < nodes {
        let mut list = Vec::with_capacity(upper);
        sets.iter()
            .for_each(|set| set.for_each(|node| list.push(node)));
        list.sort_unstable();
        list.dedup();
        return Set::Few(list);
    }
    let mut bits = vec![0_u64; nodes.div_ceil(64)];
    for set in sets {
        match &**set {
            Set::Many { bits: other, .. } => bits
                .iter_mut()
                .zip(other)
                .for_each(|(own, other)| *own |= other),
            Set::Few(list) => list
                .iter()
                .for_each(|node| bits[*node as usize / 64] |= 1 << (node % 64)),
        }
    }
    let len = bits.iter().map(|word| word.count_ones()).sum::<u32>();
    if (len as usize) * 32 < nodes {
        let mut list = Vec::with_capacity(len as usize);
        Set::Many { bits, len }.for_each(|node| list.push(node));
        return Set::Few(list);
    }
    Set::Many { bits, len }
}

/// Walks from the ends (`inward` is empty there) along `outward`. `keep`: keep the sets of nodes without `outward`.
pub fn ends(
    inward: &Lists,
    outward: &Lists,
    nodes: impl Iterator<Item = Node>,
    count: usize,
    keep: bool,
) -> Ends {
    let mut found = Ends {
        counts: vec![0; count],
        max_degree: vec![0; count],
        sets: Vec::new(),
    };
    let mut sets: Vec<Option<Rc<Set>>> = vec![None; count];
    let mut missing = (0..count as Node)
        .map(|node| inward.len_of(node) as u32)
        .collect::<Vec<_>>();
    let mut awaited = (0..count as Node)
        .map(|node| outward.len_of(node) as u32)
        .collect::<Vec<_>>();
    let mut known: BTreeMap<u64, Vec<Weak<Set>>> = BTreeMap::new();
    let mut ready = Vec::new();
    let mut roots = Vec::new();
    for node in nodes.filter(|node| inward.of(*node).is_empty()) {
        roots.push(node);
        sets[node as usize] = Some(Rc::new(Set::Few(vec![node])));
        found.max_degree[node as usize] = outward.len_of(node) as u32;
        release(outward.of(node), &mut missing, &mut ready);
    }
    while let Some(node) = ready.pop() {
        release(outward.of(node), &mut missing, &mut ready);
        let below = inward.of(node);
        found.max_degree[node as usize] = below
            .iter()
            .map(|child| found.max_degree[*child as usize])
            .max()
            .unwrap_or(0);
        let set = joined(below, &sets, count, &mut known);
        found.counts[node as usize] = set.len();
        if awaited[node as usize] > 0 || keep {
            sets[node as usize] = Some(set);
        }
        for child in below {
            awaited[*child as usize] -= 1;
            if awaited[*child as usize] == 0 {
                sets[*child as usize] = None;
            }
        }
    }
    if keep {
        for root in roots {
            sets[root as usize] = None;
        }
        found.sets = sets;
    }
    found
}

fn release(outward: &[Node], missing: &mut [u32], ready: &mut Vec<Node>) {
    for node in outward {
        missing[*node as usize] -= 1;
        if missing[*node as usize] == 0 {
            ready.push(*node);
        }
    }
}

/// The set of a node whose neighbours towards the ends are `below`.
fn joined(
    below: &[Node],
    sets: &[Option<Rc<Set>>],
    count: usize,
    known: &mut BTreeMap<u64, Vec<Weak<Set>>>,
) -> Rc<Set> {
    let mut distinct: Vec<Rc<Set>> = Vec::new();
    for child in below {
        let set = sets[*child as usize]
            .as_ref()
            .expect("kept while a node awaits it");
        if !distinct.last().is_some_and(|other| Rc::ptr_eq(other, set)) {
            distinct.push(set.clone());
        }
    }
    if distinct.len() > 1 {
        distinct.sort_by_key(|set| Rc::as_ptr(set) as usize);
        distinct.dedup_by(|left, right| Rc::ptr_eq(left, right));
    }
    let largest = distinct
        .iter()
        .max_by_key(|set| set.len())
        .expect("not an end, so it has neighbours");
    if distinct.iter().all(|set| largest.contains_all(set)) {
        return largest.clone();
    }
    let set = union(&distinct, count);
    let mut hasher = DefaultHasher::new();
    set.hash(&mut hasher);
    let same = known.entry(hasher.finish()).or_default();
    same.retain(|other| other.strong_count() > 0);
    if let Some(equal) = same
        .iter()
        .filter_map(Weak::upgrade)
        .find(|other| **other == set)
    {
        return equal;
    }
    let set = Rc::new(set);
    same.push(Rc::downgrade(&set));
    set
}
