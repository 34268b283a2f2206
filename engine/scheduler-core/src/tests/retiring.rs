//! Workers that are to go, and their data.

use super::{Scene, graph, keys};
use crate::{Action, AfterRetiring, CloseRequest, WorkerId};
use protocol::Text;

const REMOVE: AfterRetiring = AfterRetiring {
    close: true,
    remove: true,
};

fn retire(scene: &mut Scene, worker: WorkerId) {
    let stimulus = Text::from_static("retire");
    scene
        .core
        .retire(&[worker], REMOVE, stimulus, scene.now, &mut scene.fx);
    scene.take();
}

fn ended(scene: &Scene) -> Option<(WorkerId, bool)> {
    scene.actions.iter().rev().find_map(|action| match action {
        Action::RetirementEnded {
            worker, retired, ..
        } => Some((*worker, *retired)),
        _ => None,
    })
}

#[test]
fn a_worker_without_data_retires_at_once() {
    let mut scene = Scene::new();
    let (one, _two) = (scene.worker(1), scene.worker(1));
    retire(&mut scene, one);
    assert_eq!(ended(&scene), Some((one, true)));
    assert_eq!(scene.told(one), ["be closing_gracefully", "close"]);
    assert_eq!(scene.core.worker_count(), 1);
}

#[test]
fn data_only_the_retiring_worker_has_is_copied_first() {
    let mut scene = Scene::new();
    let (one, two, client) = (scene.worker(1), scene.worker(1), scene.client());
    scene.scatters(client, one, "data");
    retire(&mut scene, one);
    assert_eq!(ended(&scene), None);
    assert_eq!(scene.told(two), ["acquire data"]);
    scene.adds(two, &["data"]);
    scene.passes(0.02);
    assert_eq!(ended(&scene), Some((one, true)));
    assert_eq!(scene.held_by("data"), [two]);
}

#[test]
fn copies_go_to_the_worker_with_the_least_memory_in_use() {
    let mut scene = Scene::new();
    let workers = [scene.worker(1), scene.worker(1), scene.worker(1)];
    let client = scene.client();
    // Only what has been there for half a minute counts.
    for _ in 0..2 {
        scene.passes(31.0);
        scene.reports(workers[1], &[], 500_000_000);
        scene.reports(workers[2], &[], 100_000_000);
    }
    scene.scatters(client, workers[0], "data");
    retire(&mut scene, workers[0]);
    assert_eq!(scene.told(workers[2]), ["acquire data"]);
}

#[test]
fn a_retiring_worker_gets_no_more_tasks() {
    let mut scene = Scene::new();
    let (one, two, client) = (scene.worker(1), scene.worker(1), scene.client());
    scene.scatters(client, one, "data");
    retire(&mut scene, one);
    scene.told(one);
    scene.submit(client, graph(&[("a", &[]), ("b", &["data"])]));
    assert_eq!(scene.told(one), [] as [&str; 0]);
    assert_eq!(scene.told(two), ["acquire data", "run a", "run b"]);
}

#[test]
fn a_worker_whose_data_nobody_can_take_stays() {
    let mut scene = Scene::new();
    let (one, client) = (scene.worker(1), scene.client());
    scene.scatters(client, one, "data");
    retire(&mut scene, one);
    assert_eq!(ended(&scene), Some((one, false)));
    assert_eq!(scene.told(one), ["be closing_gracefully", "be running"]);
    scene.says_status(one, "running");
    scene.submit(client, graph(&[("a", &[])]));
    assert_eq!(scene.told(one), ["run a"]);
}

#[test]
fn a_worker_with_an_actor_does_not_retire() {
    let mut scene = Scene::new();
    let (one, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("actor", &[])]).with_actors(&["actor"]));
    scene.finishes(one, "actor");
    scene.worker(1);
    retire(&mut scene, one);
    assert_eq!(ended(&scene), Some((one, false)));
}

