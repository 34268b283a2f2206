//! Jobs on a real node, from `kubectl apply` to nothing left, in the images they are made of.
//!
//! Each test has a namespace, and an operator for that namespace alone: the program of the operator's image as a process
//! of the test's, so that it can be killed. One test runs it as it is installed, in a pod. What takes minutes and tells
//! little more is ignored unless asked for (`--include-ignored`, `cargo xtask test --all operator`).

mod changes;
mod cues;
mod ends;
mod examples;
mod failures;
mod images;
mod in_a_pod;
mod jobs;
mod kills;
mod losses;
mod scene;
mod waits;
