//! Judges configuration: takes values out of the merged tree as the types the programs want.
//!
//! Owns the sentence a user reads about a bad value. Invariant: a reader never fails in the middle; it notes every
//! bad value with its key and origin, and the caller gets all of them at once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::tree::{Leaf, Node, Raw, Tree};
use super::units;

/// One value that does not mean what its key needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadValue {
    pub key: String,
    pub value: String,
    pub origin: Arc<str>,
    pub reason: String,
}

impl fmt::Display for BadValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            key,
            value,
            origin,
            reason,
        } = self;
        write!(f, "{key} = {value} (from {origin}): {reason}")
    }
}

/// Takes values out of a tree and notes the bad ones.
pub struct Reader<'a> {
    tree: &'a Tree,
    bad: Vec<BadValue>,
}

type Judged<T> = Result<T, String>;

impl<'a> Reader<'a> {
    pub fn new(tree: &'a Tree) -> Self {
        Self {
            tree,
            bad: Vec::new(),
        }
    }

    /// Every bad value met.
    pub fn finish(self) -> Vec<BadValue> {
        self.bad
    }

    /// Reads a key with a rule of the caller's; unset means the default.
    pub fn read<T>(&mut self, key: &str, default: T, judge: impl FnOnce(&Raw) -> Judged<T>) -> T {
        match self.tree.get(key) {
            None => default,
            Some(Node::Leaf(leaf)) => match judge(&leaf.value) {
                Ok(value) => value,
                Err(reason) => {
                    self.note(key, leaf, reason);
                    default
                }
            },
            Some(Node::Tree(tree)) => {
                let origin = first_origin(tree);
                let leaf = Leaf {
                    value: Raw::Text("{…}".to_owned()),
                    origin,
                };
                self.note(key, &leaf, "it must be one value, not a map".to_owned());
                default
            }
        }
    }

    /// The entries of a map, each judged on its own; unset means the default.
    pub fn entries<T>(&mut self, key: &str, judge: impl Fn(&Raw) -> Judged<T>) -> Vec<(String, T)> {
        let mut entries = Vec::new();
        match self.tree.get(key) {
            None => {}
            Some(Node::Leaf(leaf)) if leaf.value == Raw::Null => {}
            Some(Node::Leaf(leaf)) => {
                self.note(key, leaf, "it must be a map of names to values".to_owned());
            }
            Some(Node::Tree(tree)) => {
                for (name, node) in tree.iter() {
                    let Node::Leaf(leaf) = node else { continue };
                    match judge(&leaf.value) {
                        Ok(value) => entries.push((name.to_owned(), value)),
                        Err(reason) => self.note(&format!("{key}.{name}"), leaf, reason),
                    }
                }
            }
        }
        entries
    }

    fn note(&mut self, key: &str, leaf: &Leaf, reason: String) {
        self.bad.push(BadValue {
            key: key.to_owned(),
            value: leaf.value.to_string(),
            origin: leaf.origin.clone(),
            reason,
        });
    }

    pub fn duration(&mut self, key: &str, default: Duration) -> Duration {
        self.read(key, default, duration)
    }

    /// A duration that null, false or nothing at all switches off.
    pub fn optional_duration(&mut self, key: &str, default: Option<Duration>) -> Option<Duration> {
        self.read(key, default, |raw| match raw {
            Raw::Null | Raw::Bool(false) => Ok(None),
            raw => duration(raw).map(|duration| (!duration.is_zero()).then_some(duration)),
        })
    }

    pub fn bytes(&mut self, key: &str, default: u64) -> u64 {
        self.read(key, default, bytes)
    }

    pub fn count(&mut self, key: &str, default: u64) -> u64 {
        self.read(key, default, count)
    }

    /// A count of things in memory.
    pub fn size(&mut self, key: &str, default: u64) -> usize {
        self.count(key, default) as usize
    }

    /// A value that null leaves unset, by a rule of the caller's.
    pub fn optional<T>(&mut self, key: &str, judge: impl FnOnce(&Raw) -> Judged<T>) -> Option<T> {
        self.read(key, None, |raw| match raw {
            Raw::Null => Ok(None),
            raw => judge(raw).map(Some),
        })
    }

    pub fn flag(&mut self, key: &str, default: bool) -> bool {
        self.read(key, default, flag)
    }

