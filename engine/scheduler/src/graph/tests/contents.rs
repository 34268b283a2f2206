//! What a graph contains after it has been opened.

use super::*;
use protocol::Value;

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_graph_computes_what_the_client_meant() {
    let Some(python) = python() else { return };
    let helpers = helpers(python.clone());
    let names = [
        "submit",
        "main_map",
        "lambda_map",
        "plain_map",
        "map_with_tasks",
        "tree",
        "shuffle",
        "kinds",
        "buffers",
        "array",
        "dataframe",
    ];
    let expected = [
        "{'add-1': 3}".to_owned(),
        map_repr(100, 10),
        map_repr(100, 3),
        "{'shown-0': (1, True), 'shown-1': ('two', 2j), 'shown-2': (b'three', 'shown-0'), \
         'shown-3': (4.5, range(0, 3)), 'shown-4': (None, '')}"
            .to_owned(),
        "{'shown-0': (1, [1, 2]), 'shown-1': (100, [100]), 'shown-2': ({'a': 100}, {'b': 3})}"
            .to_owned(),
        "500500}".to_owned(),
        (0..20)
            .map(|j| format!("('out', {j}): {}", 210 * j))
            .collect::<Vec<_>>()
            .join(", "),
        "'legacy': 103".to_owned(),
        "{('sum', 0): np.int64(0), ('sum', 1): np.int64(1), ('sum', 2): np.int64(2)}".to_owned(),
        "array([80., 80.".to_owned(),
        "Name: b, dtype: int64".to_owned(),
    ];
    for ((name, update), expected) in names
        .into_iter()
        .zip(updates(&python, &names))
        .zip(expected)
    {
        // The second time it may be the scheduler that opens it.
        for _ in 0..2 {
            let graph = helpers.materialize("client", &update).await.expect(name);
            let computed = computed(&python, name, &graph);
            assert!(
                computed.contains(&expected),
                "{name}: {computed} lacks {expected}"
            );
            assert_eq!(graph.internal_priority.len(), graph.tasks.len(), "{name}");
        }
    }
}

