//! How graphs are taken in.

use super::{Scene, graph, key, keys};
use crate::{Annotations, Graph};
use protocol::Text;
use protocol::messages::{ClientKeys, FromClient};

#[test]
fn a_graph_that_needs_what_nobody_knows_is_cancelled_whole() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("a", &[]), ("b", &["a", "gone"])]));
    assert_eq!(scene.heard(client), ["a cancelled", "b cancelled"]);
    assert_eq!(scene.core.task_count(), 0);
    assert_eq!(scene.told(worker), [] as [&str; 0]);
}

#[test]
fn a_graph_may_build_on_an_earlier_one() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("a", &[])]));
    scene.finishes(worker, "a");
    scene.told(worker);
    scene.submit(client, graph(&[("b", &["a"])]));
    assert_eq!(scene.told(worker), ["run b"]);
}

//   a ─► x          first
//   b ─► x          same key, other input: the first stays, and b is not even kept
#[test]
fn a_known_key_with_other_inputs_keeps_its_old_ones() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("a", &[]), ("x", &["a"])]).wanting(&["x"]));
    scene.submit(client, graph(&[("b", &[]), ("x", &["b"])]).wanting(&["x"]));
    assert_eq!(scene.core.dependencies(&key("x")), keys(&["a"]));
    assert_eq!(scene.status("b"), None);
    scene.finishes(worker, "a");
    scene.finishes(worker, "x");
    assert!(scene.heard(client).contains(&"x in memory".to_owned()));
}

#[test]
fn a_key_submitted_again_while_in_memory_is_reported_at_once() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("a", &[])]));
    scene.finishes(worker, "a");
    let other = scene.client();
    scene.submit(other, graph(&[("a", &[])]));
    assert_eq!(scene.heard(other), ["a in memory"]);
}

fn priority(user: f64) -> Annotations {
    Annotations {
        priority: Some(user),
        ..Annotations::default()
    }
}

#[test]
fn a_users_priority_goes_before_the_order_of_the_graph() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(4), scene.client());
    let graph = graph(&[("a", &[]), ("b", &[]), ("c", &[])])
        .annotated("c", priority(5.0))
        .annotated("a", priority(-1.0));
    scene.submit(client, graph);
    assert_eq!(scene.told(worker), ["run c", "run b", "run a"]);
}

fn generation(scene: &Scene, name: &str) -> String {
    let told = scene.core.describe_task(&key(name)).unwrap();
    let from = told.find("generation: ").unwrap() + "generation: ".len();
    told[from..].split(',').next().unwrap().to_owned()
}

#[test]
fn graphs_in_quick_succession_share_a_generation_and_later_ones_come_after() {
    let mut scene = Scene::new();
    let client = scene.client();
    scene.submit(client, graph(&[("a", &[])]));
    scene.passes(0.05);
    scene.submit(client, graph(&[("b", &[])]));
    scene.passes(0.2);
    scene.submit(client, graph(&[("c", &[])]));
    assert_eq!(
        (
            generation(&scene, "a"),
            generation(&scene, "b"),
            generation(&scene, "c")
        ),
        ("1.0".to_owned(), "1.0".to_owned(), "2.0".to_owned())
    );
}

#[test]
fn tasks_of_a_task_go_a_little_before_their_maker() {
    let mut scene = Scene::new();
    let client = scene.client();
    scene.submit(
        client,
        graph(&[("maker", &[])]).annotated("maker", priority(3.0)),
    );
    let inner = Graph {
        submitting_task: Some(key("maker")),
        ..graph(&[("inner", &[])])
    };
    scene.submit(client, inner);
    assert_eq!(generation(&scene, "inner"), "-3.01");
}

#[test]
fn an_unreadable_graph_is_an_error_on_its_futures_only() {
    let mut scene = Scene::new();
    let client = scene.client();
    let error = crate::TaskError::made_here(Vec::new(), "unreadable");
    scene
        .core
        .graph_failed(client, keys(&["a", "b"]), error, scene.now, &mut scene.fx);
    assert_eq!(
        scene.heard(client),
        ["a erred: pickled", "b erred: pickled"]
    );
    assert_eq!(scene.core.task_count(), 0);
}

#[test]
fn what_is_fired_and_forgotten_runs_and_is_then_forgotten() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("a", &[])]));
    let wish = ClientKeys {
        keys: keys(&["a"]),
        client: Some(Text::from_static("fire-and-forget")),
    };
    scene.client_says(client, FromClient::ClientDesiresKeys(wish));
    scene.core.remove_client(client, scene.now, &mut scene.fx);
    assert_eq!(scene.status("a"), Some("processing"));
    scene.finishes(worker, "a");
    assert_eq!(scene.core.task_count(), 0);
}
