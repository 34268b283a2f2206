//! What was begun and is not wanted any more, and what is wanted after all.

use super::{Scene, error, task};
use crate::Outcome;

#[test]
fn the_result_of_a_cancelled_run_is_dropped_and_nothing_is_said() {
    let mut scene = Scene::new();
    scene.compute(task("a"));
    assert_eq!(scene.free(&["a"]), ["cancel"]);
    assert_eq!(scene.state("a"), Some("cancelled"));
    assert_eq!(scene.finish("a"), ["free a"]);
    assert_eq!(scene.core.task_count(), 0);
}

#[test]
fn a_cancelled_run_keeps_its_thread_until_it_ends() {
    let mut scene = Scene::new();
    scene.compute(task("a"));
    scene.free(&["a"]);
    assert!(scene.compute(task("b")).is_empty());
    assert_eq!(
        scene.end(scene.run_of("a"), Outcome::Failed(error("boom"))),
        ["run b"]
    );
}

/// The cancelled run may be of other code or other inputs under the same name: its result is never the answer to the new
/// order. Stock reports it, with the number of the old run, and is then ordered to run once more.
#[test]
fn a_task_ordered_again_runs_again_after_its_cancelled_run() {
    let mut scene = Scene::with(|config| config.nthreads = 2);
    scene.compute(task("a"));
    let first = scene.run_of("a");
    scene.free(&["a"]);
    assert!(scene.compute(task("a")).is_empty());
    assert_eq!(scene.state("a"), Some("resumed"));
    assert_eq!(scene.finish_run("a", first, 1), ["free a", "run a"]);
    assert_eq!(scene.finish("a"), ["finished a of 2"]);
}

#[test]
fn a_cancelled_run_that_has_seceded_is_not_waited_for() {
    let mut scene = Scene::new();
    scene.compute(task("server"));
    scene.secede("server");
    scene.free(&["server"]);
    assert_eq!(scene.compute(task("server")), ["run server"]);
}

#[test]
fn a_cancelled_run_that_secedes_lets_the_next_one_begin_and_is_not_told_of() {
    let mut scene = Scene::with(|config| config.nthreads = 2);
    scene.compute(task("a"));
    scene.free(&["a"]);
    scene.compute(task("a"));
    assert_eq!(scene.secede("a"), ["run a"]);
}

#[test]
fn a_task_cancelled_here_is_fetched_without_waiting_for_its_run() {
    let mut scene = Scene::with(|config| config.nthreads = 2);
    scene.compute(task("a"));
    scene.free(&["a"]);
    assert_eq!(
        scene.compute(task("b").needing("a", 1, &["p2"])),
        ["ask p2 for a"]
    );
    // What the cancelled run makes is not what the scheduler means.
    assert_eq!(scene.finish("a"), ["free a"]);
    assert_eq!(scene.receive("p2", &["a"]), ["added a", "keep a", "run b"]);
}

#[test]
fn a_failure_or_reschedule_of_a_cancelled_run_is_not_told() {
    let mut scene = Scene::new();
    for outcome in [
        Outcome::Failed(error("boom")),
        Outcome::Rescheduled,
        Outcome::NotBegun,
    ] {
        scene.compute(task("a"));
        scene.free(&["a"]);
        assert!(scene.end(scene.run_of("a"), outcome).is_empty());
        assert_eq!(scene.core.task_count(), 0);
    }
}

#[test]
fn the_same_order_twice_is_one_order() {
    let mut scene = Scene::with(|config| config.nthreads = 2);
    let order = scene.order(task("a"));
    assert_eq!(scene.happen(vec![order.clone()]), ["run a"]);
    assert!(scene.happen(vec![order]).is_empty());
    assert_eq!(scene.finish("a"), ["finished a of 1"]);
}

#[test]
fn a_freed_fetch_is_dropped_when_it_comes() {
    let mut scene = Scene::new();
    scene.compute(task("b").needing("a", 1, &["p2"]));
    scene.free(&["b", "a"]);
    assert_eq!(scene.core.task_count(), 0);
    assert!(scene.receive("p2", &["a"]).is_empty());
}

/// A transfer that nobody waits for goes on: if somebody does after all, it need not be done twice.
#[test]
fn a_transfer_that_was_not_wanted_for_a_while_is_used() {
    let mut scene = Scene::new();
    scene.compute(task("b").needing("a", 1, &["p2"]));
    scene.steal("b");
    assert_eq!(scene.state("a"), Some("cancelled"));
    assert!(scene.compute(task("c").needing("a", 1, &["p2"])).is_empty());
    assert_eq!(scene.receive("p2", &["a"]), ["added a", "keep a", "run c"]);
}

/// The name may stand for another value by now.
#[test]
fn a_transfer_from_a_peer_that_does_not_have_it_any_more_is_not_used() {
    let mut scene = Scene::new();
    scene.compute(task("b").needing("a", 1, &["p2"]));
    scene.steal("b");
    let told = scene.compute(task("c").needing("a", 1, &["p3"]));
    assert_eq!(told, ["ask p3 for a"]);
    assert!(scene.receive("p2", &["a"]).is_empty());
    assert_eq!(scene.receive("p3", &["a"]), ["added a", "keep a", "run c"]);
}

#[test]
fn an_order_to_compute_what_is_in_flight_does_not_wait_for_it() {
    let mut scene = Scene::new();
    scene.compute(task("b").needing("a", 1, &["p2"]));
    assert_eq!(scene.compute(task("a")), ["run a"]);
    assert!(scene.receive("p2", &["a"]).is_empty());
    assert_eq!(scene.finish("a"), ["finished a of 2", "run b"]);
}
