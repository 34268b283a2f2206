//! Inputs from peers.

use super::{Scene, error, task};
use crate::Event;
use crate::GatherOutcome;

const MEGABYTE: u64 = 1_000_000;

#[test]
fn an_input_is_fetched_kept_told_of_and_used() {
    let mut scene = Scene::new();
    assert_eq!(
        scene.compute(task("b").needing("a", 1, &["p2"])),
        ["ask p2 for a"]
    );
    assert_eq!(scene.receive("p2", &["a"]), ["added a", "keep a", "run b"]);
}

#[test]
fn what_one_peer_has_is_asked_for_at_once_and_only_one_request_is_open_to_it() {
    let mut scene = Scene::new();
    let told = scene.compute_all(vec![
        task("x").needing("a", 1, &["p2"]),
        task("y").needing("b", 1, &["p2"]),
    ]);
    assert_eq!(told, ["ask p2 for b+a"]);
    assert!(scene.compute(task("z").needing("c", 1, &["p2"])).is_empty());
    let told = scene.receive("p2", &["a", "b"]);
    assert_eq!(
        told,
        ["added a+b", "keep a", "keep b", "run y", "ask p2 for c"]
    );
}

#[test]
fn a_message_holds_so_many_bytes_and_at_least_one_value() {
    let mut scene = Scene::new();
    let order = task("x")
        .needing("a", 80 * MEGABYTE, &["p2"])
        .needing("b", 30 * MEGABYTE, &["p2"])
        .needing("c", 30 * MEGABYTE, &["p2"]);
    assert_eq!(scene.compute(order), ["ask p2 for a"]);
    assert_eq!(
        scene.receive("p2", &["a"]),
        ["added a", "keep a", "ask p2 for b"]
    );
    assert_eq!(
        scene.receive("p2", &["b"]),
        ["added b", "keep b", "ask p2 for c"]
    );
}

#[test]
fn no_more_bytes_come_at_a_time_than_a_tenth_of_the_memory() {
    let mut scene = Scene::with(|config| config.memory_limit = Some(1000 * MEGABYTE));
    let told = scene.compute_all(vec![
        task("x").needing("a", 90 * MEGABYTE, &["p2"]),
        task("y").needing("b", 20 * MEGABYTE, &["p3"]).priority(1.0),
    ]);
    assert_eq!(told, ["ask p2 for a"]);
    let told = scene.receive("p2", &["a"]);
    assert_eq!(told[2..], ["run x", "ask p3 for b"]);
}

#[test]
fn many_peers_are_asked_for_little_and_few_for_much() {
    let peers: Vec<String> = (2..30).map(|number| format!("p{number}")).collect();
    for (nbytes, asked) in [(1, 28), (2 * MEGABYTE, 10)] {
        let mut scene = Scene::new();
        let mut order = task("x");
        for peer in &peers {
            order = order.needing(&format!("of {peer}"), nbytes, &[peer.as_str()]);
        }
        assert_eq!(scene.compute(order).len(), asked);
    }
}

#[test]
fn the_most_urgent_input_is_fetched_first_and_by_the_urgency_of_whoever_needs_it_most() {
    let mut scene = Scene::with(|config| config.memory_limit = Some(10 * MEGABYTE));
    scene.compute(task("now").needing("a", MEGABYTE, &["p2"]));
    scene.compute(task("late").needing("b", 1, &["p3"]).priority(9.0));
    scene.compute(task("soon").needing("c", 1, &["p4"]).priority(5.0));
    // b becomes the more urgent of the two.
    scene.compute(task("hurry").needing("b", 1, &["p3"]).priority(1.0));
    let told = scene.receive("p2", &["a"]);
    assert_eq!(told[3..], ["ask p3 for b", "ask p4 for c"]);
}

#[test]
fn peers_on_the_same_host_are_preferred() {
    let mut scene = Scene::new();
    // p1 is this worker itself: its host is the same whatever the port.
    let mut order = task("x").needing("a", 1, &["p2"]);
    let near = protocol::Text::from_static("tcp://10.0.0.1:5000");
    order.0.dependencies[0].holders.push(near);
    assert_eq!(scene.compute(order), ["ask p1 for a"]);
}

#[test]
fn a_peer_without_the_value_is_not_asked_again_and_another_is() {
    let mut scene = Scene::new();
    scene.compute(task("x").needing("a", 1, &["p2", "p3"]));
    let (asked, other) = match scene.requests.contains_key("p2") {
        true => ("p2", "p3"),
        false => ("p3", "p2"),
    };
    assert_eq!(scene.receive(asked, &[]), [format!("ask {other} for a")]);
    assert_eq!(scene.receive(other, &[]), ["who has a"]);
    assert_eq!(scene.state("a"), Some("missing"));
}

#[test]
fn what_is_missing_is_asked_for_at_once_and_then_from_time_to_time() {
    let mut scene = Scene::new();
    let told = scene.compute(task("x").needing("a", 1, &[]));
    assert_eq!(told, ["who has a"]);
    assert!(scene.refresh("a", &[]).is_empty());
    assert_eq!(scene.find_missing(), ["who has a"]);
    assert_eq!(scene.refresh("a", &["p2"]), ["ask p2 for a"]);
    // From here on only in turn: a peer that is said to have it and does not would be asked without end.
    assert!(scene.receive("p2", &[]).is_empty());
    assert_eq!(scene.find_missing(), ["who has a"]);
}

