//! A graph that crashes, hangs or eats memory costs itself and nothing else.

use super::*;
use std::time::Duration;

async fn assert_works(helpers: &GraphHelpers, update: &UpdateGraph) {
    let graph = helpers
        .materialize("someone", update)
        .await
        .expect("a healthy graph opens");
    assert_eq!(graph.tasks.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_fails_only_its_graph_and_names_the_cause() {
    let Some(python) = python() else { return };
    let helpers = helpers(python.clone());
    for (name, cause) in [
        ("exits", "exit code 3"),
        ("killed", "signal 9"),
        ("system_exit", "Error during deserialization"),
    ] {
        let [poisoned, healthy] = &updates(&python, &[name, "needs_helper"])[..] else {
            panic!("two")
        };
        let text = text_of(helpers.materialize("client", poisoned).await);
        assert!(
            text.contains("RuntimeError") && text.contains(cause),
            "{name}: {text}"
        );
        assert_works(&helpers, healthy).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waited_behind_a_crash_is_served() {
    let Some(python) = python() else { return };
    let helpers = GraphHelpers::start(HelperOptions {
        count: 1,
        ..options(python.clone())
    });
    let [poisoned, healthy] = &updates(&python, &["exits", "needs_helper"])[..] else {
        panic!("two")
    };
    helpers.environment().await.expect("starts");
    // All of one client: they are on their way to the helper that the first one kills.
    let results = tokio::join!(
        helpers.materialize("client", poisoned),
        helpers.materialize("client", healthy),
        helpers.materialize("client", poisoned),
        helpers.materialize("client", healthy),
    );
    assert!(text_of(results.0).contains("exit code 3"));
    assert_eq!(results.1.expect("served").tasks.len(), 1);
    assert!(text_of(results.2).contains("exit code 3"));
    assert_eq!(results.3.expect("served").tasks.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graph_that_never_ends_is_stopped() {
    let Some(python) = python() else { return };
    let time_limit = Duration::from_millis(700);
    let helpers = GraphHelpers::start(HelperOptions {
        time_limit,
        ..options(python.clone())
    });
    helpers.environment().await.expect("starts");
    for name in ["hangs", "spins"] {
        let [poisoned, healthy] = &updates(&python, &[name, "needs_helper"])[..] else {
            panic!("two")
        };
        let (hung, other) = tokio::join!(
            helpers.materialize("client", poisoned),
            helpers.materialize("other client", healthy),
        );
        assert_eq!(other.expect("another client is not held up").tasks.len(), 1);
        let text = text_of(hung);
        assert!(text.contains("longer than 0.7 s"), "{name}: {text}");
        assert_works(&helpers, healthy).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_graph_that_eats_memory_gets_an_error_with_the_remedy() {
    let Some(python) = python() else { return };
    let memory_limit_bytes = Some(2 << 30);
    let helpers = GraphHelpers::start(HelperOptions {
        memory_limit_bytes,
        ..options(python.clone())
    });
    let [poisoned, healthy] = &updates(&python, &["explodes", "needs_helper"])[..] else {
        panic!("two")
    };
    let text = text_of(helpers.materialize("client", poisoned).await);
    assert!(
        text.contains("memory limit of 2.0 GiB") && text.contains("scatter"),
        "{text}"
    );
    assert_works(&helpers, healthy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_helper_starts_when_the_first_is_busy() {
    let Some(python) = python() else { return };
    let helpers = helpers(python.clone());
    helpers.environment().await.expect("starts");
    let [healthy, large] = &updates(&python, &["needs_helper", "large_tree"])[..] else {
        panic!("two")
    };
    for _ in 0..3 {
        assert_works(&helpers, healthy).await;
    }
    assert_eq!(helpers.process_ids().len(), 1);
    let (large, small) = tokio::join!(
        helpers.materialize("a", large),
        helpers.materialize("b", healthy)
    );
    assert!(large.expect("opens").tasks.len() > 20_000);
    assert_eq!(small.expect("opens").tasks.len(), 1);
    assert_eq!(helpers.process_ids().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interpreter_without_dask_is_refused_with_the_remedy() {
    let Some(python) = python() else { return };
    let environment = vec![
        ("PYTHONPATH".to_owned(), String::new()),
        ("PYTHONNOUSERSITE".to_owned(), "1".to_owned()),
    ];
    let update = update(&python, "needs_helper");
    let system = PathBuf::from("/usr/bin/python3");
    if system.exists() {
        let helpers = GraphHelpers::start(HelperOptions {
            environment,
            ..options(system)
        });
        let text = text_of(helpers.materialize("client", &update).await);
        assert!(
            text.contains("--python") && text.contains("No module named"),
            "{text}"
        );
        assert!(helpers.environment().await.is_err());
    }
    let helpers = GraphHelpers::start(options(PathBuf::from("/nowhere/python3")));
    let text = text_of(helpers.materialize("client", &update).await);
    assert!(text.contains("/nowhere/python3"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_outside_the_supported_range_is_refused() {
    let Some(python) = python() else { return };
    let check_release = |versions: &protocol::Value| {
        let found = versions
            .get("packages")?
            .get("distributed")?
            .as_str()?
            .to_owned();
        Some(format!("distributed {found} is too good"))
    };
    let helpers = GraphHelpers::start(HelperOptions {
        check_release,
        ..options(python.clone())
    });
    let text = text_of(
        helpers
            .materialize("client", &update(&python, "needs_helper"))
            .await,
    );
    assert!(text.contains("is too good"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_helper_that_is_killed_while_idle_costs_nothing() {
    let Some(python) = python() else { return };
    let helpers = helpers(python.clone());
    let healthy = update(&python, "needs_helper");
    assert_works(&helpers, &healthy).await;
    let process = helpers.process_ids()[0].to_string();
    assert!(
        Command::new("kill")
            .args(["-9", &process])
            .status()
            .expect("runs")
            .success()
    );
    assert_works(&helpers, &healthy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn helpers_end_with_their_handle() {
    let Some(python) = python() else { return };
    let helpers = helpers(python.clone());
    helpers.environment().await.expect("starts");
    let process = helpers.process_ids()[0];
    // It is stuck in a graph and reads no channel.
    let stuck = update(&python, "hangs");
    let second = helpers.clone();
    let waiting = tokio::spawn(async move { second.materialize("client", &stuck).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    waiting.abort();
    drop(helpers);
    for _ in 0..100 {
        if !std::path::Path::new(&format!("/proc/{process}")).exists() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("helper {process} outlives its handle");
}
