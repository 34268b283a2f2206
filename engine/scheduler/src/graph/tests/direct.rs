//! What is opened without Python is what a helper makes of it, and what is not certain goes to a helper.

use super::*;
use crate::graph::direct::{Direct, Refusal};
use crate::graph::reply::Opened;
use crate::graph::request;
use protocol::Value;
use scheduler_core::Annotations;

const DIRECT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/graph/tests/direct.py");

/// Random calls of a client: a label, and the message.
fn random_updates(python: &PathBuf, seed: &str, count: usize) -> Vec<(String, UpdateGraph)> {
    let made = Command::new(python)
        .args([DIRECT, seed, &count.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .expect("runs");
    assert!(made.status.success(), "direct.py failed");
    let mut rest = Bytes::from(made.stdout);
    let mut updates = Vec::new();
    while rest.has_remaining() {
        let len = rest.get_u64_le() as usize;
        let label = String::from_utf8(rest.split_to(len).to_vec()).expect("text");
        updates.push((label, next_update(&mut rest)));
    }
    updates
}

/// Everything of a graph that must not depend on who opened it, in words, task by task.
fn described(opened: &Opened) -> Vec<String> {
    let graph = &opened.graph;
    let tasks = graph.tasks.iter().zip(&opened.is_data);
    tasks
        .map(|(task, is_data)| {
            let annotations = task.annotations.as_deref().map(described_annotations);
            format!(
                "{:?} needs {:?} producer {} barrier {} data {is_data} {annotations:?}",
                task.key,
                dependencies(graph, task),
                task.data_producer,
                task.is_barrier,
            )
        })
        .collect()
}

fn described_annotations(annotations: &Annotations) -> String {
    let mut workers = annotations.workers.clone();
    workers.sort_by_key(|worker| format!("{worker:?}"));
    format!(
        "{:?} {workers:?} {} {:?} {} {:?}",
        normal(&annotations.wire),
        annotations.allow_other_workers,
        annotations.resources,
        annotations.retries,
        annotations.priority
    )
}

/// A set has no order.
fn normal(value: &Value) -> Value {
    match value {
        Value::Set(items) => {
            let mut items = items.iter().map(normal).collect::<Vec<_>>();
            items.sort_by_key(|item| format!("{item:?}"));
            Value::Set(items)
        }
        Value::Array(items) => Value::Array(items.iter().map(normal).collect()),
        Value::Map(entries) => {
            let entries = entries.iter();
            Value::Map(entries.map(|(k, v)| (k.clone(), normal(v))).collect())
        }
        other => other.clone(),
    }
}

/// Opens a graph directly, after a helper has proven what it names.
async fn open_proven(direct: &Arc<Direct>, update: &UpdateGraph) -> Result<Opened, Refusal> {
    match direct.open(update).await {
        Err(Refusal::Unproven(demands)) => {
            direct.learn(demands);
            direct.open(update).await
        }
        other => other,
    }
}

fn append(pairs: &mut Vec<u8>, task: &GraphTask) {
    let spec = task.run_spec.as_ref().expect("a task that runs");
    let pieces = std::iter::once(spec.pickle()).chain(spec.buffers().iter().cloned());
    let pieces = pieces.collect::<Vec<_>>();
    pairs.extend_from_slice(&(pieces.len() as u64).to_le_bytes());
    for piece in pieces {
        pairs.extend_from_slice(&(piece.len() as u64).to_le_bytes());
        pairs.extend_from_slice(&piece);
    }
}

/// Unpickles pairs of tasks in Python and finds them the same; returns how many there were.
fn compare(python: &PathBuf, pairs: Vec<u8>) -> String {
    let mut child = Command::new(python)
        .args([DIRECT, "--compare"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut input = child.stdin.take().expect("piped");
    let writing = std::thread::spawn(move || input.write_all(&pairs));
    let output = child.wait_with_output().expect("ends");
    let written = writing.join().expect("does not panic");
    assert!(output.status.success(), "the tasks differ");
    written.expect("takes all pairs");
    String::from_utf8(output.stdout)
        .expect("text")
        .trim()
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_opened_directly_is_what_a_helper_makes_of_it() {
    let Some(python) = python() else { return };
    let seed = std::env::var("DASKJOB_GRAPH_SEED").unwrap_or_else(|_| "1".to_owned());
    let count = std::env::var("DASKJOB_GRAPH_COUNT").map_or(60, |it| it.parse().expect("a count"));
    let updates = random_updates(&python, &seed, count);
    let helpers = helpers(python.clone());
    helpers.environment().await.expect("starts");
    let (mut pairs, mut compared, mut messages) = (Vec::new(), 0, 0);
    for (label, update) in &updates {
        let label = format!("{label} of seed {seed}");
        let helped = helpers.shared.open_in_helper("client", update).await;
        let direct = open_proven(&helpers.shared.direct, update).await;
        if label.starts_with("direct") {
            assert!(direct.is_ok(), "{label}: {:?}", direct.err());
        }
        let Ok(direct) = direct else { continue };
        messages += 1;
        let helped = helped.unwrap_or_else(|error| panic!("{label}: only a helper fails: {error}"));
        assert_eq!(described(&direct), described(&helped), "{label}");
        assert_eq!(
            normal(&direct.graph.global_annotations),
            normal(&helped.graph.global_annotations),
            "{label}"
        );
        for (ours, theirs) in direct.graph.tasks.iter().zip(&helped.graph.tasks) {
            let label = format!("{label}, {:?}", ours.key);
            pairs.extend_from_slice(&(label.len() as u64).to_le_bytes());
            pairs.extend_from_slice(label.as_bytes());
            append(&mut pairs, ours);
            append(&mut pairs, theirs);
            compared += 1;
        }
        let ours = request::with_priorities(direct, update)
            .await
            .map(|graph| graph.internal_priority)
            .map_err(|error| error.text);
        let theirs = request::with_priorities(helped, update)
            .await
            .map(|graph| graph.internal_priority)
            .map_err(|error| error.text);
        assert_eq!(ours, theirs, "{label}");
    }
    assert!(
        messages > updates.len() / 3,
        "{messages} of {} messages were opened directly",
        updates.len()
    );
    assert_eq!(compare(&python, pairs), compared.to_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_certain_is_left_to_a_helper() {
    let Some(python) = python() else { return };
    let direct = Arc::new(Direct::default());
    direct.enable(true);
    let names = [
        "tree", // tuples
        "array",
        "dataframe",
        "layers",
        "annotated_by_function",
        "map_with_tasks",
        "exits", // a call of its own
    ];
    for (name, update) in names.iter().zip(updates(&python, &names)) {
        let refusal = open_proven(&direct, &update).await.err();
        assert!(
            matches!(refusal, Some(Refusal::Unknown(_))),
            "{name}: {refusal:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_helper_opens_the_first_graph_that_names_something_and_the_scheduler_the_next() {
    let Some(python) = python() else { return };
    let helpers = helpers(python.clone());
    helpers.environment().await.expect("starts");
    let [submit, main_map] = &updates(&python, &["submit", "main_map"])[..] else {
        panic!("two")
    };
    for update in [submit, main_map] {
        let refusal = helpers.shared.direct.open(update).await.err();
        assert!(matches!(refusal, Some(Refusal::Unproven(_))), "{refusal:?}");
        helpers
            .materialize("client", update)
            .await
            .expect("a helper opens it");
        helpers
            .shared
            .direct
            .open(update)
            .await
            .expect("is proven now");
    }
    helpers.shared.direct.forget();
    assert!(helpers.shared.direct.open(submit).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_helper_can_import_is_never_handed_to_workers() {
    let Some(python) = python() else { return };
    let helpers = helpers(python.clone());
    let [foreign, imports] = &updates(&python, &["foreign", "imports_foreign"])[..] else {
        panic!("two")
    };
    for update in [foreign, imports, foreign, imports] {
        let text = text_of(helpers.materialize("client", update).await);
        assert!(
            text.contains("Error during deserialization of the task graph"),
            "{text}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn preloaded_modules_switch_direct_opening_off() {
    let Some(python) = python() else { return };
    let directory = tempfile::tempdir().expect("a directory");
    let module = directory.path().join("preloaded_module.py");
    std::fs::write(&module, "").expect("a file");
    let helpers = GraphHelpers::start(HelperOptions {
        preload: vec![module.to_string_lossy().into_owned()],
        ..options(python.clone())
    });
    let submit = update(&python, "submit");
    helpers
        .materialize("client", &submit)
        .await
        .expect("a helper opens it");
    let refusal = open_proven(&helpers.shared.direct, &submit).await.err();
    assert!(matches!(refusal, Some(Refusal::Unknown(_))), "{refusal:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_object_in_many_tasks_is_left_to_a_helper() {
    let Some(python) = python() else { return };
    let direct = Arc::new(Direct::default());
    direct.enable(true);
    let [few, many] = &updates(&python, &["large_in_few", "large_in_many"])[..] else {
        panic!("two")
    };
    assert!(open_proven(&direct, few).await.is_ok());
    let refusal = open_proven(&direct, many).await.err();
    assert_eq!(
        refusal,
        Some(Refusal::Unknown("large objects that many tasks share"))
    );
}

/// A small generator of chance, so that a failure can be had again.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) as usize % end
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_damaged_graph_harms_the_scheduler() {
    let Some(python) = python() else { return };
    let names = [
        "submit",
        "shuffle",
        "main_map",
        "plain_map",
        "kinds",
        "buffers",
    ];
    let updates = updates(&python, &names);
    let direct = Arc::new(Direct::default());
    direct.enable(true);
    let mut chance = Chance(7);
    let mut opened = 0;
    for round in 0..6_000 {
        let mut update = updates[round % updates.len()].clone();
        let mut frames = update.expr.frames().to_vec();
        let mut pickle = frames[0].to_vec();
        for _ in 0..=chance.below(3) {
            let (at, from) = (chance.below(pickle.len()), chance.below(pickle.len()));
            match chance.below(3) {
                0 => pickle[at] = chance.below(256) as u8,
                1 => pickle[at] = pickle[from],
                _ => drop(pickle.splice(
                    at..at,
                    pickle[from..].iter().copied().take(9).collect::<Vec<_>>(),
                )),
            }
        }
        let len = pickle.len();
        frames[0] = pickle.into();
        update.expr = protocol::Payload::new(update.expr.header().clone(), frames);
        if let Ok(graph) = open_proven(&direct, &update).await {
            opened += 1;
            let specs = graph
                .graph
                .tasks
                .iter()
                .filter_map(|task| task.run_spec.as_ref());
            let bytes = specs.map(|spec| spec.len as usize).sum::<usize>();
            assert!(
                bytes <= 8 * len + (1 << 20),
                "round {round}: {bytes} of {len}"
            );
        }
    }
    assert!(opened > 100, "{opened} were still graphs");
}