#[test]
fn a_worker_that_dies_while_retiring_has_retired() {
    let mut scene = Scene::new();
    let (one, _two, client) = (scene.worker(1), scene.worker(1), scene.client());
    scene.scatters(client, one, "data");
    retire(&mut scene, one);
    scene.loses(one);
    assert_eq!(ended(&scene), Some((one, true)));
}

//   data is on both workers, and `use` runs on the retiring one
#[test]
fn a_replica_that_a_running_task_needs_is_never_dropped() {
    let mut scene = Scene::new();
    let (one, two, client) = (scene.worker(1), scene.worker(1), scene.client());
    scene.scatters(client, one, "data");
    scene.scatters(client, one, "mine");
    scene.submit(client, graph(&[("use", &["data"])]));
    scene.adds(two, &["data"]);
    scene.told(one);
    retire(&mut scene, one);
    assert_eq!(
        scene.told(one),
        ["be closing_gracefully"],
        "data stays while `use` runs there"
    );
    scene.finishes(one, "use");
    scene.passes(2.1);
    assert!(scene.told(one).contains(&"drop data".to_owned()));
    assert_eq!(scene.held_by("data"), [two]);
}

#[test]
fn a_replica_that_its_worker_would_not_drop_is_on_the_books_again() {
    let mut scene = Scene::new();
    let (one, two, client) = (scene.worker(1), scene.worker(1), scene.client());
    scene.scatters(client, one, "data");
    scene.scatters(client, one, "mine");
    scene.adds(two, &["data"]);
    retire(&mut scene, one);
    assert_eq!(scene.held_by("data"), [two]);
    scene.adds(one, &["data"]);
    assert_eq!(scene.held_by("data"), [one, two]);
}

#[test]
fn idle_workers_with_little_data_can_be_closed_but_not_busy_ones() {
    let mut scene = Scene::new();
    let workers = [scene.worker(1), scene.worker(1), scene.worker(1)];
    let client = scene.client();
    scene.scatters(client, workers[0], "data");
    let closing = scene.core.workers_to_close(&CloseRequest::default());
    assert_eq!(closing.len(), 2, "{closing:?}");
    assert!(!closing.contains(&workers[0]));
    let one_only = CloseRequest {
        count: Some(1),
        ..CloseRequest::default()
    };
    assert_eq!(scene.core.workers_to_close(&one_only).len(), 1);
    let keep_three = CloseRequest {
        minimum: Some(3),
        ..CloseRequest::default()
    };
    assert_eq!(scene.core.workers_to_close(&keep_three), []);
}

#[test]
fn the_target_follows_the_work_and_never_asks_for_more_workers_than_tasks() {
    let mut scene = Scene::new();
    let client = scene.client();
    assert_eq!(scene.core.adaptive_target(None), 0);
    scene.submit(client, graph(&[("a", &[]), ("b", &[]), ("c", &[])]));
    assert_eq!(scene.core.adaptive_target(Some(0.1)), 3);
    assert_eq!(scene.core.adaptive_target(Some(5.0)), 1);
}

#[test]
fn copies_are_planned_in_rounds_and_surplus_is_found() {
    let mut scene = Scene::new();
    let workers: Vec<WorkerId> = (0..5).map(|_| scene.worker(1)).collect();
    let client = scene.client();
    scene.scatters(client, workers[0], "data");
    let wanted = keys(&["data"]);
    let plan = scene.core.plan_copies(&wanted, 5, &workers, 2);
    assert_eq!(plan.len(), 2, "one holder serves two others at a time");
    for (worker, _) in &plan {
        scene.adds(*worker, &["data"]);
    }
    assert_eq!(scene.core.plan_copies(&wanted, 5, &workers, 2).len(), 2);
    assert_eq!(scene.core.plan_copies(&wanted, 3, &workers, 2), []);
    let surplus = scene.core.plan_surplus(&wanted, 1, &workers);
    assert_eq!(surplus.len(), 2);
}
