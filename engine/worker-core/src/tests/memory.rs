//! What is spilled, when, and what measured memory does.

use super::{Scene, task};
use crate::{Location, SpillOutcome};
use protocol::Key;
use protocol::messages::WorkerStatus;

/// Values spill beyond 60 by their own account, memory is too high above 70, 80 and 95.
fn scene() -> Scene {
    Scene::with(|config| {
        config.memory_limit = Some(100);
        config.nthreads = 9;
    })
}

fn make(scene: &mut Scene, name: &str, nbytes: u64) -> Vec<String> {
    scene.compute(task(name));
    scene.finish_sized(name, nbytes)
}

const WRITTEN: SpillOutcome = SpillOutcome::Written { disk_bytes: 5 };

fn location(scene: &Scene, name: &str) -> Option<Location> {
    scene.core.held(&Key::str(name)).map(|held| held.location)
}

#[test]
fn beyond_the_target_the_value_that_was_used_longest_ago_is_spilled() {
    let mut scene = scene();
    make(&mut scene, "a", 30);
    make(&mut scene, "b", 30);
    scene.compute(task("uses a").needing("a", 30, &["p1"]));
    assert_eq!(make(&mut scene, "c", 30), ["finished c of 4", "spill b"]);
    assert_eq!(scene.spilled("b", WRITTEN), ["b is on disk"]);
    let memory = scene.core.managed_memory();
    assert_eq!(
        (memory.in_memory, memory.spilled, memory.on_disk),
        (60, 30, 5)
    );
}

#[test]
fn nothing_begins_while_too_much_is_on_its_way_to_disk() {
    let mut scene = scene();
    make(&mut scene, "a", 40);
    assert_eq!(make(&mut scene, "b", 40), ["finished b of 2", "spill a"]);
    assert!(scene.compute(task("c")).is_empty());
    assert_eq!(scene.spilled("a", WRITTEN), ["a is on disk", "run c"]);
}

#[test]
fn a_disk_that_takes_nothing_holds_nothing_up() {
    let mut scene = scene();
    make(&mut scene, "a", 40);
    make(&mut scene, "b", 40);
    assert!(scene.compute(task("c")).is_empty());
    let told = scene.spilled("a", SpillOutcome::DiskFailed);
    assert!(told.contains(&"run c".to_owned()), "{told:?}");
}

#[test]
fn a_value_bigger_than_the_target_is_spilled_itself() {
    let mut scene = scene();
    assert_eq!(make(&mut scene, "a", 61), ["finished a of 1", "spill a"]);
}

#[test]
fn a_spilled_value_that_is_needed_is_in_memory_again_and_others_make_room() {
    let mut scene = scene();
    for name in ["a", "b", "c"] {
        make(&mut scene, name, 30);
    }
    scene.spilled("a", WRITTEN);
    assert_eq!(location(&scene, "a"), Some(Location::Disk));
    let told = scene.compute(task("x").needing("a", 30, &["p1"]));
    assert_eq!(told, ["run x", "spill b"]);
    assert_eq!(location(&scene, "a"), Some(Location::Executor));
}

#[test]
fn a_value_that_is_needed_while_it_is_being_spilled_stays() {
    let mut scene = scene();
    for name in ["a", "b", "c"] {
        make(&mut scene, name, 22);
    }
    assert_eq!(
        scene.compute(task("x").needing("a", 22, &["p1"])),
        ["run x", "spill b"]
    );
    assert_eq!(scene.spilled("a", WRITTEN), ["a is not on disk"]);
    assert_eq!(location(&scene, "a"), Some(Location::Executor));
}

#[test]
fn a_value_freed_while_it_is_being_spilled_is_gone() {
    let mut scene = scene();
    make(&mut scene, "a", 61);
    assert_eq!(scene.free(&["a"]), ["released a", "free a"]);
    assert_eq!(scene.spilled("a", WRITTEN), ["a is not on disk"]);
    assert_eq!(scene.core.managed_memory().on_disk, 0);
}

