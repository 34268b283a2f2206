//! What users send to the scheduler itself. The scheduler is played by `Answers`.

use super::*;
use crate::graph::Backdoor;
use protocol::{Value, array, map};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// Answers every question with the question itself, and the snapshot with one worker.
struct Answers;

impl Backdoor for Answers {
    fn ask(
        &self,
        op: String,
        arguments: Value,
    ) -> Pin<Box<dyn Future<Output = Result<Value, GraphError>> + Send>> {
        Box::pin(async move {
            match op.as_str() {
                "scheduler_snapshot" => Ok(snapshot()),
                "fails" | "get_metadata" => Err(GraphError::builtin("KeyError", "nothing there")),
                _ => Ok(map! {"op" => op, "arguments" => arguments}),
            }
        })
    }
}

fn snapshot() -> Value {
    let worker = map! {
        "identity" => map! {"name" => "alice", "nthreads" => 2_i64, "status" => "running", "memory_limit" => 100_i64},
        "address" => "tcp://a:1",
    };
    map! {
        "facts" => map! {"address" => "tcp://s:1", "id" => "Scheduler-1"},
        "workers" => array![worker],
        "clients" => array![map! {"client_key" => "Client-1"}],
        "prefixes" => array![map! {"name" => "x"}],
        "groups" => array![map! {"name" => "x", "prefix" => "x"}],
        "tasks" => array![row("x-1", array![], "memory"), row("x-2", array!["x-1"], "processing")],
    }
}

fn row(key: &str, dependencies: Value, state: &str) -> Value {
    let on = |wanted: &str| {
        if state == wanted {
            Value::from("tcp://a:1")
        } else {
            Value::Nil
        }
    };
    let holders = if state == "memory" {
        array![on("memory")]
    } else {
        array![]
    };
    map! {
        "key" => key, "state" => state, "group" => "x", "dependencies" => dependencies, "who_has" => holders,
        "who_wants" => array!["Client-1"], "processing_on" => on("processing"), "blame" => Value::Nil,
    }
}

/// Functions, by name, that `functions.py` pickles as a client would.
fn pickles(python: &PathBuf, names: &[&str]) -> Vec<Bytes> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/src/graph/tests/functions.py");
    let made = Command::new(python)
        .arg(script)
        .args(names)
        .stderr(Stdio::inherit())
        .output()
        .expect("runs");
    assert!(made.status.success(), "functions.py failed");
    let mut rest = Bytes::from(made.stdout);
    names
        .iter()
        .map(|_| {
            let size = rest.get_u64_le() as usize;
            rest.split_to(size)
        })
        .collect()
}

async fn run(helpers: &GraphHelpers, function: &Bytes, wait: bool) -> Value {
    helpers
        .run_function(function.clone(), None, None, wait)
        .await
        .expect("a reply")
}

/// What the function returned, or the text of what it raised.
async fn outcome(helpers: &GraphHelpers, function: &Bytes) -> Value {
    let reply = run(helpers, function, true).await;
    if let Some(text) = reply.get("exception_text") {
        return text.clone();
    }
    let result = reply
        .get("result")
        .expect("a result")
        .as_payload()
        .expect("serialized")
        .clone();
    let frames = result.decompressed().expect("readable");
    helpers
        .load_pickle(frames[0].clone(), frames[1..].to_vec())
        .await
        .expect("opens")
}

