//! Which expressions can be opened here: a dict of task nodes, or a map over sequences.

use super::Refusal;
use super::environment::TASK_MODULE;
use bytes::Bytes;
use protocol::pickle::{Make, Mutation, Node, NodeId, Tree};
use protocol::{Key, Value};

/// How deeply the tuples of a key may be nested here.
const MAX_KEY_DEPTH: usize = 8;
/// Where the class of an expression stands in its pickle.
const HEAD_BYTES: usize = 160;

/// The expression of a graph.
pub enum Shape {
    /// `LLGExpr(dict)`: what `submit`, and `get` of a dict, send.
    Tasks(Vec<Entry>),
    /// `_MapExpr(…)`
    Map(Map),
}

/// One entry of a graph.
pub struct Entry {
    pub key: NodeId,
    pub node: NodeId,
}

/// The parts of a `_MapExpr`.
pub struct Map {
    pub function: NodeId,
    pub iterables: Vec<NodeId>,
    pub keywords: Vec<(NodeId, NodeId)>,
    pub keys: Vec<NodeId>,
}

/// Whether the expression may be one of ours; costs nothing where it is not.
pub fn is_promising(pickle: &Bytes) -> bool {
    let head = &pickle[..pickle.len().min(HEAD_BYTES)];
    let holds = |bytes: &[u8], wanted: &[u8]| bytes.windows(wanted.len()).any(|it| it == wanted);
    if holds(head, b"_MapExpr") {
        return true;
    }
    // A graph of tuples, as of old, never mentions the module of tasks; otherwise it stands where the first task does.
    holds(head, b"LLGExpr") && holds(&pickle[..pickle.len().min(4096)], TASK_MODULE.as_bytes())
}

impl Shape {
    pub fn of(tree: &Tree) -> Result<Self, Refusal> {
        let root = tree.root();
        let Some((callable, [class, operands @ .., _token, cache])) = tree.as_call(root) else {
            return Err("no expression".into());
        };
        let is_cached = !matches!(tree.node(*cache), Node::Dict(cached) if cached.is_empty());
        if is_cached || !tree.is_global(callable, "dask._expr", "Expr._reconstruct") {
            return Err("an expression of another kind".into());
        }
        match operands {
            [graph] if tree.is_global(*class, "dask._expr", "LLGExpr") => {
                Ok(Self::Tasks(entries(tree, *graph)?))
            }
            [function, iterables, _, _, annotations, keywords, keys]
                if tree.is_global(*class, "distributed.client", "_MapExpr") =>
            {
                if !matches!(tree.node(*annotations), Node::Dict(entries) if entries.is_empty()) {
                    return Err("a map with annotations of its own".into());
                }
                Ok(Self::Map(Map {
                    function: *function,
                    iterables: tree
                        .as_tuple(*iterables)
                        .ok_or("iterables that are no tuple")?
                        .to_vec(),
                    keywords: dict(tree, *keywords).ok_or("no keywords")?.to_vec(),
                    keys: sequence(tree, *keys).ok_or("keys to be made up")?.to_vec(),
                }))
            }
            _ => Err("an expression of another kind".into()),
        }
    }
}

fn entries(tree: &Tree, graph: NodeId) -> Result<Vec<Entry>, Refusal> {
    let entries = dict(tree, graph).ok_or("a graph that is no dict")?;
    let entry = |(key, node): &(NodeId, NodeId)| Entry {
        key: *key,
        node: *node,
    };
    Ok(entries.iter().map(entry).collect())
}

pub fn dict(tree: &Tree, id: NodeId) -> Option<&[(NodeId, NodeId)]> {
    match tree.node(id) {
        Node::Dict(entries) => Some(entries),
        _ => None,
    }
}

/// The items of a list or tuple.
pub fn sequence(tree: &Tree, id: NodeId) -> Option<&[NodeId]> {
    match tree.node(id) {
        Node::List(items) | Node::Tuple(items) => Some(items),
        _ => None,
    }
}

/// The arguments of a call of this class or function that nothing else happens to.
pub fn value_of<'a>(tree: &'a Tree, id: NodeId, module: &str, name: &str) -> Option<&'a [NodeId]> {
    let (callable, arguments) = tree.as_call(id)?;
    tree.is_global(callable, module, name).then_some(arguments)
}

/// Class and state of an object that is made empty.
pub fn object(tree: &Tree, id: NodeId) -> Option<(NodeId, NodeId)> {
    match tree.node(id) {
        Node::Object {
            make: Make::New { class, .. },
            mutations,
        } => match mutations[..] {
            [Mutation::SetState(state)] => Some((*class, state)),
            _ => None,
        },
        _ => None,
    }
}

pub fn key(tree: &Tree, id: NodeId) -> Result<Key, Refusal> {
    if let Node::Str(text) = tree.node(id) {
        return Ok(Key::from_str_bytes(text.as_bytes()));
    }
    let value = key_value(tree, id, 0).ok_or("an unusual key")?;
    Key::try_from(&value).map_err(|_| "an unusual key".into())
}

fn key_value(tree: &Tree, id: NodeId, depth: usize) -> Option<Value> {
    match tree.node(id) {
        Node::Str(text) => Some(Value::Str(text.clone())),
        Node::Int(value) => Some(Value::Int(*value)),
        Node::Float(value) => Some(Value::Float(*value)),
        Node::Tuple(items) if depth < MAX_KEY_DEPTH => {
            let items = items.iter().map(|item| key_value(tree, *item, depth + 1));
            items.collect::<Option<Vec<_>>>().map(Value::Array)
        }
        _ => None,
    }
}
