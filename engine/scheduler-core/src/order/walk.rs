//! Walks a graph as one worker with little memory would, and numbers the nodes on the way.
//!
//! Again and again: choose a target (a leaf), build the critical path back to something that can run, and walk it; when
//! that required stepping aside, first run what has become possible without loading more.

use super::Cycle;
use super::dag::{Dag, Node};
use super::ends::{Set, ends};
use super::members::{Buckets, Members};
use crate::graph::GraphTask;
use protocol::Key;
use std::cell::OnceCell;
use std::cmp::Ordering;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

const NONE: i32 = -1;

/// Tasks without dependencies run in descending order of their names.
pub fn order_of_independent(tasks: &[GraphTask]) -> Vec<i32> {
    let names = Names::new(tasks.iter().map(|task| &task.key).collect());
    let mut sorted = (0..tasks.len() as Node).collect::<Vec<_>>();
    sorted.sort_by(|left, right| names.compare(*left, *right));
    let mut result = vec![NONE; tasks.len()];
    for (priority, node) in sorted.into_iter().rev().enumerate() {
        result[node as usize] = priority as i32;
    }
    result
}

/// The priorities of the graph's own tasks. `required`: detached data by the node that needs it.
pub fn order(dag: &Dag<'_>, required: BTreeMap<Node, Vec<Node>>) -> Result<Vec<i32>, Cycle> {
    let mut walk = Walk::new(dag, required)?;
    walk.run();
    walk.result.truncate(dag.tasks);
    Ok(walk.result)
}

/// Names as Python's `str` has them, compared.
struct Names<'a> {
    keys: Vec<&'a Key>,
    /// Only of keys that are not strings, made when first compared.
    texts: Vec<OnceCell<Box<str>>>,
}

impl<'a> Names<'a> {
    fn new(keys: Vec<&'a Key>) -> Self {
        let texts = (0..keys.len()).map(|_| OnceCell::new()).collect();
        Self { keys, texts }
    }

    fn text(&self, node: Node) -> &[u8] {
        match self.keys[node as usize].as_str_bytes() {
            Some(text) => text,
            None => {
                let made = self.texts[node as usize]
                    .get_or_init(|| self.keys[node as usize].to_string().into());
                made.as_bytes()
            }
        }
    }

    fn compare(&self, left: Node, right: Node) -> Ordering {
        self.text(left).cmp(self.text(right))
    }
}

/// What a node is worth: less work first, then fewer dependencies, fewer roots, more sharing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Worth {
    total: u64,
    dependencies: u32,
    roots: u32,
    sharing: std::cmp::Reverse<u32>,
}

struct Walk<'a> {
    dag: &'a Dag<'a>,
    names: Names<'a>,
    worth: Vec<Worth>,
    required: BTreeMap<Node, Vec<Node>>,
    result: Vec<i32>,
    numbered: usize,
    next: i32,
    /// Dependencies of each node that have no number yet.
    missing: Vec<u32>,
    is_root: Vec<bool>,
    /// Leaves without a number.
    is_leaf: Vec<bool>,
    /// Leaves that each root is connected to.
    leaves_of: Vec<Option<Rc<Set>>>,
    leaves_sorted: Vec<Node>,
    /// Nodes that can be reached and run without loading more.
    runnable_hull: Vec<bool>,
    /// Nodes with a dependency that has a number.
    reachable: Members,
    runnable: Vec<Node>,
    /// Paths of nodes that could run, by the node where they wait for others.
    waiting_paths: BTreeMap<Node, Vec<Vec<Node>>>,
    /// Leaves by how many roots must still be loaded for them.
    leaves_by_degree: Buckets,
    min_degree: usize,
    max_degree: usize,
    critical: Vec<Node>,
}

