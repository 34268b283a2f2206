//! What runs, when, and what is said of it.

use super::{Scene, error, task};
use crate::{Event, Outcome};
use protocol::messages::WorkerStatus;
use std::sync::Arc;

#[test]
fn a_task_without_inputs_runs_at_once_and_its_result_is_reported_with_the_run_that_was_ordered() {
    let mut scene = Scene::new();
    assert_eq!(scene.compute(task("a")), ["run a"]);
    assert_eq!(scene.finish("a"), ["finished a of 1"]);
    assert_eq!(scene.free(&["a"]), ["released a", "free a"]);
    assert_eq!(scene.core.task_count(), 0);
}

#[test]
fn no_more_tasks_run_than_there_are_threads() {
    let mut scene = Scene::with(|config| config.nthreads = 2);
    scene.compute(task("a"));
    scene.compute(task("b"));
    assert!(scene.compute(task("c")).is_empty());
    assert_eq!(scene.finish("a"), ["finished a of 1", "run c"]);
}

fn with_two_ahead() -> Scene {
    Scene::with(|config| config.executions_ahead = 2)
}

#[test]
fn short_runs_lie_ready_in_the_executor_and_count_as_executing() {
    let mut scene = with_two_ahead();
    scene.compute(task("short-0"));
    assert!(scene.compute(task("short-1")).is_empty());
    assert_eq!(scene.finish_after("short-0", 1e-5)[1], "run short-1");
    assert_eq!(scene.compute(task("short-2")), ["run short-2"]);
    assert_eq!(scene.compute(task("short-3")), ["run short-3"]);
    assert!(scene.compute(task("short-4")).is_empty());
    assert_eq!(scene.steal("short-2"), ["thief of short-2: executing"]);
}

#[test]
fn nothing_lies_ready_behind_a_run_that_may_take_long_nor_does_one_that_may() {
    let mut scene = with_two_ahead();
    scene.compute(task("short-0"));
    scene.finish_after("short-0", 1e-5);
    scene.compute(task("long-0"));
    assert!(scene.compute(task("short-1")).is_empty());
    assert_eq!(scene.finish_after("long-0", 1.0)[1], "run short-1");
    assert!(scene.compute(task("long-1")).is_empty());
}

#[test]
fn what_lies_ready_behind_a_run_that_takes_long_after_all_is_called_back() {
    let mut scene = with_two_ahead();
    scene.compute(task("short-0"));
    scene.finish_after("short-0", 1e-5);
    for number in 1..4 {
        scene.compute(task(&format!("short-{number}")));
    }
    scene.now = scene.now.plus_seconds(0.09);
    assert!(scene.happen(Vec::new()).is_empty());
    scene.now = scene.now.plus_seconds(0.02);
    assert_eq!(scene.happen(Vec::new()), ["recall", "recall"]);
    assert!(scene.happen(Vec::new()).is_empty());
    let (first, second) = (scene.run_of("short-2"), scene.run_of("short-3"));
    assert!(scene.end(first, Outcome::NotBegun).is_empty());
    assert!(scene.end(second, Outcome::NotBegun).is_empty());
    assert_eq!(scene.steal("short-2"), ["thief of short-2: ready"]);
    // The one thread is for the next again.
    assert_eq!(scene.finish_after("short-1", 1e-5)[1], "run short-3");
}

#[test]
fn the_most_urgent_of_a_batch_runs_first_and_of_equals_the_last() {
    let mut scene = Scene::new();
    let orders = vec![
        task("late").priority(2.0),
        task("first").priority(1.0),
        task("last").priority(1.0),
    ];
    assert_eq!(scene.compute_all(orders), ["run last"]);
    assert_eq!(scene.finish("last")[1], "run first");
    assert_eq!(scene.finish("first")[1], "run late");
}

