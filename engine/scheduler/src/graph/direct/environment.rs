//! What a pickle demands of the Python that opens it: names to be found there, and calls that cannot fail.
//!
//! A helper's success proves names. Calls are a fixed list: of each it is known that it does the same with whatever the
//! pickler of its class gives it. Everything else (classes of users, other reducers) is for a helper to try.

use super::Refusal;
use protocol::pickle::{Make, Mutation, Node, NodeId, Tree};
use std::collections::HashSet;

/// One thing that must be there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Demand {
    /// A class or function by name.
    Global(Box<[u8]>, Box<[u8]>),
    Module(Box<[u8]>),
    /// A type that cloudpickle knows by name.
    BuiltinType(Box<[u8]>),
    /// A code object made of this many parts: other versions of Python have others.
    CodeObject(usize),
}

pub type Demands = Vec<Demand>;

/// What helpers have proven.
#[derive(Default)]
pub struct Known(HashSet<Demand>);

/// When there is more, it is learnt anew: somebody makes up names.
const MAX_KNOWN: usize = 20_000;
const MAX_NAME_BYTES: usize = 1_000;
const MAX_DEMANDS: usize = 5_000;

impl Known {
    pub fn add(&mut self, demands: Demands) {
        if self.0.len() + demands.len() > MAX_KNOWN {
            self.0.clear();
        }
        self.0.extend(demands);
    }

    /// All of the demands, unless all are known.
    pub fn missing(&self, demands: Demands) -> Option<Demands> {
        let is_known = |demand: &Demand| self.0.contains(demand);
        (!demands.iter().all(is_known)).then_some(demands)
    }
}

/// What is known of a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    /// An object that is complete once it is made.
    Value,
    /// It is given a state afterwards.
    WithState,
    /// A function by value, which cloudpickle completes afterwards.
    Function,
    /// Finds a module by the text it is given.
    Import,
    /// Finds a type by the text it is given.
    BuiltinType,
}

const CALLS: &[(&str, &str, Call)] = &[
    ("dask._expr", "Expr._reconstruct", Call::Value),
    ("dask._task_spec", "TaskRef", Call::Value),
    ("dask._task_spec", "Alias", Call::Value),
    ("dask._task_spec", "DataNode", Call::Value),
    ("distributed.client", "Future", Call::Value),
    ("builtins", "range", Call::Value),
    ("builtins", "slice", Call::Value),
    ("builtins", "complex", Call::Value),
    ("datetime", "date", Call::Value),
    ("datetime", "datetime", Call::Value),
    ("datetime", "time", Call::Value),
    ("datetime", "timedelta", Call::Value),
    ("datetime", "timezone", Call::Value),
    ("functools", "partial", Call::WithState),
    ("numpy", "dtype", Call::WithState),
    ("numpy._core.multiarray", "_reconstruct", Call::WithState),
    ("numpy._core.multiarray", "scalar", Call::Value),
    ("numpy._core.numeric", "_frombuffer", Call::Value),
    ("numpy.core.multiarray", "_reconstruct", Call::WithState),
    ("numpy.core.multiarray", "scalar", Call::Value),
    ("numpy.core.numeric", "_frombuffer", Call::Value),
    ("cloudpickle.cloudpickle", "_make_function", Call::Function),
    ("cloudpickle.cloudpickle", "_make_cell", Call::Value),
    ("cloudpickle.cloudpickle", "_make_empty_cell", Call::Value),
    ("cloudpickle.cloudpickle", "subimport", Call::Import),
    (
        "cloudpickle.cloudpickle",
        "_builtin_type",
        Call::BuiltinType,
    ),
];

/// Classes whose objects are made empty and given a state.
const CLASSES: &[(&str, &str)] = &[
    ("dask._task_spec", "Task"),
    ("dask._task_spec", "List"),
    ("dask._task_spec", "Tuple"),
    ("dask._task_spec", "Set"),
    ("dask._task_spec", "Dict"),
];

/// The module of Dask's tasks, references and containers.
pub const TASK_MODULE: &str = "dask._task_spec";