#[test]
fn news_of_what_nobody_waits_for_any_more_are_not_heard() {
    let mut scene = Scene::new();
    scene.compute(task("x").needing("a", 1, &[]));
    scene.free(&["x"]);
    assert!(scene.refresh("a", &["p2"]).is_empty());
    assert_eq!(scene.core.task_count(), 0);
    assert!(!scene.core.misses_anything() && scene.find_missing().is_empty());
}

#[test]
fn an_unreachable_peer_is_given_up_for_everything_it_has() {
    let mut scene = Scene::new();
    let order = task("x")
        .needing("a", 1, &["p2"])
        .needing("b", 60 * MEGABYTE, &["p2"])
        .needing("c", 60 * MEGABYTE, &["p2"]);
    assert_eq!(scene.compute(order), ["ask p2 for a"]);
    let told = scene.gathered("p2", GatherOutcome::Unreachable);
    assert_eq!(told, ["who has a+b+c"]);
}

#[test]
fn a_busy_peer_is_left_alone_for_a_while_and_another_holder_is_asked() {
    let mut scene = Scene::new();
    scene.compute(task("x").needing("a", 1, &["p2"]));
    let told = scene.gathered("p2", GatherOutcome::Busy);
    assert_eq!(told, ["who has a", "retry p2 later"]);
    assert!(scene.compute(task("y").needing("b", 1, &["p2"])).is_empty());
    assert_eq!(scene.refresh("a", &["p2", "p3"]), ["ask p3 for a"]);
    assert_eq!(scene.retry_busy("p2"), ["ask p2 for b"]);
}

#[test]
fn a_peer_that_left_is_forgotten() {
    let mut scene = Scene::new();
    scene.compute(task("x").needing("a", 60 * MEGABYTE, &["p2"]));
    scene.compute(
        task("y")
            .needing("b", 60 * MEGABYTE, &["p2", "p3"])
            .priority(1.0),
    );
    let told = scene.remove_worker("p2");
    assert_eq!(told[..], ["forget p2"]);
    // The request to it has still to end.
    let told = scene.gathered("p2", GatherOutcome::Unreachable);
    assert_eq!(told, ["who has a"]);
}

/// Stock ends the whole cluster's progress here: the error goes to the scheduler as that of a task which is in memory
/// elsewhere, and who waits for it waits for ever.
#[test]
fn nonsense_three_times_in_a_row_fails_those_who_wait_for_the_value() {
    let mut scene = Scene::new();
    scene.compute(task("x").needing("a", 1, &["p2"]));
    for _ in 0..2 {
        scene.gathered("p2", GatherOutcome::Malformed(error("nonsense")));
        scene.refresh("a", &["p2"]);
    }
    let told = scene.gathered("p2", GatherOutcome::Malformed(error("nonsense")));
    assert_eq!(told, ["erred x of 1: nonsense"]);
    assert_eq!(scene.state("a"), None);
}

#[test]
fn values_nobody_asked_for_are_not_kept() {
    let mut scene = Scene::new();
    scene.compute(task("x").needing("a", 1, &["p2"]));
    let told = scene.receive("p2", &["evil", "a", "a", "x"]);
    assert_eq!(told, ["added a", "keep a", "run x"]);
}

#[test]
fn an_answer_to_no_request_changes_nothing() {
    let mut scene = Scene::new();
    scene.compute(task("x").needing("a", 1, &["p2"]));
    scene.receive("p2", &["a"]);
    assert!(scene.receive("p2", &["a"]).is_empty());
}

/// In stock it stays ready, runs, and fails for want of its input.
#[test]
fn a_task_whose_input_is_taken_away_before_its_turn_waits_for_it_again() {
    let mut scene = Scene::new();
    scene.compute(task("long"));
    scene.compute(task("x").needing("a", 1, &["p2"]));
    scene.receive("p2", &["a"]);
    assert_eq!(scene.state("x"), Some("ready"));
    assert_eq!(scene.free(&["a"]), ["released a", "free a"]);
    assert_eq!(
        (scene.state("x"), scene.state("a")),
        (Some("waiting"), Some("missing"))
    );
    assert_eq!(scene.find_missing(), ["who has a"]);
    scene.refresh("a", &["p3"]);
    scene.receive("p3", &["a"]);
    assert_eq!(scene.finish("long")[1], "run x");
}

#[test]
fn how_long_a_transfer_took_is_told_with_the_task_that_waited_for_it() {
    let mut scene = Scene::new();
    let order = task("x").needing("a", 1, &["p2"]).needing("b", 1, &["p2"]);
    scene.compute(order);
    scene.receive("p2", &["a", "b"]);
    let end = Event::Executed(Box::new(crate::Executed {
        execution: scene.run_of("x"),
        outcome: crate::Outcome::Finished {
            nbytes: 1,
            value_type: None,
            typename: protocol::Text::from_static("int"),
        },
        thread: None,
        startstops: smallvec::smallvec![],
        metadata: protocol::Value::Nil,
    }));
    scene.core.handle(scene.now, [end], &mut scene.fx);
    let messages = scene.fx.take_messages();
    let [protocol::messages::FromWorker::TaskFinished(told)] = &messages[..] else {
        panic!("{messages:?}");
    };
    let [transfer] = &told.startstops[..] else {
        panic!("{told:?}");
    };
    assert_eq!((transfer.start, transfer.stop), (1.0, 2.0));
    assert!(
        transfer
            .source
            .as_ref()
            .is_some_and(|peer| *peer == *super::address("p2"))
    );
}
