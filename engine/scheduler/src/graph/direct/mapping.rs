//! `client.map` over ranges, lists and tuples of plain values, arrays and futures: one task per item, as
//! `_MapExpr._layer` would make them.

use super::Refusal;
use super::environment::TASK_MODULE;
use super::expression::{Map, key, sequence, value_of};
use super::specs::SpecWriter;
use crate::graph::reply::Opened;
use protocol::pickle::{Make, Mutation, Node, NodeId, Tree};
use protocol::{Key, KeyBuildHasher, Text};
use scheduler_core::{Dep, Graph, GraphTask};
use std::collections::HashMap;

/// Keyword arguments beyond this are sent by Dask as tasks of their own; it starts at 100 kB in memory.
const MAX_KEYWORD_BYTES: usize = 10_000;

/// What the arguments of one task come from.
enum Items {
    Range { start: i64, step: i64, len: usize },
    Nodes(Vec<NodeId>),
}

/// Nodes that every task of a map has, not of the pickle.
struct Common {
    task: NodeId,
    alias: NodeId,
    no_producer: NodeId,
    no_dependencies: NodeId,
    none: [NodeId; 3],
    keywords: NodeId,
    function: NodeId,
}

pub fn open(
    map: &Map,
    priorities: &[(Key, i64)],
    mut writer: SpecWriter<'_>,
) -> Result<Opened, Refusal> {
    let keys = map
        .keys
        .iter()
        .map(|id| key(writer.tree(), *id))
        .collect::<Result<Vec<_>, _>>()?;
    // The keys of a dict are distinct; so then are these.
    if keys.len() != priorities.len() || !keys.iter().eq(priorities.iter().map(|(key, _)| key)) {
        return Err("keys without priorities".into());
    }
    let columns = columns(writer.tree(), map, keys.len())?;
    let common = Common::new(writer.tree_mut(), map)?;
    // A map of one item shares nothing worth a prefix, but is as rare as it is small.
    writer.share(common.task, common.function, &[common.keywords])?;
    let mut graph = Graph::default();
    graph.tasks.reserve(keys.len());
    for (place, own) in keys.into_iter().enumerate() {
        let base = writer.tree().len();
        let task = task(&mut writer, &common, &columns, map.keys[place], place)?;
        writer.add_state(common.task, common.function, None, task.state)?;
        writer.tree_mut().truncate(base);
        let start = graph.dependencies.len() as u32;
        graph
            .dependencies
            .extend(task.dependencies.into_iter().map(Dep::External));
        graph.tasks.push(GraphTask {
            key: own,
            dependencies: start..graph.dependencies.len() as u32,
            run_spec: None, // the writer's
            data_producer: false,
            is_barrier: false,
            annotations: None,
        });
    }
    resolve(&mut graph);
    let is_data = vec![false; graph.tasks.len()];
    writer.finish(&mut graph);
    Ok(Opened { graph, is_data })
}

struct Made {
    state: NodeId,
    dependencies: Vec<Key>,
}

/// The state of the task of one item.
fn task(
    writer: &mut SpecWriter<'_>,
    common: &Common,
    columns: &[Items],
    own: NodeId,
    place: usize,
) -> Result<Made, Refusal> {
    let (mut arguments, mut needed) = (Vec::with_capacity(columns.len()), Vec::new());
    let mut dependencies: Vec<Key> = Vec::new();
    for column in columns {
        let tree = writer.tree_mut();
        arguments.push(match column {
            Items::Range { start, step, .. } => tree.push(Node::Int(start + step * place as i64)),
            Items::Nodes(items) => match future(tree, items[place]) {
                None => items[place],
                Some(future) => {
                    let name = key(tree, future)?;
                    if !dependencies.contains(&name) {
                        dependencies.push(name);
                        needed.push(future);
                    }
                    alias(tree, common, future)
                }
            },
        });
    }
    let tree = writer.tree_mut();
    let arguments = tree.push(Node::Tuple(arguments));
    let needed = match needed.is_empty() {
        true => common.no_dependencies,
        false => tree.push(Node::FrozenSet(needed)),
    };
    let [is_coroutine, text, token] = common.none;
    let state = tree.push(Node::Tuple(vec![
        common.no_producer,
        needed,
        is_coroutine,
        text,
        token,
        arguments,
        common.function,
        own,
        common.keywords,
    ]));
    Ok(Made {
        state,
        dependencies,
    })
}

/// `Alias(key)`
fn alias(tree: &mut Tree, common: &Common, target: NodeId) -> NodeId {
    let arguments = tree.push(Node::Tuple(vec![target, target]));
    tree.push(Node::Object {
        make: Make::Reduce {
            callable: common.alias,
            arguments,
        },
        mutations: Vec::new(),
    })
}

/// The node of a future's key.
fn future(tree: &Tree, id: NodeId) -> Option<NodeId> {
    match value_of(tree, id, "distributed.client", "Future") {
        Some([key]) => Some(*key),
        _ => None,
    }
}

/// Futures may be tasks of this very map only if somebody chose its keys so; Dask then sees a cycle or an order.
fn resolve(graph: &mut Graph) {
    if graph.dependencies.is_empty() {
        return;
    }
    let places = graph.tasks.iter().enumerate();
    let index: HashMap<_, _, KeyBuildHasher> = places
        .map(|(place, task)| (task.key.clone(), place as u32))
        .collect();
    for dependency in &mut graph.dependencies {
        if let Dep::External(key) = dependency
            && let Some(place) = index.get(key)
        {
            *dependency = Dep::Task(*place);
        }
    }
}

