//! Copies that are kept, dropped, acquired and brought.

use super::{Scene, replica, task};
use crate::Event;
use protocol::Key;

#[test]
fn a_replica_is_dropped_on_order_and_said_to_be() {
    let mut scene = Scene::new();
    scene.bring("a", 1);
    assert_eq!(
        scene.remove_replicas(&["a", "unknown"]),
        ["released a", "free a"]
    );
}

#[test]
fn a_replica_that_a_task_here_waits_with_is_kept_and_said_to_be() {
    let mut scene = Scene::new();
    scene.bring("a", 1);
    scene.compute(task("x").needing("a", 1, &["p1"]).needing("b", 1, &["p2"]));
    assert_eq!(scene.remove_replicas(&["a"]), ["added a"]);
    assert_eq!(scene.receive("p2", &["b"]), ["added b", "keep b", "run x"]);
    // The executor has what it needs.
    assert_eq!(scene.remove_replicas(&["a"]), ["released a", "free a"]);
}

#[test]
fn only_values_that_are_here_are_removed_as_replicas() {
    let mut scene = Scene::new();
    scene.compute(task("x").needing("a", 1, &["p2"]));
    assert!(scene.remove_replicas(&["a", "x"]).is_empty());
    assert_eq!(scene.receive("p2", &["a"])[0], "added a");
}

#[test]
fn a_replica_is_acquired_without_a_task() {
    let mut scene = Scene::new();
    assert_eq!(
        scene.acquire(vec![replica("a", 1, &["p2"])]),
        ["ask p2 for a"]
    );
    assert_eq!(scene.receive("p2", &["a"]), ["added a", "keep a"]);
    assert!(scene.acquire(vec![replica("a", 1, &["p2"])]).is_empty());
}

#[test]
fn replicas_are_acquired_after_inputs_of_ordinary_tasks_and_before_those_of_low_priority() {
    let mut scene = Scene::with(|config| config.memory_limit = Some(10_000_000));
    scene.compute(task("x").needing("first", 1_000_000, &["p2"]));
    scene.compute(task("low").needing("of low", 1, &["p3"]).priority(2.0));
    scene.acquire(vec![replica("a", 1, &["p4"])]);
    scene.compute(task("usual").needing("of usual", 1, &["p5"]));
    let told = scene.receive("p2", &["first"]);
    assert_eq!(
        told[3..],
        ["ask p5 for of usual", "ask p4 for a", "ask p3 for of low"]
    );
}

#[test]
fn a_task_that_is_ordered_here_is_not_acquired() {
    let mut scene = Scene::new();
    scene.compute(task("a"));
    assert!(scene.acquire(vec![replica("a", 1, &["p2"])]).is_empty());
    assert_eq!(scene.finish("a"), ["finished a of 1"]);
}

#[test]
fn an_acquisition_can_be_called_off() {
    let mut scene = Scene::new();
    scene.acquire(vec![replica("a", 1, &["p2"])]);
    scene.free(&["a"]);
    assert!(scene.receive("p2", &["a"]).is_empty());
    assert_eq!(scene.core.task_count(), 0);
}

#[test]
fn what_is_brought_is_kept_and_not_told_to_the_scheduler() {
    let mut scene = Scene::new();
    assert_eq!(scene.bring("a", 7), ["keep new a"]);
    let held = scene.core.held(&Key::str("a")).map(|held| held.nbytes);
    assert_eq!(held, Some(7));
}

#[test]
fn what_is_brought_takes_the_place_of_whatever_had_its_name() {
    let mut scene = Scene::with(|config| config.nthreads = 2);
    scene.bring("a", 1);
    assert_eq!(scene.bring("a", 2), ["free a", "keep new a"]);
    assert_eq!(scene.core.managed_memory().in_memory, 2);
    scene.compute(task("b"));
    assert_eq!(scene.bring("b", 2), ["cancel", "keep new b"]);
    assert_eq!(scene.finish("b"), ["free b"]);
    scene.compute(task("x").needing("c", 1, &["p2"]));
    assert_eq!(scene.bring("c", 2), ["keep new c", "run x"]);
    assert!(scene.receive("p2", &["c"]).is_empty());
    let order = task("never").needing("d", 1, &["p3"]);
    scene.compute(order);
    assert_eq!(scene.bring("never", 2), ["keep new never"]);
}

#[test]
fn a_lost_value_is_said_to_be_and_fetched_where_it_is_needed() {
    let mut scene = Scene::new();
    scene.compute(task("long"));
    scene.bring("a", 1);
    scene.compute(task("x").needing("a", 1, &["p1"]));
    let (key, value) = (Key::str("a"), scene.values["a"]);
    let told = scene.happen(vec![Event::Lost { key, value }]);
    assert_eq!(told, ["released a", "who has a", "free a"]);
    assert_eq!(scene.refresh("a", &["p2"]), ["ask p2 for a"]);
}

#[test]
fn a_key_that_is_its_own_input_or_twice_an_input_harms_nobody() {
    let mut scene = Scene::new();
    assert_eq!(scene.compute(task("a").needing("a", 1, &["p2"])), ["run a"]);
    let twice = task("b").needing("x", 1, &["p2"]).needing("x", 1, &["p2"]);
    assert_eq!(scene.compute(twice), ["ask p2 for x"]);
    scene.receive("p2", &["x"]);
    assert_eq!(scene.finish("a")[1], "run b");
    let twice = task("c").needing("y", 1, &["p2"]).needing("y", 1, &["p2"]);
    scene.compute(twice);
    scene.free(&["c"]);
    assert_eq!(scene.state("c"), None);
}