impl<'a> Walk<'a> {
    fn new(dag: &'a Dag<'a>, required: BTreeMap<Node, Vec<Node>>) -> Result<Self, Cycle> {
        let count = dag.len();
        let totals = dag.total_dependencies()?;
        let roots = ends(
            &dag.dependencies,
            &dag.dependents,
            dag.nodes(),
            count,
            false,
        );
        let leaves = ends(&dag.dependents, &dag.dependencies, dag.nodes(), count, true);
        let worth = |node: Node| Worth {
            total: totals[node as usize],
            dependencies: dag.dependencies.len_of(node) as u32,
            roots: roots.counts[node as usize],
            sharing: std::cmp::Reverse(roots.max_degree[node as usize]),
        };
        let taking_part = |node: Node| !dag.is_detached[node as usize];
        let all = 0..count as Node;
        let is_root = |node: Node| taking_part(node) && dag.dependencies.of(node).is_empty();
        let is_leaf = |node: Node| taking_part(node) && dag.dependents.of(node).is_empty();
        let active = dag.nodes().count();
        let mut walk = Self {
            dag,
            names: Names::new(all.clone().map(|node| dag.name(node)).collect()),
            worth: all.clone().map(worth).collect(),
            required,
            result: vec![NONE; count],
            numbered: 0,
            next: 0,
            missing: all
                .clone()
                .map(|node| dag.dependencies.len_of(node) as u32)
                .collect(),
            is_root: all.clone().map(is_root).collect(),
            is_leaf: all.clone().map(is_leaf).collect(),
            leaves_of: leaves.sets,
            leaves_sorted: Vec::new(),
            runnable_hull: vec![false; count],
            reachable: Members::new(count),
            runnable: Vec::new(),
            waiting_paths: BTreeMap::new(),
            leaves_by_degree: Buckets::new(active + 1, count),
            min_degree: active,
            max_degree: active,
            critical: Vec::new(),
        };
        for leaf in all.filter(|node| is_leaf(*node) && !is_root(*node)) {
            let degree = roots.counts[leaf as usize] as usize;
            walk.min_degree = walk.min_degree.min(degree);
            walk.max_degree = walk.max_degree.max(degree);
            walk.leaves_by_degree.insert(degree, leaf);
        }
        walk.sort_leaves(&leaves.counts);
        Ok(walk)
    }

    /// Some shapes profit when the leaf that needs most comes first, others from the opposite.
    fn sort_leaves(&mut self, leaves_connected: &[u32]) {
        let nodes = || self.dag.nodes();
        let mut leaves = nodes()
            .filter(|node| self.is_leaf[*node as usize])
            .collect::<Vec<_>>();
        let roots = nodes()
            .filter(|node| self.is_root[*node as usize])
            .collect::<Vec<_>>();
        leaves.sort_by(|left, right| self.compare(*left, *right));
        if !takes_longest_path_first(&roots, leaves.len(), leaves_connected) {
            leaves.sort_by(|left, right| self.compare(*right, *left));
        }
        self.leaves_sorted = leaves;
    }

    fn compare(&self, left: Node, right: Node) -> Ordering {
        let by_worth = self.worth[left as usize].cmp(&self.worth[right as usize]);
        by_worth.then_with(|| self.names.compare(left, right))
    }

    fn is_numbered(&self, node: Node) -> bool {
        self.result[node as usize] != NONE
    }

    fn number(&mut self, node: Node) {
        self.result[node as usize] = self.next;
        self.numbered += 1;
        if (node as usize) < self.dag.tasks {
            self.next += 1;
        }
    }

    /// Numbers a node and, while there is only one way to go, what follows it.
    fn add(&mut self, node: Node) {
        let dag = self.dag;
        let mut items = vec![node];
        while let Some(node) = items.pop() {
            self.runnable_hull[node as usize] = false;
            self.reachable.remove(node);
            self.is_leaf[node as usize] = false;
            if self.is_numbered(node) {
                continue;
            }
            for data in self.required.remove(&node).unwrap_or_default() {
                if !self.is_numbered(data) {
                    self.number(data);
                }
            }
            self.number(node);
            if self.is_root[node as usize] {
                self.bring_leaves_nearer(node);
            }
            let dependents = dag.dependents.of(node);
            for dependent in dependents {
                self.missing[*dependent as usize] -= 1;
                self.reachable.insert(*dependent);
                if self.missing[*dependent as usize] == 0 {
                    if dependents.len() == 1 {
                        items.push(*dependent);
                    } else {
                        self.runnable.push(*dependent);
                    }
                }
            }
        }
    }

