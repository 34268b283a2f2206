//! What time alone brings about.

use super::{Scene, graph};
use crate::{Action, Annotations, Config, HeartbeatAnswer, WorkerId};
use protocol::Value;
use std::sync::Arc;

fn impatient() -> Config {
    Config {
        no_workers_timeout: Some(10.0),
        ..Config::default()
    }
}

fn error(scene: &Scene, name: &str) -> String {
    scene
        .core
        .error_of(&super::key(name))
        .unwrap()
        .exception_text
        .to_string()
}

#[test]
fn a_task_that_waits_too_long_without_any_worker_fails() {
    let mut scene = Scene::with(impatient());
    let (one, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("a", &[])]));
    scene.loses(one);
    scene.passes(9.0);
    assert_eq!(
        scene.status("a"),
        Some("queued"),
        "without threads every group is large"
    );
    scene.passes(2.0);
    assert_eq!(error(&scene, "a"), "NoWorkerError('a')");
}

#[test]
fn a_task_that_waits_too_long_for_a_worker_that_suits_fails_otherwise() {
    let mut scene = Scene::with(impatient());
    let (_one, client) = (scene.worker(1), scene.client());
    let elsewhere = Annotations {
        workers: vec![Value::from("tcp://10.0.0.9:4000")],
        ..Annotations::default()
    };
    scene.submit(
        client,
        graph(&[("a", &[]), ("b", &["a"])])
            .wanting(&["b"])
            .annotated("a", elsewhere),
    );
    scene.passes(11.0);
    assert_eq!(error(&scene, "a"), "NoValidWorkerError('a')");
    assert_eq!(scene.heard(client), ["b erred: pickled"]);
}

#[test]
fn queued_tasks_fail_too_when_all_workers_are_gone_or_paused() {
    let mut scene = Scene::with(impatient());
    let (one, client) = (scene.worker(1), scene.client());
    scene.submit(
        client,
        graph(&[("r-1", &[]), ("r-2", &[]), ("r-3", &[]), ("r-4", &[])]),
    );
    scene.says_status(one, "paused");
    assert_eq!(scene.status("r-4"), Some("queued"));
    scene.passes(11.0);
    assert_eq!(error(&scene, "r-4"), "NoWorkerError('r-4')");
    assert_eq!(
        scene.status("r-1"),
        Some("processing"),
        "what a paused worker runs goes on"
    );
}

#[test]
fn an_idle_scheduler_closes_and_a_busy_one_does_not() {
    let config = Config {
        idle_timeout: Some(30.0),
        ..Config::default()
    };
    let mut scene = Scene::with(config);
    let client = scene.client();
    scene.submit(client, graph(&[("a", &[])]));
    scene.passes(100.0);
    assert_eq!(scene.core.idle_since(), None, "a task waits for a worker");
    let worker = scene.worker(1);
    scene.finishes(worker, "a");
    scene.passes(20.0);
    assert!(scene.core.idle_since().is_some());
    let closes = |scene: &Scene| {
        scene
            .actions
            .iter()
            .filter(|action| matches!(action, Action::CloseScheduler { .. }))
            .count()
    };
    assert_eq!(closes(&scene), 0);
    scene.passes(20.0);
    assert_eq!(closes(&scene), 1);
    scene.passes(20.0);
    assert_eq!(closes(&scene), 1, "it asks once");
}

#[test]
fn a_graph_being_materialised_is_no_idleness() {
    let config = Config {
        idle_timeout: Some(1.0),
        ..Config::default()
    };
    let mut scene = Scene::with(config);
    scene.core.set_graphs_under_way(1);
    scene.passes(10.0);
    assert_eq!(scene.core.idle_since(), None);
}

#[test]
fn a_silent_worker_is_removed_and_its_tasks_run_elsewhere() {
    let mut scene = Scene::new();
    let (one, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("a", &[])]));
    scene.passes(290.0);
    let two = scene.worker(1);
    scene.reports(two, &[], 0);
    scene.passes(320.0);
    assert!(scene.core.worker(one).is_none());
}

#[test]
fn a_worker_that_reports_stays() {
    let mut scene = Scene::new();
    let one = scene.worker(1);
    for _ in 0..10 {
        scene.passes(100.0);
        assert_eq!(
            scene.reports(one, &[], 0),
            HeartbeatAnswer::Known { interval: 0.5 }
        );
    }
    assert!(scene.core.worker(one).is_some());
}

#[test]
fn a_silent_worker_with_a_nanny_gets_one_restart_before_it_is_removed() {
    let mut scene = Scene::new();
    let mut registration = scene.registration(1, 1);
    registration.nanny = Some(Arc::from("tcp://10.0.0.1:5000"));
    let one = scene.join(registration);
    scene.passes(610.0);
    assert!(
        scene
            .actions
            .iter()
            .any(|action| matches!(action, Action::RestartByNanny { .. }))
    );
    assert!(scene.core.worker(one).is_some());
    scene.passes(300.0);
    assert!(scene.core.worker(one).is_none());
}

#[test]
fn a_report_from_an_address_nobody_registered_is_answered_as_missing() {
    let mut scene = Scene::new();
    assert_eq!(
        scene.reports(WorkerId(77), &[], 0),
        HeartbeatAnswer::Missing
    );
}

#[test]
fn the_more_workers_the_less_often_each_reports() {
    let intervals: Vec<f64> = [1, 10, 11, 49, 50, 199, 200, 1000]
        .into_iter()
        .map(crate::heartbeat_interval)
        .collect();
    assert_eq!(intervals, [0.5, 0.5, 1.0, 1.0, 2.0, 2.0, 2.0, 6.0]);
}

#[test]
fn a_task_that_runs_far_longer_than_its_kind_makes_the_average_unknown() {
    let mut scene = Scene::new();
    let (one, client) = (scene.worker(2), scene.client());
    scene.submit(client, graph(&[("slow-1", &[]), ("slow-2", &[])]));
    scene.finishes(one, "slow-1");
    let average = |scene: &Scene| scene.core.prefix_totals()[0].duration_average_seconds;
    assert_eq!(average(&scene), Some(0.1));
    scene.reports(one, &[("slow-2", 5.0)], 0);
    assert_eq!(average(&scene), None);
    assert_eq!(
        scene.core.total_occupancy_seconds(),
        10.0,
        "twice the longest seen"
    );
}

#[test]
fn bandwidth_follows_what_workers_measure() {
    let mut scene = Scene::new();
    let (one, _two) = (scene.worker(1), scene.worker(1));
    scene.reports(one, &[], 0);
    assert!((scene.core.bandwidth - 100e6).abs() < 1.0);
}