impl Common {
    fn new(tree: &mut Tree, map: &Map) -> Result<Self, Refusal> {
        let keywords = keywords(tree, map)?;
        let mut global = |name| {
            tree.push(Node::Global {
                module: Text::from_static(TASK_MODULE),
                name: Text::from_static(name),
            })
        };
        let (task, alias) = (global("Task"), global("Alias"));
        Ok(Self {
            task,
            alias,
            no_producer: tree.push(Node::Bool(false)),
            no_dependencies: tree.push(Node::FrozenSet(Vec::new())),
            none: [
                tree.push(Node::None),
                tree.push(Node::None),
                tree.push(Node::None),
            ],
            keywords,
            function: map.function,
        })
    }
}

/// A dict for the tasks: the one of the pickle, where all in it stands for itself.
fn keywords(tree: &mut Tree, map: &Map) -> Result<NodeId, Refusal> {
    for (name, value) in &map.keywords {
        let is_small = match tree.node(*value) {
            Node::None | Node::Bool(_) | Node::Int(_) | Node::Float(_) => true,
            Node::Str(text) => text.len() <= MAX_KEYWORD_BYTES,
            Node::Bytes(bytes) => bytes.len() <= MAX_KEYWORD_BYTES,
            _ => false,
        };
        let is_ours = tree
            .as_str(*name)
            .is_some_and(|name| name != "_data_producer");
        if !is_small || !is_ours {
            return Err("keyword arguments that are no small values".into());
        }
    }
    Ok(tree.push(Node::Dict(map.keywords.clone())))
}

fn columns(tree: &Tree, map: &Map, tasks: usize) -> Result<Vec<Items>, Refusal> {
    let mut checked = Checked {
        is_checked: vec![false; tree.len()],
        is_inside: vec![false; tree.len()],
    };
    let columns = map
        .iterables
        .iter()
        .map(|iterable| items(tree, *iterable))
        .collect::<Result<Vec<_>, _>>()?;
    for column in &columns {
        let len = match column {
            Items::Range { len, .. } => *len,
            Items::Nodes(items) => items.len(),
        };
        if len != tasks {
            return Err("as many keys as items are missing".into());
        }
        if let Items::Nodes(items) = column {
            items
                .iter()
                .try_for_each(|item| checked.check(tree, *item))?;
        }
    }
    match columns.is_empty() {
        true => Err("a map over nothing".into()),
        false => Ok(columns),
    }
}

fn items(tree: &Tree, iterable: NodeId) -> Result<Items, Refusal> {
    if let Some(items) = sequence(tree, iterable) {
        return Ok(Items::Nodes(items.to_vec()));
    }
    let Some([start, stop, step]) = value_of(tree, iterable, "builtins", "range") else {
        return Err("an iterable of another kind".into());
    };
    let number = |id: NodeId| match tree.node(id) {
        Node::Int(value) => Ok(*value),
        _ => Err(Refusal::Unknown("a range of huge numbers")),
    };
    let (start, stop, step) = (number(*start)?, number(*stop)?, number(*step)?);
    range(start, stop, step)
}

fn range(start: i64, stop: i64, step: i64) -> Result<Items, Refusal> {
    let (low, high) = match step {
        0 => return Err("a range without a step".into()),
        1.. => (i128::from(start), i128::from(stop)),
        _ => (i128::from(stop), i128::from(start)),
    };
    let len = (high - low).max(0);
    let len = (len + i128::from(step).abs() - 1) / i128::from(step).abs();
    Ok(Items::Range {
        start,
        step,
        len: usize::try_from(len).map_err(|_| "a range without an end")?,
    })
}

/// Finds items that Dask would replace inside, or that we do not know well enough to say that it would not.
struct Checked {
    /// Nothing below is to be replaced, other than the node itself when it is a future.
    is_checked: Vec<bool>,
    is_inside: Vec<bool>,
}

impl Checked {
    fn check(&mut self, tree: &Tree, item: NodeId) -> Result<(), Refusal> {
        if std::mem::replace(&mut self.is_checked[item.index()], true)
            || future(tree, item).is_some()
        {
            return Ok(());
        }
        let mut pending = vec![item];
        while let Some(id) = pending.pop() {
            if std::mem::replace(&mut self.is_inside[id.index()], true) {
                continue;
            }
            match tree.node(id) {
                Node::Global { .. } => return Err("a class or function as an item".into()),
                Node::Object { .. } => {
                    let (callable, arguments) = tree
                        .as_call(id)
                        .filter(|(callable, _)| is_data(tree, *callable))
                        .ok_or("items that hold more than data")?;
                    self.is_inside[callable.index()] = true;
                    let is_class = |id: &NodeId| tree.is_global(*id, "numpy", "ndarray");
                    pending.extend(arguments.iter().filter(|id| !is_class(id)));
                    pending.extend(states(tree, id));
                }
                _ => tree.visit_children(id, |child| pending.push(child)),
            }
        }
        Ok(())
    }
}

fn states(tree: &Tree, object: NodeId) -> impl Iterator<Item = NodeId> {
    let mutations = match tree.node(object) {
        Node::Object { mutations, .. } => &mutations[..],
        _ => &[],
    };
    mutations.iter().filter_map(|mutation| match mutation {
        Mutation::SetState(state) => Some(*state),
        _ => None,
    })
}

/// Classes of plain data: no future, no task, nothing that pretends to be one.
fn is_data(tree: &Tree, callable: NodeId) -> bool {
    let Some((module, name)) = tree.as_global(callable) else {
        return false;
    };
    match module {
        b"builtins" => matches!(name, b"range" | b"slice" | b"complex"),
        b"datetime" | b"numpy" => true,
        _ => module.starts_with(b"numpy._core.") || module.starts_with(b"numpy.core."),
    }
}
