//! The graph as arrays: for each node its dependencies and its dependents, ascending.
//!
//! Nodes are the tasks in the order of the graph, then the keys outside of it that tasks depend on.

use super::Cycle;
use crate::graph::{Dep, GraphTask};
use protocol::{Key, KeyBuildHasher};
use std::collections::BTreeMap;

pub type Node = u32;

/// Many lists in one allocation.
#[derive(Default)]
pub struct Lists {
    starts: Vec<u32>,
    items: Vec<Node>,
}

impl Lists {
    pub fn of(&self, node: Node) -> &[Node] {
        &self.items[self.starts[node as usize] as usize..self.starts[node as usize + 1] as usize]
    }

    pub fn len_of(&self, node: Node) -> usize {
        (self.starts[node as usize + 1] - self.starts[node as usize]) as usize
    }

    fn begin(lists: usize, items: usize) -> Self {
        let mut starts = Vec::with_capacity(lists + 1);
        starts.push(0);
        Self {
            starts,
            items: Vec::with_capacity(items),
        }
    }

    fn end_list(&mut self) {
        self.starts.push(self.items.len() as u32);
    }

    /// For each node, who has it in their list, ascending.
    fn reversed(&self) -> Self {
        let count = self.starts.len() - 1;
        let mut starts = vec![0_u32; count + 1];
        for item in &self.items {
            starts[*item as usize + 1] += 1;
        }
        for index in 0..count {
            starts[index + 1] += starts[index];
        }
        let mut next = starts.clone();
        let mut items = vec![0; self.items.len()];
        for owner in 0..count as Node {
            for item in self.of(owner) {
                items[next[*item as usize] as usize] = owner;
                next[*item as usize] += 1;
            }
        }
        Self { starts, items }
    }

    fn without(&self, removed: &[bool]) -> Self {
        let mut kept = Self::begin(self.starts.len() - 1, self.items.len());
        for owner in 0..self.starts.len() as Node - 1 {
            if !removed[owner as usize] {
                kept.items.extend(
                    self.of(owner)
                        .iter()
                        .copied()
                        .filter(|item| !removed[*item as usize]),
                );
            }
            kept.end_list();
        }
        kept
    }
}

/// A graph, its nodes numbered.
pub struct Dag<'a> {
    names: Vec<&'a Key>,
    pub dependencies: Lists,
    pub dependents: Lists,
    /// Nodes of the graph itself; those from here on are outside of it.
    pub tasks: usize,
    is_data: Vec<bool>,
    /// Data that many tasks share and that takes no part in the walk.
    pub is_detached: Vec<bool>,
}

impl<'a> Dag<'a> {
    pub fn new(
        tasks: &'a [GraphTask],
        dependencies: &'a [Dep],
        is_data: impl Fn(usize) -> bool,
    ) -> Self {
        let mut names = tasks.iter().map(|task| &task.key).collect::<Vec<_>>();
        let mut is_data = (0..tasks.len()).map(is_data).collect::<Vec<_>>();
        let mut outside: hashbrown::HashMap<&Key, Node, KeyBuildHasher> =
            hashbrown::HashMap::default();
        let mut lists = Lists::begin(tasks.len(), dependencies.len());
        for task in tasks {
            let first = lists.items.len();
            for dependency in
                &dependencies[task.dependencies.start as usize..task.dependencies.end as usize]
            {
                lists.items.push(match dependency {
                    Dep::Task(index) => *index,
                    Dep::External(key) => *outside.entry(key).or_insert_with(|| {
                        names.push(key);
                        names.len() as Node - 1
                    }),
                });
            }
            lists.items[first..].sort_unstable();
            lists.end_list();
        }
        for _ in tasks.len()..names.len() {
            lists.end_list();
        }
        is_data.resize(is_data.len() + names.len() - tasks.len(), true);
        let dependents = lists.reversed();
        let is_detached = vec![false; names.len()];
        Self {
            names,
            dependencies: lists,
            dependents,
            tasks: tasks.len(),
            is_data,
            is_detached,
        }
    }

    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Nodes that take part in the walk.
    pub fn nodes(&self) -> impl Iterator<Item = Node> + '_ {
        (0..self.len() as Node).filter(|node| !self.is_detached[*node as usize])
    }

    pub fn name(&self, node: Node) -> &'a Key {
        self.names[node as usize]
    }

    /// Takes out data that several tasks use: it is embedded in them, so its priority means nothing, and without it the
    /// graph has a simpler shape. Returns for each node which of these it needs.
    pub fn detach_shared_data(&mut self) -> BTreeMap<Node, Vec<Node>> {
        let shared = (0..self.len() as Node).filter(|node| {
            self.is_data[*node as usize]
                && self.dependencies.of(*node).is_empty()
                && self.dependents.len_of(*node) > 1
        });
        let mut required: BTreeMap<Node, Vec<Node>> = BTreeMap::new();
        let shared = shared.collect::<Vec<_>>();
        for data in &shared {
            self.is_detached[*data as usize] = true;
            for dependent in self.dependents.of(*data) {
                required.entry(*dependent).or_default().push(*data);
            }
        }
        if !shared.is_empty() {
            self.dependencies = self.dependencies.without(&self.is_detached);
            self.dependents = self.dependents.without(&self.is_detached);
        }
        required
    }

    /// For each node how many nodes must run for it, itself included, counting those on several paths several times.
    pub fn total_dependencies(&self) -> Result<Vec<u64>, Cycle> {
        let mut missing = (0..self.len() as Node)
            .map(|node| self.dependencies.len_of(node) as u32)
            .collect::<Vec<_>>();
        let mut totals = vec![0_u64; self.len()];
        let mut ready = self
            .nodes()
            .filter(|node| missing[*node as usize] == 0)
            .collect::<Vec<_>>();
        let mut done = 0;
        while let Some(node) = ready.pop() {
            done += 1;
            let below = self
                .dependencies
                .of(node)
                .iter()
                .map(|dependency| totals[*dependency as usize]);
            totals[node as usize] = below.fold(1, u64::saturating_add);
            for dependent in self.dependents.of(node) {
                missing[*dependent as usize] -= 1;
                if missing[*dependent as usize] == 0 {
                    ready.push(*dependent);
                }
            }
        }
        match done == self.nodes().count() {
            true => Ok(totals),
            false => Err(self.cycle(&missing)),
        }
    }

    /// Follows unfinished dependencies until one comes again.
    fn cycle(&self, missing: &[u32]) -> Cycle {
        let mut path = Vec::new();
        let mut place = vec![usize::MAX; self.len()];
        let mut node = self.nodes().find(|node| missing[*node as usize] > 0);
        while let Some(current) = node {
            if place[current as usize] != usize::MAX {
                path.drain(..place[current as usize]);
                path.push(current);
                break;
            }
            place[current as usize] = path.len();
            path.push(current);
            node = self
                .dependencies
                .of(current)
                .iter()
                .copied()
                .find(|next| missing[*next as usize] > 0);
        }
        Cycle(
            path.into_iter()
                .map(|node| self.name(node).clone())
                .collect(),
        )
    }
}