/// What a whole pickle demands, or why it cannot be said.
pub fn demands_of(tree: &Tree) -> Result<Demands, Refusal> {
    let mut demands = Demands::new();
    let mut is_seen = vec![false; tree.len()];
    let mut pending = vec![tree.root()];
    while let Some(id) = pending.pop() {
        if std::mem::replace(&mut is_seen[id.index()], true) {
            continue;
        }
        tree.visit_children(id, |child| pending.push(child));
        match tree.node(id) {
            Node::Global { module, name } => {
                // Workers have another one.
                if module == "__main__" || module.len() + name.len() > MAX_NAME_BYTES {
                    return Err("a name in __main__".into());
                }
                demands.push(global(module.as_bytes(), name.as_bytes()));
            }
            Node::Object { make, mutations } => {
                demands.extend(demand_of_object(tree, id, make, mutations)?);
            }
            _ => {}
        }
        if demands.len() > MAX_DEMANDS {
            return Err("more names than a graph has".into());
        }
    }
    Ok(demands)
}

fn global(module: &[u8], name: &[u8]) -> Demand {
    Demand::Global(module.into(), name.into())
}

const UNKNOWN_CALL: Refusal = Refusal::Unknown("an object that only its class understands");

fn demand_of_object(
    tree: &Tree,
    object: NodeId,
    make: &Make,
    mutations: &[Mutation],
) -> Result<Option<Demand>, Refusal> {
    match make {
        Make::New { class, arguments } => {
            let is_empty = tree.as_tuple(*arguments).is_some_and(<[_]>::is_empty);
            let is_known = CLASSES
                .iter()
                .any(|(module, name)| tree.is_global(*class, module, name));
            match (is_known && is_empty, mutations) {
                (true, [Mutation::SetState(_)]) => Ok(None),
                _ => Err(UNKNOWN_CALL),
            }
        }
        Make::Reduce {
            callable,
            arguments,
        } => {
            let arguments = tree.as_tuple(*arguments).ok_or(UNKNOWN_CALL)?;
            demand_of_call(tree, object, *callable, arguments, mutations)
        }
        Make::NewWithKeywords { .. } => Err(UNKNOWN_CALL),
    }
}

fn demand_of_call(
    tree: &Tree,
    object: NodeId,
    callable: NodeId,
    arguments: &[NodeId],
    mutations: &[Mutation],
) -> Result<Option<Demand>, Refusal> {
    let Some(call) = call_of(tree, callable) else {
        return demand_of_code(tree, callable, arguments, mutations).map(Some);
    };
    let text = || match arguments {
        [text] => tree.as_str(*text).map(|text| text.as_bytes().into()),
        _ => None,
    };
    let is_completed_by = |mutation: &Mutation| match (call, mutation) {
        (Call::WithState, Mutation::SetState(_)) => true,
        (Call::Function, Mutation::Call { setter, .. }) => {
            tree.is_global(*setter, "cloudpickle.cloudpickle", "_function_setstate")
        }
        _ => false,
    };
    if !mutations.iter().all(is_completed_by) || mutations.len() > 1 {
        return Err(UNKNOWN_CALL);
    }
    match call {
        Call::Import => Ok(Some(Demand::Module(text().ok_or(UNKNOWN_CALL)?))),
        Call::BuiltinType => Ok(Some(Demand::BuiltinType(text().ok_or(UNKNOWN_CALL)?))),
        Call::Function if !is_function_of_code(tree, object, arguments) => Err(UNKNOWN_CALL),
        Call::Value | Call::WithState | Call::Function => Ok(None),
    }
}

fn call_of(tree: &Tree, callable: NodeId) -> Option<Call> {
    CALLS
        .iter()
        .find(|(module, name, _)| tree.is_global(callable, module, name))
        .map(|(_, _, call)| *call)
}

/// Whether the first argument is a code object and not the function itself.
fn is_function_of_code(tree: &Tree, object: NodeId, arguments: &[NodeId]) -> bool {
    arguments.first().is_some_and(|code| {
        *code != object
            && tree
                .as_call(*code)
                .is_some_and(|(callable, _)| is_code_type(tree, callable))
    })
}

/// `_builtin_type("CodeType")(…)`
fn demand_of_code(
    tree: &Tree,
    callable: NodeId,
    arguments: &[NodeId],
    mutations: &[Mutation],
) -> Result<Demand, Refusal> {
    match is_code_type(tree, callable) && mutations.is_empty() {
        true => Ok(Demand::CodeObject(arguments.len())),
        false => Err(UNKNOWN_CALL),
    }
}

fn is_code_type(tree: &Tree, callable: NodeId) -> bool {
    match tree.as_call(callable) {
        Some((maker, [name])) => {
            call_of(tree, maker) == Some(Call::BuiltinType)
                && tree.as_str(*name).is_some_and(|name| name == "CodeType")
        }
        _ => false,
    }
}