    /// One root less is missing for every leaf this root is connected to.
    fn bring_leaves_nearer(&mut self, root: Node) {
        let Some(leaves) = self.leaves_of[root as usize].take() else {
            return;
        };
        leaves.for_each(|leaf| {
            if !self.is_leaf[leaf as usize] {
                return;
            }
            let Some(degree) = self.leaves_by_degree.remove(leaf) else {
                return;
            };
            if degree > 1 {
                self.min_degree = self.min_degree.min(degree - 1);
                self.leaves_by_degree.insert(degree - 1, leaf);
            } else if self.leaves_by_degree.members(degree).is_empty() {
                while self.min_degree != self.max_degree
                    && self.leaves_by_degree.members(self.min_degree).is_empty()
                {
                    self.min_degree += 1;
                }
            }
        });
    }

    fn add_all(&mut self, path: &[Node]) {
        for node in path {
            self.add(*node);
        }
    }

    /// Runs the paths that are free to run where they end in a leaf or complete what a node waits for; remembers the
    /// others by the node where they wait.
    fn process_runnables(&mut self) {
        while !self.runnable.is_empty() {
            let mut candidates = std::mem::take(&mut self.runnable);
            while let Some(node) = candidates.pop() {
                if self.runnable_hull[node as usize] || self.is_numbered(node) {
                    continue;
                }
                if self.is_leaf[node as usize] {
                    self.add(node);
                    continue;
                }
                let mut branches = VecDeque::from([(0, vec![node])]);
                while let Some((splits, path)) = branches.pop_front() {
                    self.follow(splits, path, &mut branches);
                }
            }
        }
    }

    fn follow(
        &mut self,
        splits: u32,
        mut path: Vec<Node>,
        branches: &mut VecDeque<(u32, Vec<Node>)>,
    ) {
        let dag = self.dag;
        loop {
            let current = *path.last().expect("a path begins with a node");
            self.runnable_hull[current as usize] = true;
            let dependents = dag.dependents.of(current);
            let dependencies = dag.dependencies.of(current).len();
            if dependents.is_empty() {
                match self.missing[current as usize] <= 1 {
                    true => self.add_all(&path),
                    false => self.runnable_hull[current as usize] = false,
                }
            } else if path.len() == 1 || dependencies == 1 {
                if let [only] = dependents {
                    path.push(*only);
                    continue;
                }
                self.split(splits + 1, &path, dependents, branches);
            } else if self.waiting_paths.contains_key(&current) {
                self.runnable_hull[current as usize] = false;
                self.join(splits, current, path, branches);
            } else if dependencies > 1 && self.missing[current as usize] <= 1 {
                self.add_all(&path);
            } else {
                self.waiting_paths.insert(current, vec![path]);
                self.runnable_hull[current as usize] = false;
            }
            return;
        }
    }

    /// One branch for each dependent that needs nothing else.
    fn split(
        &self,
        splits: u32,
        path: &[Node],
        dependents: &[Node],
        branches: &mut VecDeque<(u32, Vec<Node>)>,
    ) {
        let mut sorted = dependents.to_vec();
        sorted.sort_by(|left, right| self.compare(*left, *right));
        for dependent in sorted {
            if self.dag.dependencies.len_of(dependent) == 1 {
                let branch = path.iter().copied().chain([dependent]).collect();
                branches.push_back((splits, branch));
            }
        }
    }

    /// Another path has reached a node that others wait at: when that is all it needs, they run.
    fn join(
        &mut self,
        splits: u32,
        current: Node,
        path: Vec<Node>,
        branches: &mut VecDeque<(u32, Vec<Node>)>,
    ) {
        let needed = self.missing[current as usize] as usize;
        let paths = self.waiting_paths.entry(current).or_default();
        paths.push(path);
        if paths.len() < needed {
            return;
        }
        let paths = self.waiting_paths.remove(&current).unwrap_or_default();
        let open = |path: &Vec<Node>| !self.is_numbered(path[path.len() - 2]);
        let pruned = paths.into_iter().filter(open).collect::<VecDeque<_>>();
        if pruned.len() < needed {
            self.waiting_paths.insert(current, pruned.into());
        } else if splits > 1 {
            branches.push_back((splits - 1, pruned.into_iter().flatten().collect()));
        } else {
            self.add_paths(pruned);
        }
    }

