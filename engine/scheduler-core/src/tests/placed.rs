//! Which worker gets a task.

use super::{Scene, graph};
use crate::{Annotations, Config, WorkerId};
use protocol::Value;
use std::sync::Arc;

fn on(places: Vec<Value>) -> Annotations {
    Annotations {
        workers: places,
        ..Annotations::default()
    }
}

fn needing(resource: &str, amount: f64) -> Annotations {
    Annotations {
        resources: Some(Arc::from(vec![(Arc::from(resource), amount)])),
        ..Annotations::default()
    }
}

fn runner(scene: &Scene, name: &str, among: &[WorkerId]) -> Vec<WorkerId> {
    among
        .iter()
        .copied()
        .filter(|worker| scene.run_of(*worker, name) >= 0)
        .collect()
}

//   a, b ─► sum      both inputs are on the second worker
#[test]
fn a_task_goes_where_its_inputs_are() {
    let mut scene = Scene::new();
    let workers = [scene.worker(1), scene.worker(1), scene.worker(1)];
    let client = scene.client();
    scene.scatters(client, workers[1], "a");
    scene.scatters(client, workers[1], "b");
    scene.submit(client, graph(&[("sum", &["a", "b"])]));
    assert_eq!(runner(&scene, "sum", &workers), [workers[1]]);
}

#[test]
fn a_busy_holder_of_small_inputs_is_passed_over_only_for_another_holder() {
    let mut scene = Scene::new();
    let workers = [scene.worker(1), scene.worker(1)];
    let client = scene.client();
    scene.scatters(client, workers[0], "a");
    scene.adds(workers[1], &["a"]);
    let busy: Vec<(String, Annotations)> = (0..3)
        .map(|number| (format!("busy-{number}"), on(vec![Value::Int(1)])))
        .collect();
    for (name, annotations) in busy {
        scene.submit(client, graph(&[(&name, &[])]).annotated(&name, annotations));
    }
    scene.submit(client, graph(&[("use", &["a"])]));
    assert_eq!(runner(&scene, "use", &workers), [workers[1]]);
}

#[test]
fn small_batches_without_inputs_are_dealt_out_in_turn() {
    let mut scene = Scene::new();
    let workers = [scene.worker(2), scene.worker(2), scene.worker(2)];
    let client = scene.client();
    scene.submit(client, graph(&[("a", &[]), ("b", &[]), ("c", &[])]));
    for name in ["a", "b", "c"] {
        assert_eq!(runner(&scene, name, &workers).len(), 1);
    }
    let loads: Vec<usize> = scene
        .core
        .processing(None)
        .into_iter()
        .map(|(_, keys)| keys.len())
        .collect();
    assert_eq!(loads, [1, 1, 1]);
}

#[test]
fn workers_are_named_by_their_names_addresses_or_hosts() {
    for place in [
        Value::Int(2),
        Value::from("tcp://10.0.0.2:4000"),
        Value::from("10.0.0.2:4000"),
        Value::from("10.0.0.2"),
    ] {
        let mut scene = Scene::new();
        let workers = [scene.worker(1), scene.worker(1), scene.worker(1)];
        let client = scene.client();
        scene.submit(
            client,
            graph(&[("a", &[])]).annotated("a", on(vec![place.clone()])),
        );
        assert_eq!(runner(&scene, "a", &workers), [workers[1]], "{place:?}");
    }
}

#[test]
fn a_restricted_task_waits_for_its_worker_even_if_others_are_idle() {
    let mut scene = Scene::new();
    let (_one, client) = (scene.worker(1), scene.client());
    scene.submit(
        client,
        graph(&[("a", &[])]).annotated("a", on(vec![Value::from("tcp://10.0.0.2:4000")])),
    );
    assert_eq!(scene.status("a"), Some("no-worker"));
    let two = scene.worker(1);
    assert_eq!(scene.told(two), ["run a"]);
}

#[test]
fn loose_restrictions_are_only_a_wish() {
    let mut scene = Scene::new();
    let (one, client) = (scene.worker(1), scene.client());
    let wish = Annotations {
        allow_other_workers: true,
        ..on(vec![Value::from("tcp://10.0.0.9:4000")])
    };
    scene.submit(client, graph(&[("a", &[])]).annotated("a", wish));
    assert_eq!(scene.told(one), ["run a"]);
}

#[test]
fn lifting_a_restriction_lets_a_waiting_task_go() {
    let mut scene = Scene::new();
    let (one, client) = (scene.worker(1), scene.client());
    scene.submit(
        client,
        graph(&[("a", &[])]).annotated("a", on(vec![Value::from("tcp://10.0.0.9:4000")])),
    );
    scene
        .core
        .set_restrictions(&[(super::key("a"), Vec::new())], scene.now, &mut scene.fx);
    assert_eq!(scene.told(one), ["run a"]);
}

