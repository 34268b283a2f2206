//! Answers to thieves.

use super::{Scene, error, task};
use crate::{Event, Outcome};
use protocol::messages::KeyOrder;
use protocol::{Key, Text};
use std::sync::Arc;

#[test]
fn a_task_that_has_not_begun_is_given_away() {
    let mut scene = Scene::with(|config| config.resources = vec![(Arc::from("GPU"), 1.0)]);
    scene.compute(task("long").with("GPU", 1.0));
    scene.compute(task("ready"));
    scene.compute(task("constrained").with("GPU", 1.0));
    scene.compute(task("waiting").needing("x", 1, &["p2"]));
    for name in ["ready", "constrained", "waiting"] {
        assert_eq!(scene.steal(name), [format!("thief of {name}: {name}")]);
        assert_eq!(scene.state(name), None);
    }
    assert_eq!(scene.finish("long"), ["finished long of 1"]);
}

#[test]
fn a_task_that_has_begun_or_is_done_is_kept() {
    let mut scene = Scene::with(|config| config.nthreads = 2);
    scene.compute(task("done"));
    scene.finish("done");
    scene.compute(task("long"));
    scene.secede("long");
    scene.compute(task("running"));
    assert_eq!(scene.steal("done"), ["thief of done: memory"]);
    assert_eq!(scene.steal("long"), ["thief of long: long-running"]);
    assert_eq!(scene.steal("running"), ["thief of running: executing"]);
    assert_eq!(scene.finish("running"), ["finished running of 3"]);
}

/// Stock schedulers know a few states only and end the connection over any other.
#[test]
fn what_is_not_ordered_here_is_unknown_to_thieves() {
    let mut scene = Scene::with(|config| config.nthreads = 2);
    scene.compute(task("failed"));
    scene.end(scene.run_of("failed"), Outcome::Failed(error("boom")));
    scene.compute(task("x").needing("flying", 1, &["p2"]));
    scene.compute(task("y").needing("missing", 1, &[]));
    for name in ["failed", "flying", "missing", "never heard of"] {
        assert_eq!(scene.steal(name), [format!("thief of {name}: unknown")]);
    }
}

#[test]
fn inputs_of_a_stolen_task_are_not_fetched_any_more() {
    let mut scene = Scene::new();
    scene.compute(task("busy").needing("first", 60_000_000, &["p2"]));
    scene.compute(task("x").needing("second", 1, &["p2"]).priority(1.0));
    assert_eq!(scene.state("second"), Some("fetch"));
    scene.steal("x");
    assert_eq!(scene.state("second"), None);
    assert_eq!(
        scene.receive("p2", &["first"]),
        ["added first", "keep first", "run busy"]
    );
}

#[test]
fn a_compute_that_is_called_off_is_let_go_without_a_word() {
    let mut scene = Scene::new();
    scene.compute(task("a"));
    scene.compute(task("b"));
    for name in ["a", "b"] {
        let key = Key::str(name);
        let stimulus_id = Text::from_static("cancel");
        let order = KeyOrder { key, stimulus_id };
        assert!(scene.happen(vec![Event::CancelCompute(order)]).is_empty());
    }
    assert_eq!(
        (scene.state("a"), scene.state("b")),
        (Some("executing"), None)
    );
}
