//! What clients want, cancel and leave behind.

use super::{Scene, graph, keys};
use crate::ToClient;
use protocol::Text;
use protocol::messages::{AddKeys, ClientKeys, FromClient, FromWorker, ReportKey};

#[test]
fn a_key_two_clients_want_stays_until_both_have_released_it() {
    let mut scene = Scene::new();
    let (worker, one, two) = (scene.worker(1), scene.client(), scene.client());
    scene.submit(one, graph(&[("a", &[])]));
    scene.submit(two, graph(&[("a", &[])]));
    scene.finishes(worker, "a");
    scene.releases(one, &["a"]);
    assert_eq!(scene.status("a"), Some("memory"));
    scene.releases(two, &["a"]);
    assert_eq!(scene.status("a"), None);
}

#[test]
fn a_client_that_goes_away_wants_nothing_any_more() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("a", &[]), ("b", &["a"])]).wanting(&["b"]));
    scene.told(worker);
    scene.core.remove_client(client, scene.now, &mut scene.fx);
    assert_eq!(scene.told(worker), ["free a"]);
    assert_eq!(scene.core.task_count(), 0);
}

//   a ─► b
#[test]
fn cancelling_a_key_cancels_what_depends_on_it_first() {
    let mut scene = Scene::new();
    let (_worker, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("a", &[]), ("b", &["a"])]));
    scene.cancels(client, &["a"], false);
    assert_eq!(scene.core.task_count(), 0);
    assert_eq!(scene.heard(client), ["b cancelled", "a cancelled"]);
}

#[test]
fn a_key_that_others_want_too_is_cancelled_only_by_force() {
    let mut scene = Scene::new();
    let (_worker, one, two) = (scene.worker(1), scene.client(), scene.client());
    scene.submit(one, graph(&[("a", &[])]));
    scene.submit(two, graph(&[("a", &[])]));
    scene.cancels(one, &["a"], false);
    assert_eq!(scene.status("a"), Some("processing"));
    scene.cancels(one, &["a"], true);
    assert_eq!(scene.status("a"), None);
    assert!(
        scene.heard(two).contains(&"a cancelled".to_owned()),
        "everybody is told"
    );
}

#[test]
fn asking_for_a_key_that_nobody_knows_says_that_it_is_cancelled() {
    let mut scene = Scene::new();
    let client = scene.client();
    let report = ReportKey {
        key: super::key("gone"),
        client: None,
    };
    scene.client_says(client, FromClient::ReportKey(report));
    assert_eq!(scene.heard(client), ["gone cancelled"]);
}

#[test]
fn the_type_of_a_result_is_relayed_as_it_came() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("a", &[])]));
    scene.finishes(worker, "a");
    let heard = scene.to_clients.remove(&client).unwrap();
    let relayed = heard.iter().any(|message| {
        matches!(message, ToClient::KeyInMemory { type_pickle: Some(pickle), .. } if &pickle[..] == b"pickled int")
    });
    assert!(relayed);
}

#[test]
fn wishes_of_a_pseudo_client_keep_a_key_after_its_client_has_gone() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("a", &[])]));
    scene.finishes(worker, "a");
    let name = || Some(Text::from_static("variable-x"));
    let wish = ClientKeys {
        keys: keys(&["a"]),
        client: name(),
    };
    scene.client_says(client, FromClient::ClientDesiresKeys(wish.clone()));
    scene.releases(client, &["a"]);
    assert_eq!(scene.status("a"), Some("memory"));
    scene.client_says(client, FromClient::ClientReleasesKeys(wish));
    assert_eq!(scene.status("a"), None);
}

#[test]
fn scattered_data_is_there_at_once_and_goes_with_the_last_wish() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    scene.scatters(client, worker, "data");
    assert_eq!(scene.heard(client), ["data in memory"]);
    assert_eq!(scene.held_by("data"), [worker]);
    scene.releases(client, &["data"]);
    assert_eq!(scene.told(worker), ["free data"]);
    assert_eq!(scene.core.task_count(), 0);
}

#[test]
fn data_that_took_the_place_of_a_task_fired_and_forgotten_goes_with_the_last_wish() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("a", &[])]));
    let fired = ClientKeys {
        keys: keys(&["a"]),
        client: Some(Text::from_static("fire-and-forget")),
    };
    scene.client_says(client, FromClient::ClientDesiresKeys(fired));
    scene.scatters(client, worker, "a");
    scene.releases(client, &["a"]);
    assert_eq!(scene.core.task_count(), 0);
}