    /// Each path as far as it can run, in turns. What no turn brings further is left to the critical path.
    fn add_paths(&mut self, mut paths: VecDeque<Vec<Node>>) {
        let mut fruitless = 0;
        while let Some(mut path) = paths.pop_front() {
            let runnable = path.iter().take_while(|node| {
                let can_run = self.missing[**node as usize] == 0;
                if can_run {
                    self.add(**node);
                }
                can_run
            });
            let done = runnable.count();
            fruitless = if done > 0 { 0 } else { fruitless + 1 };
            if done < path.len() && fruitless <= paths.len() {
                path.drain(..done);
                paths.push_back(path);
            }
        }
    }

    /// A leaf that needs few more roots, near what has been reached; at the beginning the first of all.
    fn target(&mut self) -> Option<Node> {
        let trivial = self.reachable.is_empty() || self.min_degree == self.max_degree;
        if trivial {
            return self.leaves_sorted.pop();
        }
        let near = self.leaves_by_degree.members(self.min_degree);
        let both: Vec<Node> = if near.len() < self.reachable.len() {
            near.iter()
                .copied()
                .filter(|leaf| self.reachable.contains(*leaf))
                .collect()
        } else {
            let is_near = |node: &Node| self.leaves_by_degree.contains(self.min_degree, *node);
            self.reachable.iter().filter(is_near).collect()
        };
        let candidates = if both.is_empty() { near } else { &both };
        candidates
            .iter()
            .copied()
            .min_by(|left, right| self.compare(*left, *right))
    }

    fn run(&mut self) {
        while self.numbered < self.result.len() {
            // Without a target the others have no priority among each other.
            let Some(target) = self.target() else {
                return self.number_the_rest();
            };
            self.build_critical_path(target);
            self.walk_critical_path();
            self.process_runnables();
        }
    }

    fn number_the_rest(&mut self) {
        for node in 0..self.result.len() as Node {
            if !self.is_numbered(node) {
                self.number(node);
            }
        }
    }

    fn build_critical_path(&mut self, target: Node) {
        let dag = self.dag;
        self.critical.push(target);
        let mut next = dag.dependencies.of(target).to_vec();
        while let Some(item) = next
            .iter()
            .copied()
            .max_by(|left, right| self.compare(*left, *right))
        {
            self.critical.push(item);
            next.clear();
            next.extend(
                dag.dependencies
                    .of(item)
                    .iter()
                    .copied()
                    .filter(|node| !self.is_numbered(*node)),
            );
            self.critical.extend_from_slice(&next);
        }
    }

    fn walk_critical_path(&mut self) {
        let mut walked_back = false;
        while let Some(item) = self.critical.pop() {
            if self.is_numbered(item) {
                continue;
            }
            if self.missing[item as usize] > 0 {
                self.critical.push(item);
                walked_back |= self.step_back(item);
            } else {
                if walked_back && self.runnable.len() < self.critical.len() {
                    self.process_runnables();
                }
                self.add(item);
            }
        }
    }

    /// Puts what `item` still needs on the path; returns whether that is a detour.
    fn step_back(&mut self, item: Node) -> bool {
        let needed = self
            .dag
            .dependencies
            .of(item)
            .iter()
            .copied()
            .filter(|node| !self.is_numbered(*node));
        let mut needed = needed.collect::<Vec<_>>();
        needed.sort_by(|left, right| self.compare(*left, *right));
        let (known, unknown): (Vec<_>, Vec<_>) = needed
            .into_iter()
            .partition(|node| self.waiting_paths.contains_key(node));
        self.critical.extend_from_slice(&unknown);
        for node in known {
            for path in self.waiting_paths.remove(&node).unwrap_or_default() {
                self.critical.extend(path.into_iter().rev());
            }
        }
        unknown.len() > 1
    }
}

/// Where a graph neither widens nor narrows much, only when all its roots are connected to as many leaves.
fn takes_longest_path_first(roots: &[Node], leaves: usize, leaves_connected: &[u32]) -> bool {
    let difference = roots.len().abs_diff(leaves) as f64 / roots.len() as f64;
    if difference >= 0.8 {
        return true;
    }
    let mut size = 0;
    for root in roots {
        let connected = leaves_connected[*root as usize];
        if size == 0 {
            size = connected;
        } else if size != connected {
            return false;
        }
    }
    true
}
