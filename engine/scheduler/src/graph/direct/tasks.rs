//! A dict of tasks, references and data, as `submit` and `get` send it.

use super::Refusal;
use super::environment::TASK_MODULE;
use super::expression::{Entry, key, object, value_of};
use super::specs::SpecWriter;
use crate::graph::reply::Opened;
use protocol::pickle::{Node, NodeId, Tree};
use protocol::{Key, KeyBuildHasher};
use scheduler_core::{Dep, Graph, GraphTask};
use std::collections::HashMap;

/// The state of a `Task`: its slots by name, in order.
const SLOTS: usize = 9;
const PRODUCER: usize = 0;
const DEPENDENCIES: usize = 1;
const ARGUMENTS: usize = 5;
const FUNCTION: usize = 6;
const KEYWORDS: usize = 8;

/// One node of a graph.
struct Part {
    key: Key,
    node: NodeId,
    kind: Kind,
    dependencies: Vec<Key>,
}

#[derive(Clone, Copy)]
enum Kind {
    Task {
        class: NodeId,
        state: NodeId,
        function: NodeId,
        is_producer: bool,
    },
    Alias,
    Data,
}

type Index = HashMap<Key, usize, KeyBuildHasher>;

/// The tasks that the wanted keys need, in the order of the dict.
pub fn open(
    entries: &[Entry],
    wanted: &[Key],
    mut writer: SpecWriter<'_>,
) -> Result<Opened, Refusal> {
    let mut parts = Vec::with_capacity(entries.len());
    for entry in entries {
        parts.extend(part(writer.tree(), entry)?);
    }
    let index = index(&parts)?;
    if index.len() != parts.len() {
        return Err("a key twice".into());
    }
    let parts = culled(parts, &index, wanted);
    let index = self::index(&parts)?;
    let mut uses = HashMap::new();
    for part in &parts {
        if let Kind::Task { function, .. } = part.kind {
            *uses.entry(function).or_insert(0_usize) += 1;
        }
    }
    let mut graph = Graph::default();
    let mut is_data = Vec::with_capacity(parts.len());
    for part in parts {
        match part.kind {
            Kind::Task {
                class,
                state,
                function,
                ..
            } if uses.get(&function).is_some_and(|uses| *uses > 1) => {
                writer.add_state(class, function, Some(part.node), state)?;
            }
            _ => writer.add_whole(part.node)?,
        }
        is_data.push(matches!(part.kind, Kind::Data));
        push(&mut graph, part, &index)?;
    }
    writer.finish(&mut graph);
    Ok(Opened { graph, is_data })
}

fn push(graph: &mut Graph, part: Part, index: &Index) -> Result<(), Refusal> {
    let too_many = "too many dependencies";
    let start = u32::try_from(graph.dependencies.len()).map_err(|_| too_many)?;
    for dependency in part.dependencies {
        graph.dependencies.push(match index.get(&dependency) {
            Some(place) => Dep::Task(*place as u32),
            None => Dep::External(dependency),
        });
    }
    let end = u32::try_from(graph.dependencies.len()).map_err(|_| too_many)?;
    graph.tasks.push(GraphTask {
        key: part.key,
        dependencies: start..end,
        run_spec: None, // the writer's
        data_producer: match part.kind {
            Kind::Task { is_producer, .. } => is_producer,
            Kind::Alias => false,
            Kind::Data => true,
        },
        is_barrier: false,
        annotations: None,
    });
    Ok(())
}

/// `None` for a reference to itself, which Dask leaves out.
fn part(tree: &Tree, entry: &Entry) -> Result<Option<Part>, Refusal> {
    let own = key(tree, entry.key)?;
    let made = |kind, dependencies| Part {
        key: own.clone(),
        node: entry.node,
        kind,
        dependencies,
    };
    if let Some((class, state)) = object(tree, entry.node) {
        let slots = slots(tree, class, state)?;
        let Node::Bool(is_producer) = tree.node(slots[PRODUCER]) else {
            return Err("a task of another kind".into());
        };
        let kind = Kind::Task {
            class,
            state,
            function: slots[FUNCTION],
            is_producer: *is_producer,
        };
        return Ok(Some(made(kind, dependencies(tree, slots[DEPENDENCIES])?)));
    }
    if let Some([_, target]) = value_of(tree, entry.node, TASK_MODULE, "Alias") {
        let target = key(tree, *target)?;
        return Ok((target != own).then(|| made(Kind::Alias, vec![target])));
    }
    match value_of(tree, entry.node, TASK_MODULE, "DataNode") {
        Some([_, _]) => Ok(Some(made(Kind::Data, Vec::new()))),
        _ => Err("a graph of more than tasks".into()),
    }
}

/// The slots of a plain `Task`, checked as far as we know them.
fn slots(tree: &Tree, class: NodeId, state: NodeId) -> Result<&[NodeId], Refusal> {
    let is_task = tree.is_global(class, TASK_MODULE, "Task");
    match tree.as_tuple(state) {
        Some(slots)
            if is_task
                && slots.len() == SLOTS
                && matches!(tree.node(slots[ARGUMENTS]), Node::Tuple(_))
                && matches!(tree.node(slots[KEYWORDS]), Node::Dict(_)) =>
        {
            Ok(slots)
        }
        _ => Err("a task of another kind".into()),
    }
}

fn dependencies(tree: &Tree, set: NodeId) -> Result<Vec<Key>, Refusal> {
    let Node::FrozenSet(items) = tree.node(set) else {
        return Err("a task of another kind".into());
    };
    let mut keys = items
        .iter()
        .map(|item| key(tree, *item))
        .collect::<Result<Vec<_>, _>>()?;
    if keys.len() > 1 {
        // Any order will do: only the same key twice is not to stay.
        keys.sort_unstable_by(|left, right| {
            let by_hash = left.hash64().cmp(&right.hash64());
            by_hash.then_with(|| left.as_msgpack().cmp(right.as_msgpack()))
        });
        keys.dedup();
    }
    Ok(keys)
}

fn index(parts: &[Part]) -> Result<Index, Refusal> {
    u32::try_from(parts.len()).map_err(|_| "too many tasks")?;
    let places = parts.iter().enumerate();
    Ok(places
        .map(|(place, part)| (part.key.clone(), place))
        .collect())
}

/// Without what no wanted key needs.
fn culled(parts: Vec<Part>, index: &Index, wanted: &[Key]) -> Vec<Part> {
    let mut is_needed = vec![false; parts.len()];
    let mut pending = wanted
        .iter()
        .filter_map(|key| index.get(key).copied())
        .collect::<Vec<_>>();
    while let Some(place) = pending.pop() {
        if !std::mem::replace(&mut is_needed[place], true) {
            let below = &parts[place].dependencies;
            pending.extend(below.iter().filter_map(|key| index.get(key)));
        }
    }
    let mut is_needed = is_needed.into_iter();
    parts
        .into_iter()
        .filter(|_| is_needed.next().unwrap_or(false))
        .collect()
}
