//! In which order the tasks of a graph should run, when nothing else decides: the static priorities of `dask.order`.
//!
//! The algorithm is Dask's, and so is its result wherever Dask's own is determined: Dask iterates over sets whose order
//! changes from process to process, this one over tasks in the order of the graph. Nodes are numbers here; names only
//! break ties.
//!
//! `dag` holds the graph as arrays, `ends` which roots and leaves a node is connected to, `walk` the ordering itself.

mod dag;
mod ends;
mod members;
mod walk;

#[cfg(test)]
mod tests;

use crate::graph::{Dep, GraphTask};
use dag::Dag;
use protocol::Key;

/// The graph has a cycle; these keys, in order, are on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle(pub Vec<Key>);

impl std::error::Error for Cycle {}

impl std::fmt::Display for Cycle {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Cycle detected between the following keys:")?;
        self.0
            .iter()
            .try_for_each(|key| write!(out, "\n  -> {key}"))
    }
}

/// The priority of each task, smaller first. `is_data(task)`: the task only holds a value and runs nothing.
pub fn order(
    tasks: &[GraphTask],
    dependencies: &[Dep],
    is_data: impl Fn(usize) -> bool,
) -> Result<Vec<i32>, Cycle> {
    if dependencies.is_empty() {
        return Ok(walk::order_of_independent(tasks));
    }
    let mut dag = Dag::new(tasks, dependencies, is_data);
    let required_data = dag.detach_shared_data();
    walk::order(&dag, required_data)
}
