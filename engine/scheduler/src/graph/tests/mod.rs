//! Real helpers with real client messages. Without an interpreter in `DASKJOB_PYTHON` these tests say so and pass.

mod bounds;
mod contents;
mod direct;
mod functions;

use super::{GraphError, GraphHelpers, HelperOptions};
use bytes::{Buf, Bytes};
use protocol::messages::{FromClient, UpdateGraph, decode_client_batch};
use protocol::{Frames, Key};
use scheduler_core::{Dep, Graph, GraphTask};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;

const GRAPHS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/graph/tests/graphs.py");

/// The interpreter, or a note that the test is skipped.
pub(crate) fn python() -> Option<PathBuf> {
    let python = std::env::var_os("DASKJOB_PYTHON").map(PathBuf::from);
    if python.is_none() {
        println!("skipped: DASKJOB_PYTHON names no interpreter with dask and distributed");
    }
    python
}

pub(crate) fn options(python: PathBuf) -> HelperOptions {
    HelperOptions {
        python,
        ..HelperOptions::default()
    }
}

fn helpers(python: PathBuf) -> Arc<GraphHelpers> {
    GraphHelpers::start(options(python))
}

#[tokio::test]
async fn helpers_that_were_ended_are_told_from_those_that_cannot_start() {
    let helpers = helpers(PathBuf::from("/nonexistent/python"));
    assert!(helpers.environment().await.is_err());
    assert!(!helpers.has_ended());
    helpers.end();
    assert!(helpers.has_ended());
}

/// What clients would send for these graphs of `graphs.py`.
fn updates(python: &PathBuf, names: &[&str]) -> Vec<UpdateGraph> {
    let made = Command::new(python)
        .arg(GRAPHS)
        .args(names)
        .stderr(Stdio::inherit())
        .output()
        .expect("runs");
    assert!(made.status.success(), "graphs.py failed");
    let mut rest = Bytes::from(made.stdout);
    names.iter().map(|_| next_update(&mut rest)).collect()
}

/// The next message of a stream that a script has written.
fn next_update(rest: &mut Bytes) -> UpdateGraph {
    let count = rest.get_u64_le();
    let sizes = (0..count)
        .map(|_| rest.get_u64_le() as usize)
        .collect::<Vec<_>>();
    let frames = sizes
        .into_iter()
        .map(|size| rest.split_to(size))
        .collect::<Vec<_>>();
    let mut batch = decode_client_batch(&Frames(frames)).expect("a valid message");
    match batch.pop() {
        Some(FromClient::UpdateGraph(update)) => *update,
        other => panic!("not an update-graph: {other:?}"),
    }
}

fn update(python: &PathBuf, name: &str) -> UpdateGraph {
    updates(python, &[name]).pop().expect("one")
}

/// Python's repr of what the graph's specs compute.
fn computed(python: &PathBuf, name: &str, graph: &Graph) -> String {
    let mut input = Vec::new();
    for spec in graph.tasks.iter().filter_map(|task| task.run_spec.as_ref()) {
        let (pickle, buffers) = (spec.pickle(), spec.buffers());
        input.extend_from_slice(&(buffers.len() as u64).to_le_bytes());
        input.extend_from_slice(&(pickle.len() as u64).to_le_bytes());
        input.extend_from_slice(&pickle);
        for buffer in buffers {
            input.extend_from_slice(&(buffer.len() as u64).to_le_bytes());
            input.extend_from_slice(buffer);
        }
    }
    let mut child = Command::new(python)
        .args([GRAPHS, "--run", name])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    child
        .stdin
        .take()
        .expect("piped")
        .write_all(&input)
        .expect("takes the specs");
    let output = child.wait_with_output().expect("ends");
    String::from_utf8(output.stdout)
        .expect("text")
        .trim()
        .to_owned()
}

fn task<'a>(graph: &'a Graph, key: &Key) -> &'a GraphTask {
    graph
        .tasks
        .iter()
        .find(|task| task.key == *key)
        .expect("a task of that name")
}

/// Texts of a task's dependencies, sorted.
fn dependencies(graph: &Graph, task: &GraphTask) -> Vec<String> {
    let range = task.dependencies.start as usize..task.dependencies.end as usize;
    let mut names = graph.dependencies[range]
        .iter()
        .map(|dependency| match dependency {
            Dep::Task(index) => format!("{:?}", graph.tasks[*index as usize].key),
            Dep::External(key) => format!("external {key:?}"),
        })
        .collect::<Vec<_>>();
    names.sort();
    names
}

fn text_of(result: Result<Graph, GraphError>) -> String {
    result.expect_err("the graph cannot be opened").text
}