fn started(python: PathBuf) -> Arc<GraphHelpers> {
    let helpers = GraphHelpers::start(options(python));
    helpers.answer_questions(Arc::new(Answers));
    helpers
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_read_the_scheduler_and_call_its_operations() {
    let Some(python) = python() else { return };
    let helpers = started(python.clone());
    let expected = [
        ("workers", Value::from("[('tcp://a:1', 'alice', 2)]")),
        (
            "tasks",
            Value::from(
                "[('x-1', 'memory', ['x-2'], 'tcp://a:1'), ('x-2', 'processing', [], 'tcp://a:1')]",
            ),
        ),
        ("facts", Value::from("('tcp://s:1', 'Scheduler-1', 2)")),
        ("operation", Value::from("('who_has', ['keys'])")),
        ("monitor", Value::from("['gather', 'identity']")),
        ("coroutine", Value::from("retire_workers")),
        ("refused", Value::from("AttributeError: transitions")),
        (
            "raises_from_query",
            Value::from("KeyError('nothing there')"),
        ),
        (
            "raises",
            Value::from("ZeroDivisionError('division by zero')"),
        ),
        ("leaves", Value::Nil),
        ("finds", Value::from("left")),
    ];
    let names = expected.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    for ((name, expected), pickle) in expected.iter().zip(pickles(&python, &names)) {
        assert_eq!(outcome(&helpers, &pickle).await, *expected, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coroutine_that_nobody_waits_for_runs_on() {
    let Some(python) = python() else { return };
    let helpers = started(python.clone());
    let [background, finds] = &pickles(&python, &["background", "finds"])[..] else {
        panic!("two")
    };
    assert_eq!(
        run(&helpers, background, false)
            .await
            .get("result")
            .map(|result| result.is_nil()),
        Some(false)
    );
    for _ in 0..100 {
        if outcome(&helpers, finds).await == Value::from("left") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("it never ran");
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_start_hear_of_workers_and_survive_a_crash_of_their_process() {
    let Some(python) = python() else { return };
    let helpers = started(python.clone());
    let names = ["plugin", "heard", "dies", "transition_plugin"];
    let [plugin, heard, dies, refused] = &pickles(&python, &names)[..] else {
        panic!("four")
    };
    helpers
        .register_scheduler_plugin(plugin.clone(), &Value::Nil, false)
        .await
        .expect("starts");
    for (hook, arguments, said) in [
        ("add_worker", map! {"worker" => "tcp://b:1"}, "tcp://b:1"),
        ("add_client", map! {"client" => "c"}, "c"),
        ("remove_client", map! {"client" => "c"}, "no c"),
        ("restart", map! {}, "restart"),
    ] {
        helpers.hook(hook, true, arguments);
        helpers.hook("log_event", false, map! {"topic" => "nobody overrides it"});
        // A hook is on its way by itself.
        let said = format!("'{said}']");
        while !outcome(&helpers, heard)
            .await
            .as_str()
            .is_some_and(|heard| heard.ends_with(&said))
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    assert_eq!(
        outcome(&helpers, heard).await,
        Value::from("['start', 'tcp://b:1', 'c', 'no c', 'restart']")
    );
    let error = helpers
        .run_function(dies.clone(), None, None, true)
        .await
        .expect_err("its process ends");
    assert!(error.text.contains("exit code 9"), "{}", error.text);
    assert_eq!(
        outcome(&helpers, heard).await,
        Value::from("['start']"),
        "registered again"
    );
    helpers
        .unregister_scheduler_plugin("mine")
        .await
        .expect("is there");
    let error = helpers
        .unregister_scheduler_plugin("mine")
        .await
        .expect_err("is gone");
    assert!(
        error.text.contains("Could not find plugin 'mine'"),
        "{}",
        error.text
    );
    let error = helpers
        .register_scheduler_plugin(refused.clone(), &Value::Nil, false)
        .await
        .expect_err("refused");
    assert!(
        error.text.contains("overrides transition"),
        "{}",
        error.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_uploading_plugin_reaches_the_helpers_that_open_graphs_now_and_later() {
    let Some(python) = python() else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let local_directory = directory.path().join("local");
    let helpers = GraphHelpers::start(HelperOptions {
        local_directory: local_directory.clone(),
        ..options(python.clone())
    });
    helpers.answer_questions(Arc::new(Answers));
    let [upload, broken] = &pickles(&python, &["upload", "upload_broken"])[..] else {
        panic!("two")
    };
    helpers
        .register_scheduler_plugin(upload.clone(), &Value::Nil, true)
        .await
        .expect("uploads");
    let answer = Bytes::from_static(b"\x80\x04cuploaded_by_plugin\nANSWER\n.");
    let killed = update(&python, "killed");
    for _ in 0..2 {
        let loaded = helpers
            .load_pickle(answer.clone(), Vec::new())
            .await
            .expect("imports");
        assert_eq!(loaded, Value::Int(42));
        // The next round asks a helper that started after the upload.
        helpers
            .materialize("client", &killed)
            .await
            .expect_err("kills its helper");
    }
    let error = helpers
        .register_scheduler_plugin(broken.clone(), &Value::Nil, false)
        .await
        .expect_err("no import");
    assert!(error.text.contains("is broken"), "{}", error.text);
    drop(helpers);
    assert!(!local_directory.exists(), "nothing is left behind");
}

#[tokio::test(flavor = "multi_thread")]
async fn preloaded_modules_are_set_up_with_the_scheduler_and_torn_down() {
    let Some(python) = python() else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let (module, torn_down) = (
        directory.path().join("preloaded_module.py"),
        directory.path().join("torn_down"),
    );
    let source = format!(
        "async def dask_setup(scheduler):\n    scheduler.something = 'left'\n\n\n\
         def dask_teardown(scheduler):\n    open({torn_down:?}, 'w').close()\n"
    );
    std::fs::write(&module, source).expect("a file");
    let helpers = GraphHelpers::start(HelperOptions {
        preload: vec![module.to_string_lossy().into_owned()],
        ..options(python.clone())
    });
    helpers.answer_questions(Arc::new(Answers));
    let finds = pickles(&python, &["finds"]).remove(0);
    assert_eq!(outcome(&helpers, &finds).await, Value::from("left"));
    helpers.close_plugins().await;
    assert!(torn_down.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_that_hangs_holds_nobody_up_for_ever() {
    let Some(python) = python() else { return };
    let helpers = GraphHelpers::start(HelperOptions {
        hold_limit: Duration::from_millis(600),
        ..options(python.clone())
    });
    helpers.answer_questions(Arc::new(Answers));
    let names = ["plugin", "heard", "hangs", "takes_long", "waits_for_ever"];
    let [plugin, heard, hangs, takes_long, waits_for_ever] = &pickles(&python, &names)[..] else {
        panic!("five")
    };
    helpers
        .register_scheduler_plugin(plugin.clone(), &Value::Nil, false)
        .await
        .expect("starts");
    let alone = outcome(&helpers, takes_long).await;
    assert_eq!(alone, Value::from("done"), "nobody waited behind it");
    let waiting = helpers.clone();
    let pickle = waits_for_ever.clone();
    tokio::spawn(async move { waiting.run_function(pickle, None, None, true).await });
    assert_eq!(outcome(&helpers, heard).await, Value::from("['start']"));
    let hung = helpers.run_function(hangs.clone(), None, None, true);
    let behind = async {
        helpers.hook("add_worker", true, map! {"worker" => "tcp://b:1"});
        // The hook is on its way by itself.
        while outcome(&helpers, heard).await != Value::from("['start', 'tcp://b:1']") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let (hung, ()) = tokio::join!(hung, behind);
    let error = hung.expect_err("is stopped");
    assert!(
        error.text.contains("kept its thread for longer than 600ms"),
        "{}",
        error.text
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_never_ends_is_given_up() {
    let Some(python) = python() else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let hanging = "import time\ntime.sleep(3600)\n";
    std::fs::write(directory.path().join("distributed.py"), hanging).expect("a file");
    let [update] = &updates(&python, &["submit"])[..] else {
        panic!("one")
    };
    let function = pickles(&python, &["raises"]).remove(0);
    let path = directory.path().to_string_lossy().into_owned();
    let helpers = GraphHelpers::start(HelperOptions {
        start_limit: Duration::from_millis(800),
        environment: vec![("PYTHONPATH".to_owned(), path)],
        ..options(python)
    });
    let graph = text_of(helpers.materialize("client", update).await);
    let function = helpers
        .run_function(function, None, None, true)
        .await
        .expect_err("no process");
    for text in [graph, function.text] {
        assert!(text.contains("did not import"), "{text}");
    }
}