#[test]
fn a_value_that_cannot_be_serialized_stays_and_is_not_tried_again() {
    let mut scene = scene();
    make(&mut scene, "a", 40);
    make(&mut scene, "b", 40);
    assert_eq!(
        scene.spilled("a", SpillOutcome::NotSerializable),
        ["spill b"]
    );
    scene.spilled("b", SpillOutcome::NotSerializable);
    assert_eq!(make(&mut scene, "c", 1), ["finished c of 3", "spill c"]);
}

#[test]
fn a_full_disk_rests_and_values_stay() {
    let mut scene = scene();
    make(&mut scene, "a", 61);
    assert!(scene.spilled("a", SpillOutcome::DiskFailed).is_empty());
    assert_eq!(make(&mut scene, "b", 61), ["finished b of 2"]);
    scene.now = scene.now.plus_seconds(5.0);
    assert_eq!(scene.measure(10), ["spill a", "spill b"]);
}

#[test]
fn no_more_is_spilled_than_may_be() {
    let mut scene = Scene::with(|config| {
        config.memory_limit = Some(100);
        config.max_spill = Some(40);
    });
    make(&mut scene, "a", 22);
    make(&mut scene, "b", 22);
    assert_eq!(make(&mut scene, "c", 22), ["finished c of 3", "spill a"]);
    assert_eq!(make(&mut scene, "d", 22), ["finished d of 4"]);
}

#[test]
fn actors_are_never_spilled() {
    let mut scene = scene();
    let mut order = task("actor");
    order.0.actor = true;
    scene.compute(order);
    assert_eq!(scene.finish_sized("actor", 90), ["finished actor of 1"]);
    assert!(
        scene
            .core
            .held(&Key::str("actor"))
            .is_some_and(|held| held.actor)
    );
}

#[test]
fn measured_memory_that_is_too_high_spills_until_it_would_be_low_enough() {
    let mut scene = scene();
    for name in ["a", "b", "c"] {
        make(&mut scene, name, 10);
    }
    assert!(scene.measure(70).is_empty());
    assert_eq!(scene.measure(71), ["spill a", "spill b"]);
    // What is on its way counts as gone.
    assert!(scene.measure(71).is_empty());
    scene.spilled("a", WRITTEN);
    scene.spilled("b", WRITTEN);
    assert_eq!(scene.measure(65), ["spill c"]);
}

#[test]
fn memory_pauses_the_worker_and_lets_it_go_on() {
    let mut scene = scene();
    assert_eq!(scene.measure(81), ["status paused"]);
    assert!(scene.compute(task("a")).is_empty());
    assert_eq!(scene.measure(80), ["status running", "run a"]);
}

#[test]
fn memory_does_not_end_a_pause_that_it_did_not_begin() {
    let mut scene = scene();
    scene.status(WorkerStatus::Paused);
    assert!(scene.measure(1).is_empty());
    assert_eq!(scene.core.status(), WorkerStatus::Paused);
}

#[test]
fn a_retiring_worker_is_not_paused() {
    let mut scene = scene();
    scene.order_status("closing_gracefully");
    assert!(scene.measure(81).is_empty());
}

#[test]
fn an_executor_beyond_everything_is_ended_at_first_politely() {
    let mut scene = scene();
    assert_eq!(scene.measure(96), ["status paused", "terminate"]);
    assert_eq!(scene.measure(96), ["kill"]);
}

#[test]
fn without_a_limit_nothing_is_spilled() {
    let mut scene = Scene::new();
    assert_eq!(make(&mut scene, "a", u64::MAX / 4), ["finished a of 1"]);
    assert!(scene.measure(u64::MAX).is_empty());
}

#[test]
fn sizes_that_cannot_be_are_not_believed() {
    let mut scene = Scene::new();
    for name in ["a", "b", "c"] {
        make(&mut scene, name, u64::MAX);
    }
    scene.compute(
        task("x")
            .needing("y", u64::MAX, &["p2"])
            .needing("z", u64::MAX, &["p3"]),
    );
    assert_eq!(scene.core.incoming().bytes, 2 << 50);
    assert_eq!(scene.core.managed_memory().in_memory, 3 << 50);
}
