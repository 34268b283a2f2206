//! A task's way from submitted to forgotten when nothing goes wrong.

use super::{Scene, graph, key, keys};
use protocol::Text;
use protocol::messages::{AddKeys, FromWorker};

//   a ─► b
#[test]
fn a_task_runs_when_its_inputs_are_there_and_inputs_nobody_needs_are_freed() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("a", &[]), ("b", &["a"])]).wanting(&["b"]));
    assert_eq!(scene.told(worker), ["run a"]);
    scene.finishes(worker, "a");
    assert_eq!(scene.told(worker), ["run b"]);
    scene.finishes(worker, "b");
    assert_eq!(scene.told(worker), ["free a"]);
    assert_eq!(scene.heard(client), ["b in memory"]);
    assert_eq!(
        (scene.status("a"), scene.status("b")),
        (Some("released"), Some("memory"))
    );
}

#[test]
fn what_nobody_wants_any_more_is_forgotten_with_all_it_needed() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("a", &[]), ("b", &["a"])]).wanting(&["b"]));
    scene.finishes(worker, "a");
    scene.finishes(worker, "b");
    scene.told(worker);
    scene.releases(client, &["b"]);
    assert_eq!(scene.told(worker), ["free b"]);
    assert_eq!(scene.core.task_count(), 0);
}

#[test]
fn a_running_task_nobody_wants_is_freed_on_its_worker() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("a", &[])]));
    scene.told(worker);
    scene.releases(client, &["a"]);
    assert_eq!(scene.told(worker), ["free a"]);
    scene.finishes(worker, "a");
    assert_eq!(scene.told(worker), ["free a"], "a late result is not kept");
}

#[test]
fn run_numbers_start_at_zero_and_are_new_for_every_order() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(2), scene.client());
    scene.submit(client, graph(&[("a", &[]), ("b", &[])]));
    assert_eq!(
        (scene.run_of(worker, "a"), scene.run_of(worker, "b")),
        (0, 1)
    );
    scene.reschedules(worker, "a");
    assert_eq!(scene.run_of(worker, "a"), 2);
}

#[test]
fn a_result_of_an_older_run_on_the_same_worker_is_computed_again() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("a", &[])]));
    scene.reschedules(worker, "a");
    scene.told(worker);
    scene.finishes_with(worker, "a", 0, 100);
    assert_eq!(scene.told(worker), ["free a", "run a"]);
    assert_eq!(scene.status("a"), Some("processing"));
}

#[test]
fn a_result_from_a_worker_that_does_not_run_the_task_is_freed_there() {
    let mut scene = Scene::new();
    let (one, two) = (scene.worker(1), scene.worker(1));
    let client = scene.client();
    scene.submit(client, graph(&[("a", &[])]));
    let runner = if scene.run_of(one, "a") >= 0 {
        one
    } else {
        two
    };
    let other = if runner == one { two } else { one };
    scene.finishes_with(other, "a", 99, 100);
    assert_eq!(scene.told(other), ["free a"]);
    scene.finishes(runner, "a");
    assert_eq!(scene.status("a"), Some("memory"));
}

#[test]
fn a_second_announcement_of_a_result_is_another_replica() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("a", &[])]));
    scene.finishes(worker, "a");
    scene.finishes(worker, "a");
    assert_eq!(scene.held_by("a"), [worker]);
    assert!(!scene.told(worker).contains(&"free a".to_owned()));
}

#[test]
fn roots_go_out_in_order_of_priority() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(4), scene.client());
    scene.submit(
        client,
        graph(&[("d", &[]), ("a", &[]), ("c", &[]), ("b", &[])]),
    );
    assert_eq!(scene.told(worker), ["run d", "run a", "run c", "run b"]);
}

