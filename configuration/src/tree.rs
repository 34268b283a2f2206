//! Dask configuration before anyone has judged it: a nested map whose leaves remember where they were set.
//!
//! Owns Dask's merging rules, among them that `worker-ttl` and `worker_ttl` are one key under the name it was first
//! given. Knows no key in particular.

use std::fmt;
use std::sync::Arc;

/// A value as YAML or a Python literal writes it.
#[derive(Debug, Clone, PartialEq)]
pub enum Raw {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Raw>),
    Map(Vec<(Raw, Raw)>),
}

impl From<serde_json::Value> for Raw {
    fn from(value: serde_json::Value) -> Self {
        use serde_json::Value as Json;
        match value {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(value),
            Json::Number(number) => match number.as_i64() {
                Some(number) => Self::Int(number),
                None => Self::Float(number.as_f64().unwrap_or(f64::INFINITY)),
            },
            Json::String(text) => Self::Text(text),
            Json::Array(items) => Self::List(items.into_iter().map(Self::from).collect()),
            Json::Object(map) => Self::Map(
                map.into_iter()
                    .map(|(name, value)| (Self::Text(name), Self::from(value)))
                    .collect(),
            ),
        }
    }
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) => write!(f, "{value}"),
            Self::Text(value) => write!(f, "{value:?}"),
            Self::List(items) => {
                f.write_str("[")?;
                for (at, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if at > 0 { ", " } else { "" })?;
                }
                f.write_str("]")
            }
            Self::Map(pairs) => {
                f.write_str("{")?;
                for (at, (key, value)) in pairs.iter().enumerate() {
                    write!(f, "{}{key}: {value}", if at > 0 { ", " } else { "" })?;
                }
                f.write_str("}")
            }
        }
    }
}

/// A value and the file or variable it came from.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaf {
    pub value: Raw,
    pub origin: Arc<str>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    Leaf(Leaf),
    Tree(Tree),
}

impl Node {
    /// Turns a value into a subtree where it is a map with names for keys, else into a leaf.
    pub fn new(value: Raw, origin: &Arc<str>) -> Self {
        match value {
            Raw::Map(pairs) if pairs.iter().all(|(key, _)| matches!(key, Raw::Text(_))) => {
                let mut tree = Tree::default();
                for (key, value) in pairs {
                    let Raw::Text(name) = key else { continue };
                    *tree.entry(&name) = Some(Self::new(value, origin));
                }
                Self::Tree(tree)
            }
            value => Self::Leaf(Leaf {
                value,
                origin: origin.clone(),
            }),
        }
    }

    fn is_null(&self) -> bool {
        matches!(
            self,
            Self::Leaf(Leaf {
                value: Raw::Null,
                ..
            })
        )
    }
}

/// Which side of a merge stays where both have a leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Priority {
    Old,
    New,
}

/// Names in the order they were first set.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tree {
    entries: Vec<(String, Option<Node>)>,
}

impl Tree {
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.entries
            .iter()
            .filter_map(|(name, node)| Some((name.as_str(), node.as_ref()?)))
    }

    /// What stands at a dotted key.
    pub fn get(&self, key: &str) -> Option<&Node> {
        let (name, rest) = match key.split_once('.') {
            Some((name, rest)) => (name, Some(rest)),
            None => (key, None),
        };
        let node = self.entries[self.position(name)?].1.as_ref()?;
        match (rest, node) {
            (None, node) => Some(node),
            (Some(rest), Node::Tree(tree)) => tree.get(rest),
            (Some(_), Node::Leaf(_)) => None,
        }
    }

    /// Sets a dotted key; a leaf in the way becomes a subtree.
    pub fn set(&mut self, key: &str, node: Node) {
        let Some((name, rest)) = key.split_once('.') else {
            *self.entry(key) = Some(node);
            return;
        };
        self.subtree(name).set(rest, node);
    }

    /// Takes a dotted key out.
    pub fn take(&mut self, key: &str) -> Option<Node> {
        match key.split_once('.') {
            None => {
                let at = self.position(key)?;
                self.entries.remove(at).1
            }
            Some((name, rest)) => {
                let at = self.position(name)?;
                match self.entries[at].1.as_mut()? {
                    Node::Tree(tree) => tree.take(rest),
                    Node::Leaf(_) => None,
                }
            }
        }
    }

    /// Merges another tree into this one, as `dask.config.update` does.
    pub fn update(&mut self, other: &Self, priority: Priority) {
        for (name, node) in other.iter() {
            match node {
                Node::Tree(tree) => self.subtree(name).update(tree, priority),
                Node::Leaf(_) => {
                    let slot = self.entry(name);
                    if priority == Priority::New || slot.is_none() {
                        *slot = Some(node.clone());
                    }
                }
            }
        }
    }

    fn subtree(&mut self, name: &str) -> &mut Self {
        let slot = self.entry(name);
        if !matches!(slot, Some(Node::Tree(_))) {
            *slot = Some(Node::Tree(Self::default()));
        }
        match slot {
            Some(Node::Tree(tree)) => tree,
            _ => unreachable!("the slot was made a tree above"),
        }
    }

    fn entry(&mut self, name: &str) -> &mut Option<Node> {
        let at = self.position(name).unwrap_or_else(|| {
            self.entries.push((name.to_owned(), None));
            self.entries.len() - 1
        });
        &mut self.entries[at].1
    }

    /// Where a name stands, under the spelling it was first given: with hyphens or with underscores.
    fn position(&self, name: &str) -> Option<usize> {
        let find = |wanted: &str| self.entries.iter().position(|(name, _)| name == wanted);
        find(name).or_else(|| {
            find(&if name.contains('_') {
                name.replace('_', "-")
            } else {
                name.replace('-', "_")
            })
        })
    }
}

impl Tree {
    /// Whether a dotted key is set to something other than null.
    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some_and(|node| !node.is_null())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(value: i64) -> Node {
        Node::new(Raw::Int(value), &Arc::from("test"))
    }

    fn tree(pairs: &[(&str, i64)]) -> Tree {
        let mut tree = Tree::default();
        for (key, value) in pairs {
            tree.set(key, leaf(*value));
        }
        tree
    }

    #[test]
    fn hyphens_and_underscores_are_one_key() {
        let mut tree = tree(&[("distributed.scheduler.worker-ttl", 1)]);
        tree.set("distributed.scheduler.worker_ttl", leaf(2));
        assert_eq!(tree.get("distributed.scheduler.worker-ttl"), Some(&leaf(2)));
        assert_eq!(tree.get("distributed.scheduler.worker_ttl"), Some(&leaf(2)));
    }

    #[test]
    fn merging_keeps_what_the_other_side_does_not_mention() {
        let mut old = tree(&[("a.x", 1), ("a.y", 2)]);
        old.update(&tree(&[("a.y", 3), ("b", 4)]), Priority::New);
        assert_eq!(old, tree(&[("a.x", 1), ("a.y", 3), ("b", 4)]));
    }

    #[test]
    fn the_old_side_stays_where_it_has_priority() {
        let mut old = tree(&[("a.x", 1)]);
        old.update(&tree(&[("a.x", 2), ("a.y", 3)]), Priority::Old);
        assert_eq!(old, tree(&[("a.x", 1), ("a.y", 3)]));
    }

    #[test]
    fn a_key_that_is_taken_is_gone() {
        let mut tree = tree(&[("a.x", 1), ("a.y", 2)]);
        assert_eq!(tree.take("a.x"), Some(leaf(1)));
        assert_eq!(tree.get("a.x"), None);
        assert!(tree.has("a.y"));
    }
}