#[test]
fn resources_ask_for_a_worker_that_supplies_as_much_whether_in_use_or_not() {
    let mut scene = Scene::new();
    let (plain, client) = (scene.worker(4), scene.client());
    scene.submit(
        client,
        graph(&[("a", &[])]).annotated("a", needing("GPU", 2.0)),
    );
    scene.submit(
        client,
        graph(&[("b", &[])]).annotated("b", needing("GPU", 2.0)),
    );
    assert_eq!(scene.status("a"), Some("no-worker"));
    let mut registration = scene.registration(7, 4);
    registration.resources = vec![(Arc::from("GPU"), 2.0)];
    let gpu = scene.join(registration);
    let mut told = scene.told(gpu);
    told.sort();
    assert_eq!(told, ["run a", "run b"]);
    assert_eq!(scene.told(plain), [] as [&str; 0]);
}

#[test]
fn a_worker_that_gets_a_resource_gets_the_tasks_that_waited_for_it() {
    let mut scene = Scene::new();
    let (one, client) = (scene.worker(4), scene.client());
    scene.submit(
        client,
        graph(&[("a", &[])]).annotated("a", needing("GPU", 1.0)),
    );
    let gpu = vec![(Arc::from("GPU"), 1.0)];
    assert!(
        scene
            .core
            .set_resources("tcp://10.0.0.1:4000", gpu, scene.now, &mut scene.fx)
    );
    assert_eq!(scene.told(one), ["run a"]);
}

#[test]
fn nothing_is_given_to_a_worker_before_it_says_that_it_runs() {
    let mut scene = Scene::new();
    let client = scene.client();
    let registration = scene.registration(1, 1);
    let worker = scene
        .core
        .add_worker(registration, scene.now, &mut scene.fx)
        .unwrap();
    scene.submit(client, graph(&[("a", &[])]));
    assert_eq!(scene.told(worker), [] as [&str; 0]);
    scene.says_status(worker, "running");
    assert_eq!(scene.told(worker), ["run a"]);
}

#[test]
fn a_paused_worker_gets_nothing_new() {
    let mut scene = Scene::new();
    let (one, two, client) = (scene.worker(1), scene.worker(1), scene.client());
    scene.says_status(one, "paused");
    scene.submit(client, graph(&[("a", &[]), ("b", &[])]));
    assert_eq!(scene.told(one), [] as [&str; 0]);
    assert_eq!(scene.told(two), ["run a", "run b"]);
}

fn roots(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("root-{number}")).collect()
}

fn submit_roots(scene: &mut Scene, count: usize) {
    let client = scene.client();
    let names = roots(count);
    let tasks: Vec<(&str, &[&str])> = names.iter().map(|name| (name.as_str(), &[][..])).collect();
    scene.submit(client, graph(&tasks));
}

#[test]
fn roots_beyond_the_saturation_wait_in_the_queue() {
    let mut scene = Scene::new();
    let workers = [scene.worker(2), scene.worker(2)];
    submit_roots(&mut scene, 9);
    // ceil(1.1 * 2) = 3 on each
    assert_eq!(scene.told(workers[0]).len(), 3);
    assert_eq!(scene.told(workers[1]).len(), 3);
    assert_eq!(scene.status("root-6"), Some("queued"));
    scene.finishes(workers[0], "root-0");
    assert_eq!(scene.told(workers[0]), ["run root-6"]);
}

#[test]
fn what_is_in_the_queue_stays_there_after_scaling_up_until_there_are_slots() {
    let mut scene = Scene::new();
    scene.worker(1);
    submit_roots(&mut scene, 8);
    assert_eq!(scene.status("root-7"), Some("queued"));
    // On ten more threads eight tasks of a group are no roots any more.
    let big = scene.worker(10);
    assert_eq!(scene.told(big).len(), 6);
    assert_eq!(scene.status("root-7"), Some("processing"));
}

#[test]
fn without_queueing_siblings_stay_together() {
    let config = Config {
        worker_saturation: f64::INFINITY,
        ..Config::default()
    };
    let mut scene = Scene::with(config);
    let workers = [scene.worker(1), scene.worker(1)];
    submit_roots(&mut scene, 8);
    let first: Vec<String> = roots(8)[..4]
        .iter()
        .map(|name| format!("run {name}"))
        .collect();
    let second: Vec<String> = roots(8)[4..]
        .iter()
        .map(|name| format!("run {name}"))
        .collect();
    assert_eq!(scene.told(workers[0]), first);
    assert_eq!(scene.told(workers[1]), second);
}

#[test]
fn actors_spread_over_workers_by_how_many_each_has() {
    let mut scene = Scene::new();
    let workers = [scene.worker(1), scene.worker(1)];
    let client = scene.client();
    for name in ["x", "y"] {
        scene.submit(client, graph(&[(name, &[])]).with_actors(&[name]));
    }
    assert_ne!(runner(&scene, "x", &workers), runner(&scene, "y", &workers));
}

#[test]
fn an_input_of_unknown_size_counts_a_kibibyte() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    let address = scene.core.worker(worker).unwrap().address;
    let who_has = [(super::key("data"), vec![protocol::Text::from(&*address)])];
    scene
        .core
        .update_data(&who_has, &[], Some(client), scene.now, &mut scene.fx);
    assert_eq!(scene.core.counts().bytes, 1024);
    assert_eq!(
        scene.core.nbytes(Some(&super::keys(&["data"]))),
        [(super::key("data"), -1)]
    );
}