//   a ─┬─► y
//      └─► x      both become ready at once; x was ordered first
#[test]
fn dependents_that_become_ready_together_go_out_in_order_of_priority() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(4), scene.client());
    scene.submit(client, graph(&[("a", &[]), ("x", &["a"]), ("y", &["a"])]));
    scene.told(worker);
    scene.finishes(worker, "a");
    assert_eq!(scene.told(worker), ["run x", "run y"]);
}

#[test]
fn a_seceded_task_gives_its_slot_to_the_next() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    // Five of one group on one thread: roots, of which two may be on the worker.
    scene.submit(
        client,
        graph(&[("r-1", &[]), ("r-2", &[]), ("r-3", &[]), ("r-4", &[])]),
    );
    assert_eq!(scene.told(worker), ["run r-1", "run r-2"]);
    scene.secedes(worker, "r-1");
    assert_eq!(scene.told(worker), ["run r-3"]);
    scene.secedes(worker, "r-1");
    assert_eq!(
        scene.told(worker),
        [] as [&str; 0],
        "saying it twice changes nothing"
    );
}

#[test]
fn a_rescheduled_task_is_given_out_again() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("a", &[])]));
    scene.told(worker);
    scene.reschedules(worker, "a");
    assert_eq!(scene.told(worker), ["free a", "run a"]);
}

#[test]
fn replicas_of_keys_in_memory_are_welcome_and_others_are_dropped_again() {
    let mut scene = Scene::new();
    let (one, two, client) = (scene.worker(1), scene.worker(1), scene.client());
    scene.submit(client, graph(&[("a", &[]), ("b", &[])]));
    let runner = if scene.run_of(one, "a") >= 0 {
        one
    } else {
        two
    };
    let other = if runner == one { two } else { one };
    scene.finishes(runner, "a");
    scene.told(other);
    scene.adds(other, &["a", "b", "nobody-knows"]);
    assert_eq!(scene.told(other), ["drop b", "drop nobody-knows"]);
    assert_eq!(scene.held_by("a").len(), 2);
}

#[test]
fn who_has_what_is_told_to_a_worker_that_asks_and_unknown_keys_are_freed() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("a", &[])]));
    scene.told(worker);
    let ask = AddKeys {
        keys: keys(&["a", "gone"]),
        stimulus_id: Text::from_static("find-missing"),
    };
    scene.hears(worker, FromWorker::RequestRefreshWhoHas(ask));
    assert_eq!(scene.told(worker), ["refresh a", "free gone"]);
}

#[test]
fn a_chain_of_a_hundred_thousand_is_forgotten_without_recursion() {
    let mut scene = Scene::with(crate::Config::default());
    scene.core = crate::Scheduler::new(crate::Config::default(), 1, crate::Check::Never, scene.now);
    let client = scene.client();
    let names: Vec<String> = (0..100_000)
        .map(|number| format!("link-{number}"))
        .collect();
    let inputs: Vec<Vec<&str>> = (0..names.len())
        .map(|at| {
            if at == 0 {
                vec![]
            } else {
                vec![names[at - 1].as_str()]
            }
        })
        .collect();
    let mut chain = graph(&[]);
    let slab = crate::SpecSlab::new(bytes::Bytes::from_static(b"."), Vec::new());
    for (at, name) in names.iter().enumerate() {
        let start = chain.dependencies.len() as u32;
        chain
            .dependencies
            .extend(inputs[at].iter().map(|_| crate::Dep::Task(at as u32 - 1)));
        chain.tasks.push(crate::GraphTask {
            key: key(name),
            dependencies: start..chain.dependencies.len() as u32,
            run_spec: Some(crate::RunSpec {
                slab: slab.clone(),
                start: 0,
                len: 1,
            }),
            data_producer: false,
            is_barrier: false,
            annotations: None,
        });
        chain.internal_priority.push(at as i32);
    }
    chain.keys = keys(&["link-99999"]);
    scene.submit(client, chain);
    assert_eq!(scene.core.task_count(), 100_000);
    scene.cancels(client, &["link-99999"], true);
    assert_eq!(scene.core.task_count(), 0);
}
