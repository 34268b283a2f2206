//! Events, metadata, stories and other things that users ask for.

use super::{Scene, graph, key, keys};
use crate::{Config, MetadataError};
use protocol::{Text, Value, array, map};

#[test]
fn subscribers_are_told_of_events_and_others_can_read_them_later() {
    let mut scene = Scene::new();
    let client = scene.client();
    scene.core.subscribe_topic(client, "news");
    scene.core.log_event(
        &Value::text("news"),
        &Value::Int(1),
        scene.now,
        &mut scene.fx,
    );
    assert_eq!(scene.heard(client), ["event news"]);
    scene.core.unsubscribe_topic(client, "news");
    scene.core.log_event(
        &array!["news", "other"],
        &Value::Int(2),
        scene.now,
        &mut scene.fx,
    );
    assert_eq!(scene.heard(client), [] as [&str; 0]);
    assert_eq!(
        scene.core.events_of("news"),
        array![array![1000.0, 1], array![1000.0, 2]]
    );
    assert_eq!(scene.core.events_of("other"), array![array![1000.0, 2]]);
}

#[test]
fn a_topic_keeps_only_the_latest_events() {
    let config = Config {
        low_level_log_length: 2,
        ..Config::default()
    };
    let mut scene = Scene::with(config);
    for number in 0..5 {
        scene.core.log_event(
            &Value::text("news"),
            &Value::Int(number),
            scene.now,
            &mut scene.fx,
        );
    }
    assert_eq!(
        scene.core.events_of("news"),
        array![array![1000.0, 3], array![1000.0, 4]]
    );
}

#[test]
fn the_history_of_a_worker_goes_some_time_after_it_has_left() {
    let mut scene = Scene::new();
    let one = scene.worker(1);
    scene.loses(one);
    scene.passes(3000.0);
    assert!(
        !scene
            .core
            .events_of("tcp://10.0.0.1:4000")
            .as_array()
            .unwrap()
            .is_empty()
    );
    scene.passes(1000.0);
    assert_eq!(
        scene.core.events_of("tcp://10.0.0.1:4000"),
        Value::Array(Vec::new())
    );
}

#[test]
fn metadata_is_nested_by_keys_of_any_kind() {
    let mut scene = Scene::new();
    let path = [Value::text("a"), Value::Int(1), Value::text("b")];
    scene.core.set_metadata(&path, Value::Int(5)).unwrap();
    assert_eq!(scene.core.metadata(&path), Ok(&Value::Int(5)));
    let same = [Value::text("a"), Value::Float(1.0)];
    assert_eq!(scene.core.metadata(&same), Ok(&map! {"b" => 5}));
    let missing = [Value::text("a"), Value::Int(2)];
    assert_eq!(
        scene.core.metadata(&missing),
        Err(MetadataError::Missing(protocol::Key::int(2)))
    );
    scene.core.set_metadata(&same, Value::Int(6)).unwrap();
    scene.core.set_metadata(&path, Value::Int(7)).unwrap();
    assert_eq!(
        scene.core.metadata(&path),
        Ok(&Value::Int(7)),
        "what was no map becomes one"
    );
}

#[test]
fn metadata_of_a_task_goes_with_the_task() {
    let mut scene = Scene::new();
    let client = scene.client();
    scene.submit(client, graph(&[("a", &[])]));
    scene
        .core
        .set_metadata(&[Value::text("a")], Value::Int(1))
        .unwrap();
    scene.releases(client, &["a"]);
    assert!(scene.core.metadata(&[Value::text("a")]).is_err());
}

#[test]
fn a_story_tells_each_transition_with_what_it_led_to() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("a", &[])]));
    scene.finishes(worker, "a");
    let story = scene.core.story(&keys(&["a"]), &[]);
    let told: Vec<(&str, &str)> = story
        .as_array()
        .unwrap()
        .iter()
        .map(|line| {
            let line = line.as_array().unwrap();
            (line[1].as_str().unwrap(), line[2].as_str().unwrap())
        })
        .collect();
    assert_eq!(
        told,
        [
            ("released", "waiting"),
            ("waiting", "processing"),
            ("processing", "memory")
        ]
    );
    let by_stimulus = scene.core.story(&[], &[Text::from_static("task-finished")]);
    assert_eq!(by_stimulus.as_array().unwrap().len(), 1);
}

#[test]
fn tables_name_holders_runners_and_sizes() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("inc-1", &[]), ("inc-2", &["inc-1"])]));
    scene.finishes(worker, "inc-1");
    let address = "tcp://10.0.0.1:4000";
    let who_has = scene.core.who_has(Some(&keys(&["inc-1", "gone"])));
    assert_eq!(
        who_has[0]
            .1
            .iter()
            .map(|holder| &**holder)
            .collect::<Vec<_>>(),
        [address]
    );
    assert!(who_has[1].1.is_empty());
    assert_eq!(
        scene.core.processing(None),
        [(address.into(), keys(&["inc-2"]))]
    );
    assert_eq!(
        scene.core.has_what(None),
        [(address.into(), keys(&["inc-1"]))]
    );
    assert_eq!(scene.core.nbytes_by_prefix(None), [("inc".into(), 100)]);
    assert_eq!(scene.core.task_status(&key("gone")), None);
    let states = map! {"inc" => map! {"memory" => 1, "erred" => 0, "released" => 0, "processing" => 1, "waiting" => 0}};
    assert_eq!(scene.core.prefix_states(), states);
}

#[test]
fn an_identity_has_the_fields_stock_dask_gives_in_their_order() {
    let mut scene = Scene::new();
    let worker = scene.worker(3);
    let identity = scene.core.worker_identity(worker, true);
    let fields: Vec<&str> = identity
        .as_map()
        .unwrap()
        .iter()
        .map(|(name, _)| name.as_str().unwrap())
        .collect();
    assert_eq!(
        fields,
        [
            "type",
            "id",
            "host",
            "resources",
            "local_directory",
            "name",
            "nthreads",
            "memory_limit",
            "last_seen",
            "services",
            "metrics",
            "status",
            "nanny"
        ]
    );
    assert_eq!(identity.get("nthreads"), Some(&Value::Int(3)));
    assert_eq!(identity.get("name"), Some(&Value::Int(1)));
}

#[test]
fn groups_are_dropped_with_their_last_task_and_prefixes_remember() {
    let mut scene = Scene::new();
    let (worker, client) = (scene.worker(1), scene.client());
    scene.submit(client, graph(&[("inc-1", &[])]));
    scene.finishes(worker, "inc-1");
    assert_eq!(scene.core.group_count(), 1);
    scene.releases(client, &["inc-1"]);
    assert_eq!(scene.core.group_count(), 0);
    let prefix = &scene.core.prefix_totals()[0];
    assert_eq!((&*prefix.name, prefix.output_bytes), ("inc", 0));
    assert!((prefix.compute_seconds - 0.1).abs() < 1e-6);
}