#[test]
fn data_is_not_scattered_again_before_its_last_holder_has_dropped_it() {
    let mut scene = Scene::new();
    let (worker, other, client) = (scene.worker(1), scene.worker(1), scene.client());
    let again = keys(&["data"]);
    assert!(scene.core.may_take(&[worker], &again, scene.now).is_some());
    scene.scatters(client, worker, "data");
    scene.releases(client, &["data"]);
    assert_eq!(scene.core.may_take(&[worker], &again, scene.now), None);
    assert_eq!(
        scene.core.may_take(&[other, worker], &again, scene.now),
        None
    );
    for (workers, names) in [(other, "data"), (worker, "more")] {
        let taken = scene.core.may_take(&[workers], &keys(&[names]), scene.now);
        assert!(taken.is_some(), "{names}");
    }
    scene.obeys(worker);
    assert!(scene.core.may_take(&[worker], &again, scene.now).is_some());
    scene.scatters(client, worker, "data");
    assert_eq!(scene.held_by("data"), [worker]);
}

#[test]
fn a_worker_that_never_says_that_it_has_dropped_data_is_not_waited_for_for_ever() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    scene.scatters(client, worker, "data");
    scene.releases(client, &["data"]);
    scene.passes(6.0);
    let again = keys(&["data"]);
    assert!(scene.core.may_take(&[worker], &again, scene.now).is_some());
}

#[test]
fn data_is_not_scattered_to_a_worker_that_was_told_to_forget_that_name() {
    let mut scene = Scene::new();
    let (worker, other) = (scene.worker(1), scene.worker(1));
    let names = keys(&["data"]);
    let taken = scene
        .core
        .may_take(&[worker], &names, scene.now)
        .expect("nothing is being dropped");
    let ask = AddKeys {
        keys: names.clone(),
        stimulus_id: Text::from_static("find-missing"),
    };
    scene.hears(worker, FromWorker::RequestRefreshWhoHas(ask));
    assert_eq!(scene.told(worker), ["free data"]);
    let place = [scene.core.worker(worker).unwrap().address];
    assert!(scene.core.dropped_since(taken, &place));
    assert_eq!(scene.core.may_take(&[worker], &names, scene.now), None);
    assert!(scene.core.may_take(&[other], &names, scene.now).is_some());
}

#[test]
fn data_dropped_while_it_was_being_scattered_again_is_noticed() {
    let mut scene = Scene::new();
    let (worker, other, client) = (scene.worker(1), scene.worker(1), scene.client());
    let address = |scene: &Scene, worker| [scene.core.worker(worker).unwrap().address];
    scene.scatters(client, worker, "data");
    let taken = scene
        .core
        .may_take(&[worker], &keys(&["data"]), scene.now)
        .unwrap();
    scene.releases(client, &["data"]);
    scene.obeys(worker);
    assert!(scene.core.dropped_since(taken, &address(&scene, worker)));
    assert!(!scene.core.dropped_since(taken, &address(&scene, other)));
    let later = scene
        .core
        .may_take(&[worker], &keys(&["data"]), scene.now)
        .unwrap();
    assert!(!scene.core.dropped_since(later, &address(&scene, worker)));
}

#[test]
fn of_data_that_a_client_put_on_a_worker_that_was_dropping_it_nothing_is_left_over() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    scene.scatters(client, worker, "data");
    scene.releases(client, &["data"]);
    scene.scatters(client, worker, "data");
    scene.heard(client);
    scene.obeys(worker);
    assert_eq!(scene.status("data"), None);
    assert_eq!(scene.heard(client), ["data lost", "data cancelled"]);
    assert_eq!(scene.told(worker), ["free data", "free data"]);
}

//   a ─► b      a's value is scattered while a is still running
#[test]
fn a_value_scattered_under_the_key_of_a_running_task_takes_its_place() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("a", &[]), ("b", &["a"])]));
    scene.told(worker);
    scene.scatters(client, worker, "a");
    assert_eq!(scene.told(worker), ["free a", "run b"]);
    assert_eq!(scene.status("a"), Some("memory"));
}

#[test]
fn a_restart_forgets_every_task_and_says_so() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("a", &[]), ("b", &["a"])]));
    scene.finishes(worker, "a");
    scene.scatters(client, worker, "data");
    scene.heard(client);
    scene.core.restart(scene.now, &mut scene.fx);
    assert_eq!(scene.core.task_count(), 0);
    assert_eq!(scene.heard(client).last().unwrap(), "restart");
    scene.submit(client, graph(&[("a", &[])]));
    assert_eq!(scene.status("a"), Some("processing"));
}

#[test]
fn a_peer_that_says_what_no_peer_says_loses_its_connection() {
    let mut scene = Scene::new();
    let client = scene.client();
    let nonsense = FromClient::Other {
        op: Text::from_static("nonsense"),
        message: protocol::Value::Nil,
    };
    scene.client_says(client, nonsense);
    assert!(matches!(
        scene.actions.last(),
        Some(crate::Action::DropBrokenClient { .. })
    ));
    let worker = scene.worker(1);
    scene.says_status(worker, "asleep");
    assert!(matches!(
        scene.actions.last(),
        Some(crate::Action::DropBrokenWorker { .. })
    ));
}