#[test]
fn a_task_waits_for_all_its_inputs() {
    let mut scene = Scene::with(|config| config.nthreads = 2);
    scene.compute(task("a"));
    scene.compute(task("b"));
    let order = task("c").needing("a", 1, &["p1"]).needing("b", 1, &["p1"]);
    assert!(scene.compute(order).is_empty());
    assert_eq!(scene.finish("a").len(), 1);
    assert_eq!(scene.finish("b")[1], "run c");
}

#[test]
fn an_order_for_a_result_that_is_here_is_answered_at_once() {
    let mut scene = Scene::new();
    scene.compute(task("a"));
    scene.finish("a");
    assert_eq!(scene.compute(task("a")), ["finished a of 2"]);
}

#[test]
fn a_failure_is_reported_and_stays_until_it_is_freed() {
    let mut scene = Scene::new();
    scene.compute(task("a"));
    let told = scene.end(scene.run_of("a"), Outcome::Failed(error("boom")));
    assert_eq!(told, ["erred a of 1: boom"]);
    assert_eq!(scene.state("a"), Some("error"));
    scene.free(&["a"]);
    assert_eq!(scene.state("a"), None);
}

#[test]
fn a_failed_task_runs_again_when_it_is_ordered_again() {
    let mut scene = Scene::new();
    scene.compute(task("a"));
    scene.end(scene.run_of("a"), Outcome::Failed(error("boom")));
    assert_eq!(scene.compute(task("a")), ["run a"]);
    assert_eq!(scene.finish("a"), ["finished a of 2"]);
}

#[test]
fn a_task_that_wants_to_run_elsewhere_is_let_go() {
    let mut scene = Scene::new();
    scene.compute(task("a"));
    let told = scene.end(scene.run_of("a"), Outcome::Rescheduled);
    assert_eq!(told, ["reschedule a"]);
    assert_eq!(scene.state("a"), None);
}

#[test]
fn a_run_that_was_not_begun_gets_its_turn_again() {
    let mut scene = Scene::with(|config| config.nthreads = 2);
    scene.compute(task("a"));
    scene.compute(task("b"));
    scene.status(WorkerStatus::Paused);
    assert!(scene.end(scene.run_of("a"), Outcome::NotBegun).is_empty());
    assert_eq!(scene.state("a"), Some("ready"));
    assert_eq!(scene.steal("a"), ["thief of a: ready"]);
}

#[test]
fn a_seceded_task_leaves_its_thread_to_others_and_is_told_of_once() {
    let mut scene = Scene::new();
    scene.compute(task("a"));
    scene.compute(task("b"));
    assert_eq!(scene.secede("a"), ["long-running a of 1", "run b"]);
    assert!(scene.secede("a").is_empty());
    assert_eq!(scene.state("a"), Some("long-running"));
    assert_eq!(scene.finish("a"), ["finished a of 1"]);
}

#[test]
fn a_task_that_has_rejoined_takes_a_thread_again() {
    let mut scene = Scene::new();
    scene.compute(task("a"));
    scene.secede("a");
    let execution = scene.run_of("a");
    scene.happen(vec![Event::Rejoined { execution }]);
    assert!(scene.compute(task("b")).is_empty());
    assert_eq!(scene.finish("a")[1], "run b");
}

#[test]
fn a_task_waits_for_its_resources_and_not_for_those_of_others() {
    let resources = [("GPU", 1.0), ("DISK", 1.0)];
    let mut scene = Scene::with(|config| {
        config.nthreads = 4;
        config.resources = resources.map(|(name, all)| (Arc::from(name), all)).into();
    });
    scene.compute(task("a").with("GPU", 1.0));
    assert!(scene.compute(task("b").with("GPU", 1.0)).is_empty());
    assert_eq!(scene.state("b"), Some("constrained"));
    // Stock looks at the most urgent only: this would wait behind b.
    assert_eq!(
        scene.compute(task("c").with("DISK", 1.0).priority(1.0)),
        ["run c"]
    );
    assert_eq!(scene.compute(task("d").priority(1.0)), ["run d"]);
    assert_eq!(scene.finish("a")[1], "run b");
}

