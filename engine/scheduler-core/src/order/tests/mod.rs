//! The port against recordings of Dask's own algorithm, made by `record.py`.
//!
//! `recorded.jsonl` is committed; with an interpreter in `DASKJOB_PYTHON` many more graphs are made and compared.

use super::*;
use protocol::Value;
use serde_json::Value as Json;
use std::process::Command;

const RECORD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/order/tests/record.py");

struct Recorded {
    seed: u64,
    tasks: Vec<GraphTask>,
    dependencies: Vec<Dep>,
    data: Vec<usize>,
    order: Vec<i32>,
}

fn key(json: &Json) -> Key {
    Key::try_from(&value(json)).expect("a key")
}

fn value(json: &Json) -> Value {
    match json {
        Json::String(text) => Value::from(text.as_str()),
        Json::Number(number) => Value::from(number.as_i64().expect("an integer")),
        Json::Array(items) => Value::Array(items.iter().map(value).collect()),
        other => panic!("not part of a key: {other}"),
    }
}

fn numbers(json: &Json) -> Vec<usize> {
    let items = json.as_array().expect("a list").iter();
    items
        .map(|item| item.as_i64().expect("a number") as usize)
        .collect()
}

fn read(line: &str) -> Recorded {
    let json: Json = serde_json::from_str(line).expect("JSON");
    let keys = json["keys"]
        .as_array()
        .expect("a list")
        .iter()
        .map(key)
        .collect::<Vec<_>>();
    let count = json["tasks"].as_u64().expect("a number") as usize;
    let mut dependencies = Vec::new();
    let lists = json["dependencies"].as_array().expect("a list");
    let tasks = keys[..count].iter().zip(lists).map(|(key, list)| {
        let start = dependencies.len() as u32;
        dependencies.extend(numbers(list).into_iter().map(|place| match place < count {
            true => Dep::Task(place as u32),
            false => Dep::External(keys[place].clone()),
        }));
        let dependencies = start..dependencies.len() as u32;
        GraphTask {
            key: key.clone(),
            dependencies,
            run_spec: None,
            data_producer: false,
            is_barrier: false,
            annotations: None,
        }
    });
    let tasks = tasks.collect::<Vec<_>>();
    Recorded {
        seed: json["seed"].as_u64().expect("a number"),
        tasks,
        dependencies,
        data: numbers(&json["data"]),
        order: numbers(&json["order"])
            .into_iter()
            .map(|place| place as i32)
            .collect(),
    }
}

fn ordered(graph: &Recorded) -> Vec<i32> {
    order(&graph.tasks, &graph.dependencies, |task| {
        graph.data.contains(&task)
    })
    .expect("no cycle")
}

fn assert_same(lines: &str) -> usize {
    let mut count = 0;
    for line in lines.lines() {
        let graph = read(line);
        assert_eq!(ordered(&graph), graph.order, "seed {}: {line}", graph.seed);
        count += 1;
    }
    count
}

#[test]
fn the_order_is_that_of_dask() {
    assert!(assert_same(include_str!("recorded.jsonl")) >= 100);
}

#[test]
fn the_order_is_that_of_dask_for_many_more_graphs() {
    let Some(python) = std::env::var_os("DASKJOB_PYTHON") else {
        println!("skipped: DASKJOB_PYTHON names no interpreter with dask");
        return;
    };
    let made = Command::new(python)
        .args([RECORD, "1000", "2000"])
        .output()
        .expect("starts");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    assert_eq!(
        assert_same(&String::from_utf8(made.stdout).expect("text")),
        1000
    );
}

fn tasks_of(edges: &[&[u32]]) -> (Vec<GraphTask>, Vec<Dep>) {
    let mut dependencies = Vec::new();
    let tasks = edges.iter().enumerate().map(|(index, list)| {
        let start = dependencies.len() as u32;
        dependencies.extend(list.iter().map(|place| Dep::Task(*place)));
        let dependencies = start..dependencies.len() as u32;
        let key = Key::str(&format!("k{index}"));
        GraphTask {
            key,
            dependencies,
            run_spec: None,
            data_producer: false,
            is_barrier: false,
            annotations: None,
        }
    });
    (tasks.collect(), dependencies)
}

/// k0 ◄─ k1 ◄─ k2 ◄─ k1
#[test]
fn a_cycle_is_named() {
    let (tasks, dependencies) = tasks_of(&[&[], &[0, 2], &[1]]);
    let cycle = order(&tasks, &dependencies, |_| false).expect_err("a cycle");
    assert_eq!(
        cycle.to_string(),
        "Cycle detected between the following keys:\n  -> k1\n  -> k2\n  -> k1"
    );
}

/// Every node needs all roots before it: sets of roots must not take quadratic memory.
#[test]
fn a_running_sum_is_ordered_quickly() {
    let count = 5_000;
    let mut edges: Vec<Vec<u32>> = (0..count).map(|_| Vec::new()).collect();
    edges.extend((0..count).map(|index| {
        if index == 0 {
            vec![0]
        } else {
            vec![index, count + index - 1]
        }
    }));
    let edges = edges.iter().map(Vec::as_slice).collect::<Vec<_>>();
    let (tasks, dependencies) = tasks_of(&edges);
    let order = order(&tasks, &dependencies, |_| false).expect("no cycle");
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert!(
        sorted
            .iter()
            .enumerate()
            .all(|(index, place)| index as i32 == *place)
    );
}
