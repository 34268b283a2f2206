//! Tasks that fail, and whose fault it is.

use super::{Scene, graph, key, keys};
use crate::Annotations;

#[test]
fn a_failing_task_is_tried_as_often_as_asked_and_then_fails() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    let twice = Annotations {
        retries: 2,
        ..Annotations::default()
    };
    scene.submit(client, graph(&[("a", &[])]).annotated("a", twice));
    for _ in 0..2 {
        scene.told(worker);
        scene.fails(worker, "a");
        assert_eq!(scene.told(worker), ["free a", "run a"]);
    }
    scene.fails(worker, "a");
    assert_eq!(scene.heard(client), ["a erred: a broke"]);
}

//   a ─► b ─► c
#[test]
fn what_depends_on_a_failure_fails_with_its_exception() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    scene.submit(
        client,
        graph(&[("a", &[]), ("b", &["a"]), ("c", &["b"])]).wanting(&["c"]),
    );
    scene.fails(worker, "a");
    assert_eq!(scene.heard(client), ["c erred: a broke"]);
    assert_eq!(scene.core.error_cause(&keys(&["c"])), Some(key("a")));
}

//   a ─► b      c is submitted on top of b afterwards
#[test]
fn a_task_submitted_on_top_of_a_failure_fails_at_once() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("a", &[]), ("b", &["a"])]));
    scene.fails(worker, "a");
    scene.heard(client);
    scene.submit(client, graph(&[("c", &["b"])]));
    assert!(scene.heard(client).contains(&"c erred: a broke".to_owned()));
}

//   a ─► b, a failed and is forgotten; b keeps the exception
#[test]
fn the_exception_outlives_the_task_that_raised_it() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("a", &[]), ("b", &["a"])]).wanting(&["b"]));
    scene.fails(worker, "a");
    scene.heard(client);
    let late = scene.client();
    scene.submit(late, graph(&[("c", &["b"])]));
    assert_eq!(scene.heard(late), ["c erred: a broke", "c erred: a broke"]);
    scene.releases(client, &["b"]);
    assert_eq!(
        scene.core.error_of(&key("c")).unwrap().exception.as_str(),
        Some("a broke")
    );
}

//   a ─► b ─► c
#[test]
fn a_retry_starts_at_the_root_of_the_failure() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    scene.submit(
        client,
        graph(&[("a", &[]), ("b", &["a"]), ("c", &["b"])]).wanting(&["c"]),
    );
    scene.fails(worker, "a");
    scene.told(worker);
    scene.heard(client);
    let looked_at = scene
        .core
        .retry(&keys(&["c"]), None, scene.now, &mut scene.fx);
    assert_eq!(looked_at, keys(&["c", "b", "a"]));
    assert_eq!(scene.heard(client), ["c retried"]);
    assert_eq!(scene.told(worker), ["free a", "run a"]);
    for name in ["a", "b", "c"] {
        scene.finishes(worker, name);
    }
    assert_eq!(scene.heard(client), ["c in memory"]);
}

//   a, b      a is done, b runs, c is unknown
#[test]
fn a_client_that_may_have_forgotten_hears_again_of_what_is_done() {
    let mut scene = Scene::new();
    let next_name = |scene: &Scene| format!("Client-{}", scene.core.client_count() + 1);
    let name = next_name(&scene);
    let (worker, client) = (scene.worker(2), scene.client());
    scene.submit(client, graph(&[("a", &[]), ("b", &[])]));
    scene.finishes(worker, "a");
    let name_of_other = next_name(&scene);
    let other = scene.client();
    scene.heard(client);
    let asked = keys(&["a", "b", "c"]);
    scene
        .core
        .repeat_results(&name, &asked, scene.now, &mut scene.fx);
    assert_eq!(scene.heard(client), ["a in memory"]);
    assert_eq!(scene.heard(other), [""; 0]);
    scene
        .core
        .repeat_results(&name_of_other, &asked, scene.now, &mut scene.fx);
    assert_eq!(scene.heard(other), [""; 0], "it asked for none of them");
}

//   a ─┐
//   b ─┴─► c      both fail, both are retried
#[test]
fn a_task_with_two_failed_inputs_does_not_fail_again_while_both_are_retried() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(2), scene.client());
    scene.submit(client, graph(&[("a", &[]), ("b", &[]), ("c", &["a", "b"])]));
    scene.fails(worker, "a");
    scene.fails(worker, "b");
    scene.heard(client);
    scene
        .core
        .retry(&keys(&["c"]), None, scene.now, &mut scene.fx);
    let mut heard = scene.heard(client);
    heard.sort();
    assert_eq!(heard, ["a retried", "b retried", "c retried"]);
    assert_eq!(scene.status("c"), Some("waiting"));
}

//   a ─► b      b is in memory; its lost input fails when computed again for somebody else
#[test]
fn a_result_in_memory_survives_the_later_failure_of_its_input() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("a", &[]), ("b", &["a"])]).wanting(&["b"]));
    scene.finishes(worker, "a");
    scene.finishes(worker, "b");
    let other = scene.client();
    scene.submit(other, graph(&[("a", &[])]));
    scene.fails(worker, "a");
    scene.heard(client);
    scene.submit(client, graph(&[("a", &[]), ("b", &["a"])]).wanting(&["b"]));
    assert_eq!(scene.heard(client), ["b in memory"]);
    assert_eq!(scene.status("b"), Some("memory"));
}

#[test]
fn a_failure_of_an_older_run_is_not_believed() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("a", &[])]));
    scene.reschedules(worker, "a");
    scene.runs.insert((worker, key("a")), 0);
    scene.fails(worker, "a");
    assert_eq!(scene.status("a"), Some("processing"));
    assert_eq!(scene.heard(client), [] as [&str; 0]);
}

#[test]
fn inputs_that_cannot_fit_the_worker_fail_the_task() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    scene.submit(
        client,
        graph(&[("big", &[]), ("sum", &["big"])]).wanting(&["sum"]),
    );
    scene.finishes_with(worker, "big", 0, 2 << 30);
    assert_eq!(scene.heard(client), ["sum erred: pickled"]);
    let error = scene.core.error_of(&key("sum")).unwrap();
    assert!(
        error
            .exception_text
            .contains("2.00 GiB worth of input dependencies"),
        "{}",
        error.exception_text
    );
}

#[test]
fn the_worker_of_a_failed_task_is_told_to_free_it_when_nobody_wants_it() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("a", &[])]));
    scene.fails(worker, "a");
    scene.told(worker);
    scene.releases(client, &["a"]);
    assert_eq!(scene.told(worker), ["free a"]);
    assert_eq!(scene.core.task_count(), 0);
}