#[test]
fn a_task_that_needs_much_is_not_starved_by_those_that_need_little() {
    let mut scene = Scene::with(|config| {
        config.nthreads = 4;
        config.resources = vec![(Arc::from("GPU"), 2.0)];
    });
    scene.compute(task("a").with("GPU", 1.0));
    scene.compute(task("both").with("GPU", 2.0));
    assert!(
        scene
            .compute(task("one").with("GPU", 1.0).priority(1.0))
            .is_empty()
    );
    assert_eq!(scene.finish("a")[1], "run both");
}

#[test]
fn resources_of_a_failed_or_cancelled_run_are_free_again_when_it_has_ended() {
    let mut scene = Scene::with(|config| {
        config.nthreads = 4;
        config.resources = vec![(Arc::from("X"), 0.3)];
    });
    for _ in 0..10 {
        scene.compute(task("a").with("X", 0.1));
        scene.compute(task("b").with("X", 0.2));
        scene.end(scene.run_of("a"), Outcome::Failed(error("boom")));
        scene.free(&["a", "b"]);
        assert!(scene.compute(task("c").with("X", 0.3)).is_empty());
        let told = scene.end(scene.run_of("b"), Outcome::Failed(error("boom")));
        assert_eq!(told, ["run c"]);
        scene.finish("c");
        scene.free(&["c"]);
    }
}

#[test]
fn a_paused_worker_begins_nothing_and_goes_on_where_it_was() {
    let mut scene = Scene::new();
    assert_eq!(scene.status(WorkerStatus::Paused), ["status paused"]);
    let order = task("b").needing("x", 1, &["p2"]);
    assert!(scene.compute_all(vec![task("a"), order]).is_empty());
    let told = scene.status(WorkerStatus::Running);
    assert_eq!(told, ["status running", "run a", "ask p2 for x"]);
}

#[test]
fn a_retiring_worker_begins_nothing_until_it_is_called_back() {
    let mut scene = Scene::new();
    let told = scene.order_status("closing_gracefully");
    assert_eq!(told, ["status closing_gracefully"]);
    assert!(scene.compute(task("a")).is_empty());
    assert_eq!(scene.order_status("running"), ["status running", "run a"]);
}

#[test]
fn an_impossible_status_is_answered_with_the_true_one() {
    let mut scene = Scene::new();
    scene.status(WorkerStatus::Closing);
    for wanted in ["closing_gracefully", "running", "dancing"] {
        assert_eq!(scene.order_status(wanted), ["status closing"]);
    }
}

#[test]
fn an_end_of_a_run_that_was_not_changes_nothing() {
    let mut scene = Scene::new();
    scene.compute(task("a"));
    scene.finish("a");
    assert!(scene.finish("a").is_empty());
    assert_eq!(scene.state("a"), Some("memory"));
}

#[test]
fn transitions_are_told_to_those_who_want_them() {
    let mut scene = Scene::new();
    scene.happen(vec![Event::WatchTransitions(true)]);
    let told = scene.compute(task("a"));
    let steps = [
        "released -> waiting",
        "waiting -> ready",
        "ready -> executing",
    ];
    assert_eq!(told[0], "run a");
    assert_eq!(told[1..], steps.map(|step| format!("a {step}")));
    scene.happen(vec![Event::WatchTransitions(false)]);
    assert_eq!(scene.finish("a"), ["finished a of 1"]);
}

#[test]
fn an_order_without_code_fails_at_once() {
    let mut scene = Scene::new();
    let mut order = task("a");
    order.0.run_spec = None;
    let told = scene.compute(order);
    let why = "RuntimeError(\"the scheduler ordered a task without its code\")";
    assert_eq!(told, [format!("erred a of 1: {why}")]);
    assert_eq!(scene.state("a"), Some("error"));
}
