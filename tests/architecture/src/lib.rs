//! The shape of this repository, as its tests ask about it: crates, their arrows, and their sources.
//!
//! Owns reading the workspace; the rules are in `tests/`, one file for each kind of rule. Knows nothing of what the
//! crates do.

pub mod rust_source;
pub mod workspace;
