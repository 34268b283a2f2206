//! A set of nodes that is changed and listed often.

use super::dag::Node;

/// Constant-time insertion, removal and test; listing costs what it holds. Several sets may share nodes.
#[derive(Default)]
pub struct Members {
    list: Vec<Node>,
    /// Where a node is in the list, plus one.
    place: Vec<u32>,
}

impl Members {
    pub fn new(nodes: usize) -> Self {
        Self {
            list: Vec::new(),
            place: vec![0; nodes],
        }
    }

    pub fn insert(&mut self, node: Node) {
        if self.place[node as usize] == 0 {
            self.list.push(node);
            self.place[node as usize] = self.list.len() as u32;
        }
    }

    pub fn remove(&mut self, node: Node) {
        let place = std::mem::take(&mut self.place[node as usize]);
        if place > 0 {
            self.list.swap_remove(place as usize - 1);
            if let Some(moved) = self.list.get(place as usize - 1) {
                self.place[*moved as usize] = place;
            }
        }
    }

    pub fn contains(&self, node: Node) -> bool {
        self.place[node as usize] > 0
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// In no particular order.
    pub fn iter(&self) -> impl Iterator<Item = Node> + '_ {
        self.list.iter().copied()
    }
}

/// Disjoint sets by number: a node is in at most one of them.
pub struct Buckets {
    buckets: Vec<Vec<Node>>,
    /// Bucket and place of a node.
    place: Vec<(u32, u32)>,
}

const NOWHERE: (u32, u32) = (u32::MAX, u32::MAX);

impl Buckets {
    pub fn new(buckets: usize, nodes: usize) -> Self {
        Self {
            buckets: vec![Vec::new(); buckets],
            place: vec![NOWHERE; nodes],
        }
    }

    pub fn insert(&mut self, bucket: usize, node: Node) {
        self.place[node as usize] = (bucket as u32, self.buckets[bucket].len() as u32);
        self.buckets[bucket].push(node);
    }

    /// Takes the node out and returns the number of its bucket.
    pub fn remove(&mut self, node: Node) -> Option<usize> {
        let (bucket, place) = std::mem::replace(&mut self.place[node as usize], NOWHERE);
        let members = self.buckets.get_mut(bucket as usize)?;
        members.swap_remove(place as usize);
        if let Some(moved) = members.get(place as usize) {
            self.place[*moved as usize].1 = place;
        }
        Some(bucket as usize)
    }

    pub fn members(&self, bucket: usize) -> &[Node] {
        self.buckets.get(bucket).map_or(&[], Vec::as_slice)
    }

    pub fn contains(&self, bucket: usize, node: Node) -> bool {
        self.place[node as usize].0 as usize == bucket
    }
}
