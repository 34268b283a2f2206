//! Workers die at any moment.

use super::{Scene, graph};

#[test]
fn task_of_a_lost_worker_moves_to_another() {
    let mut scene = Scene::new();
    let (one, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("a", &[])]));
    let two = scene.worker(1);
    scene.loses(one);
    assert_eq!(scene.told(two), ["run a"]);
}

#[test]
fn a_task_without_any_worker_is_queued_for_the_next() {
    let mut scene = Scene::new();
    let (one, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("a", &[])]));
    scene.loses(one);
    assert_eq!(scene.status("a"), Some("queued"));
    let two = scene.worker(1);
    assert_eq!(scene.told(two), ["run a"]);
}

//   a ─► b ─► c      the worker dies while c runs: all are needed again
#[test]
fn results_lost_with_a_worker_are_computed_again_from_the_roots() {
    let mut scene = Scene::new();
    let (one, client) = (scene.worker(1), scene.client());
    scene.submit(
        client,
        graph(&[("a", &[]), ("b", &["a"]), ("c", &["b"])]).wanting(&["c"]),
    );
    for name in ["a", "b"] {
        scene.finishes(one, name);
    }
    let two = scene.worker(1);
    scene.loses(one);
    for name in ["a", "b", "c"] {
        assert_eq!(scene.told(two).last().unwrap(), &format!("run {name}"));
        scene.finishes(two, name);
    }
    assert_eq!(scene.heard(client), ["c in memory"]);
}

#[test]
fn a_result_with_another_replica_is_not_lost() {
    let mut scene = Scene::new();
    let (one, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("a", &[])]));
    scene.finishes(one, "a");
    let two = scene.worker(1);
    scene.adds(two, &["a"]);
    scene.heard(client);
    scene.loses(one);
    assert_eq!(scene.held_by("a"), [two]);
    assert_eq!(scene.heard(client), [] as [&str; 0]);
}

#[test]
fn the_fourth_death_while_running_a_task_is_the_tasks_fault() {
    let mut scene = Scene::new();
    let client = scene.client();
    let first = scene.worker(1);
    scene.submit(client, graph(&[("a", &[]), ("b", &["a"])]).wanting(&["b"]));
    scene.loses(first);
    for _ in 0..2 {
        let next = scene.worker(1);
        scene.loses(next);
    }
    assert_eq!(scene.heard(client), [] as [&str; 0]);
    let last = scene.worker(1);
    scene.loses(last);
    assert_eq!(scene.heard(client), ["b erred: pickled"]);
    assert_eq!(scene.status("a"), Some("erred"));
}

#[test]
fn a_worker_that_leaves_as_expected_makes_no_task_suspicious() {
    let mut scene = Scene::new();
    let client = scene.client();
    let first = scene.worker(1);
    scene.submit(client, graph(&[("a", &[])]));
    let mut current = first;
    for _ in 0..6 {
        let next = scene.worker(1);
        let removal = crate::Removal {
            expected: true,
            ..crate::Removal::connection_lost()
        };
        scene
            .core
            .remove_worker(current, removal, scene.now, &mut scene.fx);
        scene.take();
        current = next;
    }
    assert_eq!(scene.status("a"), Some("processing"));
}

#[test]
fn scattered_data_lost_with_its_worker_is_gone_and_so_is_what_needs_it() {
    let mut scene = Scene::new();
    let (one, client) = (scene.worker(1), scene.client());
    scene.scatters(client, one, "data");
    scene.submit(client, graph(&[("use", &["data"])]));
    scene.heard(client);
    scene.loses(one);
    assert_eq!(scene.heard(client), ["data cancelled", "use cancelled"]);
    assert_eq!(scene.core.task_count(), 0);
}

#[test]
fn the_last_replica_dropped_by_its_worker_is_computed_again() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("a", &[])]));
    scene.finishes(worker, "a");
    scene.told(worker);
    scene.heard(client);
    scene.drops(worker, "a");
    assert_eq!(scene.told(worker), ["run a"]);
    assert_eq!(scene.heard(client), ["a lost"]);
}

#[test]
fn others_are_told_that_a_worker_has_gone() {
    let mut scene = Scene::new();
    let (one, two) = (scene.worker(1), scene.worker(1));
    scene.take();
    scene.to_workers.clear();
    scene.loses(one);
    let told = scene.to_workers.remove(&two).unwrap();
    let is_told = |message: &crate::ToWorker| matches!(message, crate::ToWorker::RemoveWorker { address, .. } if &**address == "tcp://10.0.0.1:4000");
    assert!(told.iter().any(is_told));
}

#[test]
fn a_name_or_address_that_is_taken_is_refused_until_its_owner_has_gone() {
    let mut scene = Scene::new();
    let one = scene.worker(1);
    let again = scene.registration(1, 1);
    let refused = scene
        .core
        .add_worker(again.clone(), scene.now, &mut scene.fx);
    assert!(matches!(refused, Err(crate::Refusal::AddressTaken { .. })));
    let mut namesake = scene.registration(9, 1);
    namesake.name = protocol::Value::Float(1.0);
    let refused = scene.core.add_worker(namesake, scene.now, &mut scene.fx);
    assert!(
        matches!(refused, Err(crate::Refusal::NameTaken { .. })),
        "1.0 is the same name as 1"
    );
    scene.loses(one);
    assert!(
        scene
            .core
            .add_worker(again, scene.now, &mut scene.fx)
            .is_ok()
    );
}

#[test]
fn a_message_of_a_worker_that_is_gone_changes_nothing() {
    let mut scene = Scene::new();
    let (one, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("a", &[])]));
    scene.loses(one);
    scene.finishes(one, "a");
    assert_eq!(scene.status("a"), Some("queued"));
}

#[test]
fn an_actor_dies_with_its_worker_and_is_not_made_again() {
    let mut scene = Scene::new();
    let (one, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("actor", &[])]).with_actors(&["actor"]));
    scene.finishes(one, "actor");
    let two = scene.worker(1);
    // A way to reach it, fetched as an input there.
    scene.adds(two, &["actor"]);
    scene.heard(client);
    scene.loses(one);
    assert_eq!(scene.heard(client), ["actor erred: pickled"]);
    assert_eq!(scene.status("actor"), Some("erred"));
}