    /// A share between 0 and 1.
    pub fn share(&mut self, key: &str, default: f64) -> f64 {
        self.read(key, default, |raw| match number(raw)? {
            share if (0.0..=1.0).contains(&share) => Ok(share),
            _ => Err("it must lie between 0 and 1".to_owned()),
        })
    }

    pub fn text(&mut self, key: &str, default: &str) -> String {
        self.read(key, default.to_owned(), text)
    }

    pub fn optional_text(&mut self, key: &str) -> Option<String> {
        self.optional(key, text)
    }

    /// A text that null makes empty.
    pub fn optional_text_or(&mut self, key: &str, default: &str) -> String {
        self.read(key, default.to_owned(), |raw| match raw {
            Raw::Null => Ok(String::new()),
            raw => text(raw),
        })
    }

    /// A list of texts; a single text is a list of one.
    pub fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        self.optional(key, |raw| match raw {
            Raw::Text(one) => Ok(vec![one.clone()]),
            Raw::List(items) => items.iter().map(text).collect(),
            _ => Err("it must be a list of texts".to_owned()),
        })
    }
}

fn first_origin(tree: &Tree) -> Arc<str> {
    match tree.iter().next() {
        Some((_, Node::Leaf(leaf))) => leaf.origin.clone(),
        Some((_, Node::Tree(tree))) => first_origin(tree),
        None => Arc::from("an empty map"),
    }
}

pub fn duration(raw: &Raw) -> Judged<Duration> {
    let seconds = match raw {
        Raw::Int(seconds) => *seconds as f64,
        Raw::Float(seconds) => *seconds,
        Raw::Text(text) => units::parse_timedelta(text).map_err(|error| error.to_string())?,
        _ => return Err("it must be a duration such as 30s or \"5 minutes\"".to_owned()),
    };
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| "it must be a duration of zero or more that a clock can hold".to_owned())
}

pub fn bytes(raw: &Raw) -> Judged<u64> {
    let bytes = match raw {
        Raw::Int(bytes) => *bytes,
        Raw::Float(bytes) => units::whole_bytes(*bytes).map_err(|error| error.to_string())?,
        Raw::Text(text) => units::parse_bytes(text).map_err(|error| error.to_string())?,
        _ => return Err("it must be a byte count such as 64MiB or 1000000".to_owned()),
    };
    u64::try_from(bytes).map_err(|_| "it must not be negative".to_owned())
}

pub fn count(raw: &Raw) -> Judged<u64> {
    let whole = match raw {
        Raw::Int(count) => u64::try_from(*count).ok(),
        Raw::Float(count) if count.fract() == 0.0 && (0.0..1e18).contains(count) => {
            Some(*count as u64)
        }
        _ => None,
    };
    whole.ok_or_else(|| "it must be a whole number of zero or more".to_owned())
}

pub fn number(raw: &Raw) -> Judged<f64> {
    match raw {
        Raw::Int(number) => Ok(*number as f64),
        Raw::Float(number) => Ok(*number),
        // The environment has no other way to write infinity.
        Raw::Text(text) => match text.to_lowercase().as_str() {
            "inf" | ".inf" | "infinity" => Ok(f64::INFINITY),
            _ => Err("it must be a number".to_owned()),
        },
        _ => Err("it must be a number".to_owned()),
    }
}

pub fn flag(raw: &Raw) -> Judged<bool> {
    match raw {
        Raw::Bool(flag) => Ok(*flag),
        Raw::Int(0) => Ok(false),
        Raw::Int(1) => Ok(true),
        // Words of YAML 1.1, which Dask's reader takes for truth values.
        Raw::Text(text) => match text.to_lowercase().as_str() {
            "true" | "yes" | "on" => Ok(true),
            "false" | "no" | "off" => Ok(false),
            _ => Err("it must be true or false".to_owned()),
        },
        _ => Err("it must be true or false".to_owned()),
    }
}

pub fn text(raw: &Raw) -> Judged<String> {
    match raw {
        Raw::Text(text) => Ok(text.clone()),
        Raw::Int(number) => Ok(number.to_string()),
        Raw::Float(number) => Ok(number.to_string()),
        _ => Err("it must be a text".to_owned()),
    }
}