fn map_repr(count: usize, factor: usize) -> String {
    (0..count)
        .map(|i| format!("'neg-{i:032x}': {}", i * factor))
        .collect::<Vec<_>>()
        .join(", ")
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_dependencies_and_flags_are_those_of_the_client() {
    let Some(python) = python() else { return };
    let helpers = helpers(python.clone());
    let graph = helpers
        .materialize("client", &update(&python, "kinds"))
        .await
        .expect("opens");
    let mut keys = graph
        .tasks
        .iter()
        .map(|task| format!("{:?}", task.key))
        .collect::<Vec<_>>();
    keys.sort();
    assert_eq!(
        keys,
        [
            "'data'",
            "'legacy'",
            "'producer'",
            "'schön-🎉'",
            "('t', 0, 1.5)",
            "7"
        ],
        "unused is culled"
    );
    assert_eq!(
        dependencies(&graph, task(&graph, &Key::str("legacy"))),
        ["7", "external 'elsewhere'"]
    );
    assert_eq!(
        dependencies(&graph, task(&graph, &Key::int(7))),
        ["('t', 0, 1.5)"]
    );
    let producers = graph
        .tasks
        .iter()
        .filter(|task| task.data_producer)
        .map(|task| task.key.to_string());
    let mut producers = producers.collect::<Vec<_>>();
    producers.sort();
    assert_eq!(producers, ["data", "producer"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graph_without_priorities_gets_the_static_order_and_a_cycle_is_refused() {
    let Some(python) = python() else { return };
    let helpers = helpers(python.clone());
    let [tree, cycle] = &updates(&python, &["tree", "cycle"])[..] else {
        panic!("two")
    };
    let graph = helpers.materialize("client", tree).await.expect("opens");
    for task in &graph.tasks {
        let own = graph.internal_priority[graph
            .tasks
            .iter()
            .position(|it| it.key == task.key)
            .expect("there")];
        for dependency in
            &graph.dependencies[task.dependencies.start as usize..task.dependencies.end as usize]
        {
            let Dep::Task(index) = dependency else {
                panic!("all inside")
            };
            assert!(graph.internal_priority[*index as usize] < own);
        }
    }
    let text = text_of(helpers.materialize("client", cycle).await);
    assert!(
        text.contains("Cycle detected between the following keys"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_of_one_function_share_its_pickle() {
    let Some(python) = python() else { return };
    let helpers = helpers(python.clone());
    let update = update(&python, "large_map");
    for opened_by in ["a helper", "the scheduler"] {
        let graph = helpers.materialize("client", &update).await.expect("opens");
        let own = graph
            .tasks
            .iter()
            .filter_map(|task| task.run_spec.as_ref())
            .map(|spec| spec.len as usize);
        let mean = own.sum::<usize>() / graph.tasks.len();
        assert!(mean < 80, "{mean} bytes a task, opened by {opened_by}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn global_annotations_reach_every_task() {
    let Some(python) = python() else { return };
    let helpers = helpers(python.clone());
    let update = update(&python, "annotated");
    let mut opened = Vec::new();
    for _ in ["a helper", "the scheduler"] {
        opened.push(helpers.materialize("client", &update).await.expect("opens"));
    }
    for task in opened.iter().flat_map(|graph| &graph.tasks) {
        let annotations = task.annotations.as_ref().expect("annotated");
        assert_eq!(annotations.retries, 2);
        assert_eq!(
            annotations.workers,
            [Value::from("alice"), Value::from("bob")]
        );
        assert!(annotations.resources.is_some());
        assert_eq!(
            annotations.wire.get("mine"),
            Some(&Value::Set(vec![Value::Int(1), Value::Int(2)]))
        );
    }
    for graph in opened {
        assert!(graph.global_annotations.get("retries").is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn annotations_given_as_functions_are_evaluated_for_each_key() {
    let Some(python) = python() else { return };
    let helpers = helpers(python.clone());
    let graph = helpers
        .materialize("client", &update(&python, "annotated_by_function"))
        .await
        .expect("opens");
    for (key, priority) in [("x", 1.0), ("y", 2.0)] {
        let annotations = task(&graph, &Key::str(key))
            .annotations
            .as_ref()
            .expect("annotated");
        assert_eq!(
            (annotations.priority, annotations.retries),
            (Some(priority), 5)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn annotations_of_layers_reach_their_tasks() {
    let Some(python) = python() else { return };
    let helpers = helpers(python.clone());
    let graph = helpers
        .materialize("client", &update(&python, "layers"))
        .await
        .expect("opens");
    let annotated = graph
        .tasks
        .iter()
        .filter_map(|task| task.annotations.as_ref())
        .collect::<Vec<_>>();
    assert!(!annotated.is_empty());
    assert!(
        annotated
            .iter()
            .all(|it| (it.retries, it.priority) == (3, Some(7.0)))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graph_that_cannot_be_unpickled_tells_of_different_environments() {
    let Some(python) = python() else { return };
    let helpers = helpers(python.clone());
    let error = helpers
        .materialize("client", &update(&python, "refuses"))
        .await
        .expect_err("fails");
    assert!(
        error
            .text
            .contains("Error during deserialization of the task graph"),
        "{}",
        error.text
    );
    let loaded = helpers
        .load_pickle(error.exception.clone(), Vec::new())
        .await
        .expect("opens");
    assert!(
        matches!(loaded, Value::Pickled(_)),
        "an exception stays a pickle: {loaded:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pickles_are_opened_and_what_no_message_can_hold_stays_pickled() {
    let Some(python) = python() else { return };
    let helpers = helpers(python.clone());
    let pickle = Bytes::from_static(
        b"\x80\x04](K\x01\x8c\x01xG@\x04\x00\x00\x00\x00\x00\x00cbuiltins\nlen\ne.",
    );
    let loaded = helpers
        .load_pickle(pickle, Vec::new())
        .await
        .expect("opens");
    let [one, text, number, function] = loaded.as_array().expect("a list") else {
        panic!("{loaded:?}")
    };
    assert_eq!(
        (one, text, number),
        (&Value::Int(1), &Value::from("x"), &Value::Float(2.5))
    );
    assert!(matches!(function, Value::Pickled(_)), "{function:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_names_what_is_installed() {
    let Some(python) = python() else { return };
    let helpers = helpers(python.clone());
    let environment = helpers.environment().await.expect("starts");
    let packages = environment.versions.get("packages").expect("packages");
    assert_eq!(
        packages.get("distributed"),
        Some(&Value::from(environment.distributed.as_str()))
    );
    let more = helpers
        .versions(&protocol::array!["pip"])
        .await
        .expect("answers");
    assert!(
        more.get("packages")
            .expect("packages")
            .get("pip")
            .expect("asked for")
            .as_str()
            .is_some()
    );
}
